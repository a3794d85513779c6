//! The folder that everything durable is in, locked for one daemon at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// A state folder that this process has locked; the lock ends with the value.
///
/// The lock is the kernel's (`flock`), so that a killed daemon leaves none behind. The file stays:
/// removing it would let two processes lock two files of the same name.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    lock: File,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process has it.
    #[error(
        "the state folder {} is in use by {holder}; stop that process, or set another \
         [supervisor] state_dir", path.display()
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// Program and pid, as far as they can be told.
        holder: String,
    },
    /// It cannot be made or opened.
    #[error(
        "cannot use the state folder {}: {source}; allow it, or set another [supervisor] \
         state_dir", path.display()
    )]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StateDir {
    /// Makes the folder (0700) if need be, and locks it.
    ///
    /// # Errors
    /// When another process has it, or it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let failed = |source| StateDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut lock);
                return Err(StateDirError::Held { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        note_pid(&mut lock).map_err(failed)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Closing is not enough: a child between fork and exec still has the descriptor open. The
        // close that follows is the second try.
        self.lock.unlock().unwrap_or_default();
    }
}

fn note_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// `gear-supervisor (pid 812)`, from the pid in the lock file.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    // The holder may be about to write its pid, so nothing there is no error.
    let pid: Option<u32> =
        lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    let Some(pid) = pid else { return "another process".to_owned() };
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(program) => format!("{} (pid {pid})", program.trim_end()),
        Err(_) => format!("pid {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_is_refused_with_its_holder_and_both_ways_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = StateDir::open(&path).unwrap();
        let error = StateDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        assert!(error.contains("stop that process, or set another"), "{error}");
        drop(held);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = StateDir::open(Path::new("/proc/none/such")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the state folder /proc/none/such: "), "{error}");
    }
}
