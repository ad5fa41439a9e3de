//! File systems of their own, on image files and loop devices or in memory. They need root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system, unmounted when dropped.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Mount {
    /// Mounts an image beside itself.
    pub(crate) fn image(image: &Path, name: &str) -> Self {
        let point = image.with_file_name(name);
        std::fs::create_dir_all(&point).unwrap();
        run("mount", &["-o", "loop", image.to_str().unwrap(), point.to_str().unwrap()]);
        Self(point)
    }

    /// Mounts so many MiB of memory.
    pub(crate) fn memory(point: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(point).unwrap();
        let size = format!("size={mib}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", point.to_str().unwrap()]);
        Self(point.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

/// Makes an ext4 image of so many MiB.
pub(crate) fn image(dir: &Path, mib: u64) -> PathBuf {
    let image = dir.join("disk.img");
    std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
    run("mkfs.ext4", &["-q", image.to_str().unwrap()]);
    image
}

pub(crate) fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}
