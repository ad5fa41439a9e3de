//! Input for the evidence drivers: random files that no layer can compress or deduplicate, and comparing them.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use pop_units::Bytes;

/// One read or write; large enough that system calls do not matter.
const STEP: usize = 1 << 20;

/// Writes a file of `size` random bytes.
pub(crate) fn write_random(path: &Path, size: Bytes) -> Result<()> {
    let mut random = random()?.take(size.get());
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let mut buffer = vec![0; STEP];
    loop {
        let read = random.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        file.write_all(buffer.get(..read).unwrap_or_default())?;
    }
    // Dirty pages of the input must not be written back during the measurement.
    file.sync_all()?;
    Ok(())
}

/// Returns whether two files hold the same bytes.
pub(crate) fn is_same(left: &Path, right: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| path.display().to_string());
    let (left, right) = (open(left)?, open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let mut left = BufReader::with_capacity(STEP, left);
    let mut right = BufReader::with_capacity(STEP, right);
    let (mut here, mut there) = (vec![0; STEP], vec![0; STEP]);
    loop {
        let read = fill(&mut left, &mut here)?;
        if read != fill(&mut right, &mut there)? || here.get(..read) != there.get(..read) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Returns a number from `low` up to but not including `high`.
pub(crate) fn between(low: u64, high: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    random()?.read_exact(&mut bytes)?;
    Ok(low + u64::from_le_bytes(bytes) % high.saturating_sub(low).max(1))
}

fn random() -> Result<File> {
    File::open("/dev/urandom").context("the system's random source")
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let read = reader.read(rest)?;
        if read == 0 {
            break;
        }
        done += read;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write_random(&a, Bytes::new(3 * 1024 * 1024 + 1)).unwrap();
        std::fs::copy(&a, &b).unwrap();
        assert!(is_same(&a, &b).unwrap());
        let mut bytes = std::fs::read(&b).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&b, bytes).unwrap();
        assert!(!is_same(&a, &b).unwrap());
    }

    #[test]
    fn between_stays_inside() {
        for _ in 0..100 {
            assert!((5..8).contains(&between(5, 8).unwrap()));
        }
    }
}
