//! The state and the journal.

use super::*;
use crate::{Batch, Journal, JournalError, OpenError, State, StateError};

#[test]
fn rows_survive_and_tables_are_apart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let state = State::open(dir.path()).unwrap();
        state.apply(Batch::new().put("a", b"k1", b"1").put("a", b"k2", b"2").put("ab", b"k1", b"3")).unwrap();
        state.apply(Batch::new().delete("a", b"k1").put("a", b"x", vec![7; 4096])).unwrap();
    }
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.get("a", b"k1").unwrap(), None);
    assert_eq!(state.get("ab", b"k1").unwrap(), Some(b"3".to_vec()));
    assert_eq!(state.scan("a", b"k").unwrap(), [(b"k2".to_vec(), b"2".to_vec())]);
    assert_eq!(state.scan("a", b"").unwrap().len(), 2);
}

#[test]
fn a_batch_with_a_row_over_the_limit_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    for batch in [
        Batch::new().put("t", b"a", b"1").put("t", b"b", vec![0; 4097]),
        Batch::new().put("t", b"a", b"1").put("t", vec![0; 2049], b"1"),
        Batch::new().put("t", b"a", b"1").put(&"t".repeat(65), b"b", b"1"),
    ] {
        assert!(matches!(state.apply(batch), Err(StateError::TooLarge { .. })));
    }
    assert_eq!(state.get("t", b"a").unwrap(), None);
}

#[test]
fn writers_at_once_all_find_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    {
        let state = State::open(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let state = state.clone();
                scope.spawn(move || {
                    for n in 0..25u8 {
                        state.apply(Batch::new().put("t", [writer, n], [n]).put("u", [writer], [n])).unwrap();
                    }
                });
            }
        });
    }
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.scan("t", b"").unwrap().len(), 100);
    assert!(state.scan("u", b"").unwrap().iter().all(|(_, value)| value == &[24]));
}

#[test]
fn a_state_that_lost_its_rows_does_not_open_as_an_empty_one() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 4] = [
        ("no database", |dir| fs::remove_file(dir.join("db")).unwrap()),
        ("garbage", |dir| fs::write(dir.join("db"), vec![0xa5; 70_000]).unwrap()),
        ("zeros", |dir| fs::write(dir.join("db"), vec![0; 600_000]).unwrap()),
        ("bad marker", |dir| fs::write(dir.join("GENERATION"), b"POPSTATE").unwrap()),
    ];
    for (name, spoil) in spoils {
        let dir = tempfile::tempdir().unwrap();
        State::open(dir.path()).unwrap().apply(Batch::new().put("t", b"k", b"v")).unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let path = file.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
                fs::remove_file(path).unwrap();
            }
        }
        spoil(dir.path());
        for _ in 0..2 {
            let refused = State::open(dir.path()).map(drop);
            assert!(matches!(refused, Err(StateError::Damaged { .. })), "{name}: {refused:?}");
        }
    }
}

#[test]
fn a_store_over_a_damaged_state_says_what_to_do() {
    let repo = tempfile::tempdir().unwrap();
    open(repo.path()).close().unwrap();
    fs::remove_file(repo.path().join("state/db")).unwrap();
    let refused = Store::open(repo.path(), options());
    let Err(OpenError::Damaged { path, what }) = refused else { panic!("{refused:?}") };
    assert_eq!(path, repo.path().join("state"));
    assert!(what.contains("restore the folder"), "{what}");
}

#[test]
fn a_state_whose_first_open_was_cut_short_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(State::open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("GENERATION")).unwrap();
    let state = State::open(dir.path()).unwrap();
    state.apply(Batch::new().put("t", b"k", b"v")).unwrap();
    assert!(matches!(State::open(dir.path()), Err(StateError::InUse { .. })));
}

#[test]
fn a_journal_replays_in_order_and_compacts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vouchers");
    let (journal, none) = Journal::open(&path).unwrap();
    assert!(none.is_empty());
    journal.append(b"one").unwrap();
    journal.append_all(&[&b""[..], &[7; 1000]]).unwrap();
    drop(journal);
    let (journal, records) = Journal::open(&path).unwrap();
    assert_eq!(records, [b"one".to_vec(), vec![], vec![7; 1000]]);
    journal.rewrite(&[b"two"]).unwrap();
    journal.append(b"three").unwrap();
    assert!(matches!(journal.append(&vec![0; 70_000]), Err(JournalError::TooLarge { .. })));
    drop(journal);
    let (_, records) = Journal::open(&path).unwrap();
    assert_eq!(records, [b"two".to_vec(), b"three".to_vec()]);
}

#[test]
fn a_journal_torn_at_any_byte_keeps_all_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vouchers");
    let (journal, _) = Journal::open(&path).unwrap();
    journal.append(b"first").unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    journal.append(b"the second").unwrap();
    drop(journal);
    let bytes = fs::read(&path).unwrap();
    let padded = bytes.len() - 6;
    for end in usize::try_from(whole).unwrap()..padded {
        fs::write(&path, &bytes[..end]).unwrap();
        let (journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records, [b"first"], "cut at {end}");
        journal.append(b"third").unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().1, [b"first", b"third"], "cut at {end}");
    }
}

#[test]
fn a_journal_with_a_bad_record_that_was_synced_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vouchers");
    let (journal, _) = Journal::open(&path).unwrap();
    [b"first", b"secnd", b"third"].iter().for_each(|record| journal.append(*record).unwrap());
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8 + 24 + 16] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::Damaged { offset: 32, .. })));
    fs::write(&path, b"something else").unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::Foreign { .. })));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn a_journal_of_anything_opens_or_says_why(bytes in proptest::collection::vec(0u8..3, 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vouchers");
        fs::write(&path, [b"POPJ\x01\0\0\0".as_slice(), &bytes].concat()).unwrap();
        if let Ok((journal, records)) = Journal::open(&path) {
            journal.append(b"next").unwrap();
            drop(journal);
            let expected = records.into_iter().chain([b"next".to_vec()]);
            assert_eq!(Journal::open(&path).unwrap().1, expected.collect::<Vec<_>>());
        }
    }
}
