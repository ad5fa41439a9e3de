use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn local() -> ChainId {
    ChainId::local(&[7; 32])
}

fn passphrase(text: &str) -> Protection {
    Protection::Passphrase(Zeroizing::new(text.to_owned()))
}

fn open(dir: &TempDir, chain: ChainId, protection: Protection) -> Keystore {
    Keystore::open_with(&dir.path().join("keystore"), chain, protection, Cost::CHEAP).unwrap()
}

#[test]
fn keys_survive_reopening_and_the_first_is_default() {
    let dir = TempDir::new().unwrap();
    for protection in [Protection::Plain, passphrase("correct horse")] {
        let dir = TempDir::new_in(dir.path()).unwrap();
        let keys = open(&dir, local(), protection.clone());
        let (first, second) = (keys.new_key().unwrap(), keys.new_key().unwrap());
        let signature = keys.sign(&second, b"x").unwrap();
        drop(keys);
        let keys = open(&dir, local(), protection);
        assert_eq!(keys.default_address().unwrap(), Some(first));
        assert_eq!(keys.list().unwrap().len(), 2);
        assert_eq!(keys.sign(&second, b"x").unwrap(), signature);
        keys.set_default(&second).unwrap();
        assert_eq!(keys.default_address().unwrap(), Some(second));
    }
}

#[test]
fn files_are_for_their_owner_only() {
    let dir = TempDir::new().unwrap();
    let keys = open(&dir, local(), Protection::Plain);
    let address = keys.new_key().unwrap();
    let out = dir.path().join("exported");
    keys.export_to(&address, &out).unwrap();
    let folder = dir.path().join("keystore");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&out), 0o600);
    for entry in std::fs::read_dir(folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn wrong_passphrase_and_changed_header_do_not_open() {
    let dir = TempDir::new().unwrap();
    let address = open(&dir, local(), passphrase("right")).new_key().unwrap();
    let sign = |protection| open(&dir, local(), protection).sign(&address, b"x");
    assert!(matches!(sign(passphrase("wrong")), Err(KeystoreError::Locked(_))));
    assert!(matches!(sign(Protection::Plain), Err(KeystoreError::NeedsPassphrase(_))));
    let path = dir.path().join("keystore").join(format!("{address}.key"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("plain"));
    let other = ChainId::local(&[8; 32]);
    std::fs::write(&path, text.replace(local().as_str(), other.as_str())).unwrap();
    let moved = open(&dir, other, passphrase("right"));
    assert!(matches!(moved.sign(&address, b"x"), Err(KeystoreError::Locked(_))));
}

#[test]
fn key_belongs_to_one_chain() {
    let dir = TempDir::new().unwrap();
    let keys = open(&dir, local(), Protection::Plain);
    let address = keys.new_key().unwrap();
    let text = keys.export(&address).unwrap();
    assert_eq!(keys.import(&text).unwrap(), address);
    let other = open(&dir, ChainId::local(&[8; 32]), Protection::Plain);
    assert!(matches!(other.import(&text), Err(KeystoreError::OtherChain { .. })));
    assert!(matches!(other.sign(&address, b"x"), Err(KeystoreError::OtherChain { .. })));
    assert!(other.list().unwrap().is_empty());
    assert_eq!(other.default_address().unwrap(), None);
}

#[test]
fn real_money_is_never_kept_in_the_open() {
    let dir = TempDir::new().unwrap();
    let real: ChainId = "fil:mainnet".parse().unwrap();
    let refused = Keystore::open(dir.path(), real.clone(), Protection::Plain);
    assert!(matches!(refused, Err(KeystoreError::PlainRefused(_))));
    let keys = open(&dir, real.clone(), passphrase("x"));
    let address = keys.new_key().unwrap();
    let plain = KeyFile::seal(&keys.secret(&address).unwrap(), &real, None, Cost::CHEAP).unwrap();
    std::fs::write(keys.path_of(&address), &*plain.to_bytes()).unwrap();
    let keys = open(&dir, real, passphrase("x"));
    assert!(matches!(keys.sign(&address, b"x"), Err(KeystoreError::PlainRefused(_))));
}

#[test]
fn damaged_file_is_named() {
    let dir = TempDir::new().unwrap();
    let keys = open(&dir, local(), Protection::Plain);
    let address = keys.new_key().unwrap();
    std::fs::write(keys.path_of(&address), "{").unwrap();
    let error = keys.list().unwrap_err();
    assert!(matches!(&error, KeystoreError::Damaged { path, .. } if *path == keys.path_of(&address)));
}
