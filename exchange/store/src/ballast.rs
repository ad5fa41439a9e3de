//! Room kept back for making room.
//!
//! On a disk that others filled to the last byte even a removal has to write, and sled does not come back
//! from a write that was refused. A file of a few MiB, given up when a removal meets a full disk and made
//! again when there is room, lets it through.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::segment::Segment;

/// A few of the 512 KiB pieces that sled's logs grow by.
const SIZE: u64 = 4 << 20;
/// Below this nothing is added any more.
const RESERVE: u64 = 2 * SIZE;

/// The file, and whether it is there.
pub(crate) struct Ballast {
    path: PathBuf,
    is_loaded: Mutex<bool>,
}

impl Ballast {
    /// Looks after the ballast of a folder.
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("BALLAST");
        let is_loaded = fs::metadata(&path).is_ok_and(|found| found.len() == SIZE);
        Self { path, is_loaded: Mutex::new(is_loaded) }
    }

    /// Returns an error when the disk is too full for adding rows.
    pub(crate) fn check_adding(&self) -> io::Result<()> {
        let free = self.free()?;
        if free < RESERVE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut is_loaded = self.is_loaded.lock();
        if !*is_loaded && free >= RESERVE + SIZE {
            // Without it a removal on a full disk may be refused; that is no reason to refuse now.
            *is_loaded = self.load().is_ok();
        }
        Ok(())
    }

    /// Gives the room up if the disk is so full that a removal could fail for it.
    pub(crate) fn prepare_removing(&self) -> io::Result<()> {
        let mut is_loaded = self.is_loaded.lock();
        if *is_loaded && self.free()? < SIZE {
            fs::remove_file(&self.path)?;
            *is_loaded = false;
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Segment::disk_free(self.path.parent().unwrap_or(&self.path))
    }

    fn load(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SIZE)?)
    }
}
