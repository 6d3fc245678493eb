//! File systems of our own, mounted below a scene's folder and unmounted with it. Only root may; who cannot says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when this is dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// A file system in memory of this size (`1m`).
    pub fn tmpfs(at: &Path, size: &str) -> Result<Self, String> {
        Self::new(at, &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
    }

    /// An image file as a disk. One that was cut off stays in the kernel for as long as any other process's namespace has it
    /// mounted, and would be what is mounted here: that is waited out.
    pub fn image(at: &Path, image: &Path) -> Result<Self, String> {
        for _ in 0..100 {
            let mount = Self::new(at, &["-o", "loop", &image.display().to_string()])?;
            if is_alive(at) {
                return Ok(mount);
            }
            drop(mount);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Err(format!("{} is still mounted elsewhere, as it was before it was cut off", image.display()))
    }

    fn new(at: &Path, what: &[&str]) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        ran(mount.args(what).arg(at))?;
        Ok(Self(at.to_owned()))
    }

    /// Gives a tmpfs more room, or less.
    pub fn resize(&self, size: &str) {
        let mut mount = Command::new("mount");
        ran(mount.arg("-o").arg(format!("remount,size={size}")).arg(&self.0)).expect("what is mounted can be resized");
    }

    /// Cuts the power: nothing that is not on the disk yet gets there.
    pub fn cut(&self) -> Result<(), String> {
        ran(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.0))
    }

    /// How many bytes are free.
    pub fn free(&self) -> u64 {
        let mut stat = Command::new("stat");
        let output = stat.args(["-f", "-c", "%f %S"]).arg(&self.0).output().expect("there is a stat command");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().map(|word| word.parse::<u64>().expect("stat prints numbers")).product()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        for wait in [0, 50, 200, 500] {
            std::thread::sleep(std::time::Duration::from_millis(wait));
            if ran(Command::new("umount").arg(&self.0)).is_ok() {
                return;
            }
        }
        // Somebody still has it open, as after a failure: it goes when they do.
        let _ = ran(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// Whether what is there can be read.
fn is_alive(at: &Path) -> bool {
    let opens = |entry: std::io::Result<fs::DirEntry>| entry.and_then(|entry| fs::File::open(entry.path())).is_ok();
    fs::read_dir(at).is_ok_and(|mut entries| entries.all(opens))
}

/// An image with a fresh file system.
pub fn make_image(path: &Path, mkfs: &[&str], mib: u64) -> Result<(), String> {
    let image = fs::File::create(path).and_then(|file| file.set_len(mib << 20));
    image.map_err(|error| error.to_string())?;
    let (program, arguments) = mkfs.split_first().expect("a mkfs has a name");
    ran(Command::new(program).args(arguments).arg(path))
}

fn ran(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
