//! The limit of open files: raised for the daemon, given back to workers.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{Pid, Resource as RawResource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};
use tracing::debug;

/// The daemon wants no more than this: a worker costs it about four.
const FILES_MAX: u64 = 1 << 20;

/// A limit of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLimit {
    soft: u64,
    hard: u64,
}

/// Raises the daemon's soft limit of open files to its hard limit.
///
/// Returns the limit before, for [`ProcessesOptions`](super::ProcessesOptions).
///
/// # Errors
/// When the kernel refuses.
pub fn raise_file_limit() -> io::Result<FileLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = hard.min(FILES_MAX);
    if raised > soft {
        setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
    }
    Ok(FileLimit { soft, hard })
}

impl FileLimit {
    /// Gives the limit to this process.
    pub(super) fn apply(self) -> io::Result<()> {
        Ok(setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard)?)
    }

    /// Gives the limit to a child that was started just now. The child may see the raised limit
    /// for the few microseconds before; the alternative would be to start each through the shim.
    pub(super) fn give(self, pid: i32) {
        let limit = Rlimit { current: Some(self.soft), maximum: Some(self.hard) };
        if let Some(of) = Pid::from_raw(pid)
            && let Err(error) = prlimit(Some(of), RawResource::Nofile, limit)
        {
            debug!(pid, %error, "cannot give the file limit back");
        }
    }
}
