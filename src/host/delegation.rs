//! The control group (cgroup v2) that is ours to divide, if one is.
//!
//! That is the daemon's own, when systemd has delegated it (`Delegate=yes`), or when there is no
//! systemd to whom it could belong and it can be written to. Once divided, a daemon is in the leaf
//! [`LEAF`] of it, since a group with groups of limits below holds no process itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};
use rustix::fs::getxattr;

/// The group below, in which the daemon itself is.
pub const LEAF: &str = "gear-daemon";
/// Where systemd says of a group that it is delegated.
const MARKS: [&str; 2] = ["trusted.delegate", "user.delegate"];
const SYSTEMD: &str = "/run/systemd/system";

/// A control group that may be divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlGroup {
    /// Its folder.
    pub folder: PathBuf,
    /// What can be limited in it: `cpu`, `memory`, `pids` and so on.
    pub controllers: Vec<String>,
}

/// Why no control group may be divided.
#[derive(Debug, thiserror::Error)]
pub enum NotDelegated {
    /// The kernel has none, or they are not mounted.
    #[error("no control groups of version 2 are mounted here")]
    Nowhere,
    /// It belongs to somebody else.
    #[error("the control group {} is not the daemon's to divide: {why}", .folder.display())]
    NotOurs {
        /// Its folder.
        folder: PathBuf,
        /// What stands against it.
        why: String,
    },
}

impl ControlGroup {
    /// The one of this process.
    ///
    /// # Errors
    /// When there is none that may be divided.
    pub fn of_process() -> Result<Self, NotDelegated> {
        let mount = Mount::find(&read("/proc/self/mountinfo")).ok_or(NotDelegated::Nowhere)?;
        let own = mount.folder_of(&read("/proc/self/cgroup")).ok_or(NotDelegated::Nowhere)?;
        Self::at(&own, is_ours)
    }

    /// What any group of this host could be limited in; its folder is that of them all.
    ///
    /// # Errors
    /// When there are no control groups.
    pub fn of_host() -> Result<Self, NotDelegated> {
        let mount = Mount::find(&read("/proc/self/mountinfo")).ok_or(NotDelegated::Nowhere)?;
        Ok(Self { controllers: controllers(&mount.point), folder: mount.point })
    }

    fn at(own: &Path, is_ours: impl Fn(&Path) -> Result<(), String>) -> Result<Self, NotDelegated> {
        let above = own.parent().filter(|_| own.file_name().is_some_and(|name| name == LEAF));
        let folder = above.filter(|above| is_ours(above).is_ok()).unwrap_or(own).to_owned();
        match is_ours(&folder) {
            Ok(()) => Ok(Self { controllers: controllers(&folder), folder }),
            Err(why) => Err(NotDelegated::NotOurs { folder, why }),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| String::new())
}

/// Controllers that the groups below may be given.
fn controllers(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("cgroup.controllers"));
    let text = text.unwrap_or_else(|_| String::new());
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Where control groups are mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Which of them is at the mount point.
    root: String,
    point: PathBuf,
}

impl Mount {
    /// Of proc_pid_mountinfo(5): the root is the 4th field, the mount point the 5th.
    fn find(mountinfo: &str) -> Option<Self> {
        mountinfo.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            let is_v2 = after.split(' ').next() == Some("cgroup2");
            is_v2.then(|| Self { root: root.to_owned(), point: PathBuf::from(point) })
        })
    }

    /// The folder of the group that /proc/self/cgroup names; `None` when it is not below.
    fn folder_of(&self, self_cgroup: &str) -> Option<PathBuf> {
        let path = self_cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        (!path.split('/').any(|part| part == "..")).then(|| self.point.join(below))
    }
}

fn is_ours(folder: &Path) -> Result<(), String> {
    for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
        let path = folder.join(name);
        access(&path, AccessFlags::W_OK).map_err(|error| {
            format!("{} cannot be written to: {}", path.display(), error.desc())
        })?;
    }
    // Root can write to the groups of others too, and systemd undoes what it did not allow.
    let of_systemd = geteuid().is_root() && fs::exists(SYSTEMD).unwrap_or(false);
    let marked = [Some(folder), folder.parent()].into_iter().flatten().any(is_marked);
    if of_systemd && !marked {
        return Err("systemd has not delegated it".to_owned());
    }
    Ok(())
}

fn is_marked(folder: &Path) -> bool {
    let value = |mark: &str| -> io::Result<bool> {
        let mut value = [0; 8];
        let len = getxattr(folder, mark, &mut value)?;
        Ok(value.get(..len).is_some_and(|value| value == b"1"))
    };
    MARKS.into_iter().any(|mark| value(mark).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_found_below_the_mount() {
        let line = |root: &str, point: &str, kind: &str| {
            format!("36 25 0:30 {root} {point} rw,nosuid shared:9 - {kind} x rw\n")
        };
        let host = line("/", "/sys/fs/cgroup", "cgroup2");
        let both = line("/", "/sys/fs/cgroup/memory", "cgroup") + &host;
        let part = line("/box", "/cg", "cgroup2");
        for (mounts, groups, expected) in [
            (&host, "0::/a/b\n", Some("/sys/fs/cgroup/a/b")),
            (&both, "4:memory:/x\n0::/\n", Some("/sys/fs/cgroup")),
            (&part, "0::/box/y\n", Some("/cg/y")),
            (&part, "0::/other\n", None),
            (&host, "0::/../x\n", None),
            (&host, "4:memory:/x\n", None),
        ] {
            let found = Mount::find(mounts).unwrap().folder_of(groups);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{groups}");
        }
        assert_eq!(Mount::find(&line("/", "/sys/fs/cgroup/cpu", "cgroup")), None);
    }

    #[test]
    fn a_daemon_in_its_leaf_divides_the_group_above() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let ours = |_: &Path| Ok(());
        let found = ControlGroup::at(&root.path().join(LEAF), ours).unwrap();
        assert_eq!(found.folder, root.path());
        assert_eq!(found.controllers, ["cpu", "memory"]);
        let not_above = |folder: &Path| {
            if folder == root.path() { Err("no".to_owned()) } else { Ok(()) }
        };
        let found = ControlGroup::at(&root.path().join(LEAF), not_above).unwrap();
        assert_eq!(found.folder, root.path().join(LEAF));
        let refused = ControlGroup::at(root.path(), not_above).unwrap_err();
        assert!(refused.to_string().ends_with("is not the daemon's to divide: no"), "{refused}");
    }
}
