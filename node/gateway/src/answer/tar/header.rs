//! The heads of entries: POSIX tar, with extended ones for what does not fit.

use bytes::Bytes;
use tar::{EntryType, Header};

use super::tour::{Entry, What};

/// Entries begin and end at multiples of this.
const UNIT: usize = 512;
/// What fits the fields for names.
const NAME: usize = 100;
/// Modes of what states none.
const FILE: u32 = 0o644;
const DIRECTORY: u32 = 0o755;
const SYMLINK: u32 = 0o777;

/// Returns the head of an entry, with an extended one before it when a name needs it.
pub(super) fn of(entry: &Entry) -> Bytes {
    let (kind, size, mode) = match &entry.what {
        What::Directory => (EntryType::Directory, 0, DIRECTORY),
        What::File(size) => (EntryType::Regular, size.get(), FILE),
        What::Value(data) => (EntryType::Regular, pop_units::Bytes::of(data).get(), FILE),
        What::Symlink(_) => (EntryType::Symlink, 0, SYMLINK),
    };
    let slash = if kind == EntryType::Directory { "/" } else { "" };
    let path = format!("{}{slash}", entry.path);
    let target = match &entry.what {
        What::Symlink(target) => target.as_str(),
        What::Directory | What::File(_) | What::Value(_) => "",
    };
    let mut records = String::new();
    for (key, value) in [("path", path.as_str()), ("linkpath", target)] {
        if !fits(value) {
            records.push_str(&record(key, value));
        }
    }
    let mut out = Vec::with_capacity(UNIT);
    if !records.is_empty() {
        let mut head = blank(EntryType::XHeader, pop_units::Bytes::of(records.as_bytes()).get());
        put(&mut head.as_old_mut().name, "pax");
        head.set_cksum();
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(records.as_bytes());
        out.extend_from_slice(&end_of(pop_units::Bytes::of(records.as_bytes()).get()));
    }
    let mut head = blank(kind, size);
    put(&mut head.as_old_mut().name, &path);
    put(&mut head.as_old_mut().linkname, target);
    // Bits that give rights to whoever runs the file are nobody's to hand out.
    head.set_mode(entry.attributes.mode.map_or(mode, |mode| mode & 0o777));
    head.set_mtime(entry.attributes.changed.and_then(|time| u64::try_from(time).ok()).unwrap_or(0));
    head.set_cksum();
    out.extend_from_slice(head.as_bytes());
    out.into()
}

/// Returns the zeros that fill a body of `len` bytes up.
pub(super) fn end_of(len: u64) -> Bytes {
    static ZEROS: [u8; UNIT] = [0; UNIT];
    let over = pop_units::Bytes::new(len % 512).as_usize();
    Bytes::from_static(&ZEROS[..(UNIT - over) % UNIT])
}

/// Returns what stands at the end of an archive.
pub(super) const fn end() -> Bytes {
    Bytes::from_static(&[0; 2 * UNIT])
}

fn blank(kind: EntryType, size: u64) -> Header {
    let mut head = Header::new_ustar();
    head.set_entry_type(kind);
    head.set_size(size);
    head.set_mode(FILE);
    head.set_uid(0);
    head.set_gid(0);
    head.set_mtime(0);
    head
}

/// Old fields hold a hundred bytes of ASCII.
const fn fits(text: &str) -> bool {
    text.len() <= NAME && text.is_ascii()
}

/// Copies what fits of a name; readers of extended heads do not look at it.
fn put(field: &mut [u8; NAME], text: &str) {
    let ascii = text.chars().map(|c| if c.is_ascii() { c } else { '_' });
    let ascii: String = ascii.take(NAME).collect();
    field[..ascii.len()].copy_from_slice(ascii.as_bytes());
}

/// Returns `length key=value`, where the length counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}
