//! Whether a daemon of root may believe a file: whoever can write it decides what root does.
//!
//! A file and its folder must be writable by root alone. A pool's `env_file` may also belong to
//! the pool's own user, who learns and changes nothing by it that they could not anyhow.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::wrong::{Parsed, Wrong};

/// Write permission of the group.
const GROUP_WRITE: u32 = 0o020;
/// Write permission of everybody else.
const OTHERS_WRITE: u32 = 0o002;
/// In a sticky folder only a file's owner can replace it.
const STICKY: u32 = 0o1000;

/// Who owns something and who may write it.
#[derive(Clone, Copy, Debug)]
struct Access {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Refuses a file that others than root, or `user` where one is given, may write or replace.
pub(super) fn check(path: &Path, user: Option<u32>) -> Parsed<()> {
    let gone = |error: io::Error| Wrong::new(format!("it cannot be looked at: {error}"));
    let file = Access::of(&fs::metadata(path).map_err(gone)?);
    // A file of root's in a folder of the user's may be a link to something only root can read.
    let user = user.filter(|user| *user == file.uid);
    refuse(path, file.fault(user))?;
    let real = fs::canonicalize(path).map_err(gone)?;
    for folder in [path.parent(), real.parent()].into_iter().flatten() {
        let access = Access::of(&fs::metadata(folder).map_err(gone)?);
        if access.mode & STICKY == 0 {
            refuse(folder, access.fault(user))?;
        }
    }
    Ok(())
}

fn refuse(path: &Path, fault: Option<Fault>) -> Parsed<()> {
    let (who, command) = match fault {
        None => return Ok(()),
        Some(Fault::Owner(uid)) => (format!("user {uid}"), "chown root"),
        Some(Fault::Group(gid)) => (format!("group {gid}"), "chmod g-w"),
        Some(Fault::Others) => ("everybody".to_owned(), "chmod o-w"),
    };
    let path = path.display();
    Err(Wrong::new(format!("{path} decides what root does, and {who} may write it"))
        .hint(format!("run {command} {path}")))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Owner(u32),
    Group(u32),
    Others,
}

impl Access {
    fn of(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() }
    }

    fn fault(self, user: Option<u32>) -> Option<Fault> {
        if self.uid != 0 && Some(self.uid) != user {
            Some(Fault::Owner(self.uid))
        } else if self.mode & OTHERS_WRITE != 0 {
            Some(Fault::Others)
        } else if self.mode & GROUP_WRITE != 0 && self.gid != 0 {
            Some(Fault::Group(self.gid))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_user_in_question_may_write() {
        for (uid, gid, mode, user, fault) in [
            (0, 0, 0o644, None, None),
            (0, 0, 0o664, None, None),
            (0, 7, 0o644, None, None),
            (0, 7, 0o664, None, Some(Fault::Group(7))),
            (0, 0, 0o646, None, Some(Fault::Others)),
            (5, 0, 0o600, None, Some(Fault::Owner(5))),
            (5, 0, 0o600, Some(5), None),
            (5, 0, 0o600, Some(6), Some(Fault::Owner(5))),
            (5, 5, 0o660, Some(5), Some(Fault::Group(5))),
        ] {
            assert_eq!(Access { uid, gid, mode }.fault(user), fault, "{uid} {gid} {mode:o}");
        }
    }

    #[test]
    fn the_files_of_the_system_are_believed() {
        assert_eq!(check(Path::new("/etc/passwd"), None), Ok(()));
    }
}
