//! The sockets among a process's open files, read from /proc/PID/fd.
//!
//! The kernel shows these links to who may trace the process. A daemon that is root without
//! CAP_SYS_PTRACE may not, for processes of other users; then the links are read as their user,
//! which is a property of the calling thread alone and hence done on the identity thread only.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use nix::dir::{Dir, Entry};
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid};
use tracing::debug;

/// Which of a process's open files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Those above its standard streams: a worker gets these three from us.
    Opened,
    /// All.
    All,
}

/// The inodes of the sockets that a process holds; empty when it is gone or may not be looked at.
pub(super) fn socket_inodes(pid: i32, depth: Depth) -> Vec<u64> {
    match read(pid, depth) {
        Err(Errno::EACCES | Errno::EPERM) if geteuid().is_root() => read_as_owner(pid, depth),
        result => result.unwrap_or_default(),
    }
}

fn read_as_owner(pid: i32, depth: Depth) -> Vec<u64> {
    let Ok(owner) = fs::metadata(format!("/proc/{pid}")) else { return Vec::new() };
    let _user = FileUser::become_(Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    read(pid, depth).unwrap_or_default()
}

fn read(pid: i32, depth: Depth) -> nix::Result<Vec<u64>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut folder = Dir::open(format!("/proc/{pid}/fd").as_str(), flags, Mode::empty())?;
    let names: Vec<_> = folder.iter().filter_map(Result::ok).collect();
    let mut inodes = Vec::new();
    for name in names.iter().map(Entry::file_name).filter(|name| takes(depth, name)) {
        match readlinkat(&folder, name) {
            Ok(target) => inodes.extend(parse_link(&target)),
            // Closed since it was listed.
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(inodes)
}

fn takes(depth: Depth, name: &CStr) -> bool {
    match depth {
        _ if name.to_bytes().starts_with(b".") => false,
        Depth::Opened => !matches!(name.to_bytes(), b"0" | b"1" | b"2"),
        Depth::All => true,
    }
}

/// `socket:[INODE]`
fn parse_link(target: &OsStr) -> Option<u64> {
    let number = target.as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// While this lives, the calling thread opens files as another user.
#[derive(Debug)]
struct FileUser {
    dumpable: bool,
}

impl FileUser {
    fn become_(uid: Uid, gid: Gid) -> Self {
        // A change of the user makes the whole process undumpable, which would cost its core
        // files and its links' readability for monitoring; it is put back at the end.
        let dumpable = prctl::get_dumpable().unwrap_or(false);
        setfsgid(gid);
        setfsuid(uid);
        Self { dumpable }
    }
}

impl Drop for FileUser {
    fn drop(&mut self) {
        setfsuid(geteuid());
        setfsgid(getegid());
        if self.dumpable
            && let Err(error) = prctl::set_dumpable(true)
        {
            debug!(%error, "the process could not be made dumpable again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn only_links_to_sockets_name_an_inode() {
        assert_eq!(parse_link(OsStr::new("socket:[4711]")), Some(4711));
        for other in ["pipe:[4711]", "/tmp/socket:[4711]", "socket:[]", "socket:[4711", "/"] {
            assert_eq!(parse_link(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn our_own_sockets_are_among_our_links() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = nix::sys::stat::fstat(listener.as_fd()).unwrap().st_ino;
        let pid = i32::try_from(std::process::id()).unwrap();
        for depth in [Depth::Opened, Depth::All] {
            assert!(socket_inodes(pid, depth).contains(&inode));
        }
        assert_eq!(socket_inodes(i32::MAX, Depth::All).len(), 0);
    }
}
