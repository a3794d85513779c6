//! A control group (cgroup v2) for each worker whose pool wants one, below the daemon's own.
//!
//! ```text
//! GROUP                     the one that was delegated to the daemon
//! ├── gear-daemon           the daemon, and workers without a group of their own
//! ├── thumbnails:1@812.17   one worker and all that it starts
//! └── thumbnails:2@812.18
//! ```
//! One for each worker and not for each pool: a limit says what one worker may use, what exceeds it
//! is ended without its siblings, its end is known to be for that reason, and whatever a worker
//! leaves behind, in whichever session, is ended by one write to `cgroup.kill`.
//!
//! The GROUP is divided when the first worker wants it. A group that cannot be removed yet, since
//! what was in it is still dying, is tried again when something was reaped.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::debug;

use super::grants::Refusal;
use crate::config::CgroupLimits;
use crate::host::{LEAF, oom_kills};

/// Time that `cpu.max` reckons with, in microseconds.
const PERIOD_MICROS: u64 = 100_000;
/// Looks at who is still in the group that is to be divided: each move may be outrun by a fork.
const ROUNDS_MAX: usize = 16;
const HINT: &str = "leave the key out, or have a control group delegated to the daemon (systemd: \
                    Delegate=yes in its unit)";

/// The groups of the workers.
#[derive(Debug)]
pub(super) struct Cgroups {
    /// The folder of the group that is divided; `None`: none may be.
    base: Option<PathBuf>,
    is_evacuated: bool,
    /// What could not be removed yet.
    left: Vec<PathBuf>,
}

/// The group of one worker.
#[derive(Debug)]
pub(super) struct WorkerGroup {
    folder: PathBuf,
}

impl Cgroups {
    pub(super) fn new(base: Option<PathBuf>) -> Self {
        Self { base, is_evacuated: false, left: Vec::new() }
    }

    /// Makes a group with these limits.
    pub(super) fn make(
        &mut self,
        name: &str,
        limits: &CgroupLimits,
    ) -> Result<WorkerGroup, Refusal> {
        let refused = |key: &str, source| Refusal { key: key.to_owned(), source, hint: HINT };
        let Some(base) = self.base.clone() else {
            let none = io::Error::other("no control group is delegated to the daemon");
            return Err(refused("cgroup", none));
        };
        for controller in limits.controllers() {
            let enabled = self.enable(&base, controller);
            enabled.map_err(|source| refused(&format!("cgroup.{controller}"), source))?;
        }
        let group = WorkerGroup { folder: base.join(name) };
        fs::create_dir(&group.folder).map_err(|source| refused("cgroup", source))?;
        if let Err((key, source)) = group.limit(limits) {
            self.remove(group);
            return Err(refused(key, source));
        }
        Ok(group)
    }

    /// Has groups below `base` limit something.
    fn enable(&mut self, base: &Path, controller: &str) -> io::Result<()> {
        let file = base.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&file)?;
        if enabled.split_ascii_whitespace().any(|name| name == controller) {
            return Ok(());
        }
        if !self.is_evacuated {
            evacuate(base)?;
            self.is_evacuated = true;
        }
        fs::write(file, format!("+{controller}"))
    }

    /// Removes the group of a worker that has ended, at once or when it is empty.
    pub(super) fn remove(&mut self, group: WorkerGroup) {
        self.left.push(group.folder);
        self.sweep();
    }

    /// Removes what has become empty.
    pub(super) fn sweep(&mut self) {
        self.left.retain(|folder| match fs::remove_dir(folder) {
            Ok(()) => false,
            Err(error) => {
                debug!(folder = %folder.display(), %error, "a control group is not empty yet");
                error.kind() != io::ErrorKind::NotFound
            }
        });
    }
}

/// Moves all processes of a group into its leaf: a group that has some cannot be divided, unless
/// it is the root of all (which alone has no `cgroup.events`).
fn evacuate(base: &Path) -> io::Result<()> {
    if !fs::exists(base.join("cgroup.events"))? {
        return Ok(());
    }
    let leaf = base.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for _ in 0..ROUNDS_MAX {
        let inside = fs::read_to_string(base.join("cgroup.procs"))?;
        if inside.trim().is_empty() {
            break;
        }
        for pid in inside.lines() {
            if let Err(error) = fs::write(leaf.join("cgroup.procs"), pid) {
                // It may have ended; whoever stays is met again when the group is divided.
                debug!(pid, %error, "a process stays in the group that is to be divided");
            }
        }
    }
    Ok(())
}

impl WorkerGroup {
    fn limit(&self, limits: &CgroupLimits) -> Result<(), (&'static str, io::Error)> {
        let CgroupLimits { memory, cpu_micros, pids } = limits;
        let write = |key, file: &str, value: Option<String>| match value {
            Some(value) => fs::write(self.folder.join(file), value).map_err(|error| (key, error)),
            None => Ok(()),
        };
        let cpu = cpu_micros.map(|micros| format!("{micros} {PERIOD_MICROS}"));
        write("cgroup.memory", "memory.max", memory.map(|bytes| bytes.to_string()))?;
        write("cgroup.cpu", "cpu.max", cpu)?;
        write("cgroup.pids", "pids.max", pids.map(|pids| pids.to_string()))
    }

    /// The file by which a process enters it.
    pub(super) fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Kills everything in it; false where the kernel is older than 5.14.
    pub(super) fn kill(&self) -> bool {
        match fs::write(self.folder.join("cgroup.kill"), "1") {
            Ok(()) => true,
            Err(error) => {
                debug!(folder = %self.folder.display(), %error, "cannot kill a control group");
                false
            }
        }
    }

    /// Who is in it.
    pub(super) fn members(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.entrance()).unwrap_or_else(|_| String::new());
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Whether the kernel killed something in it because it reached its limit of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let text = fs::read_to_string(self.folder.join("memory.events"));
        text.ok().as_deref().and_then(oom_kills).is_some_and(|kills| kills > 0)
    }
}

/// The name of a worker's group; no other of the host has it.
pub(super) fn group_name(worker: &impl std::fmt::Display, mark: &str) -> String {
    let mut name = worker.to_string();
    // Writing to a String cannot fail.
    write!(name, "@{mark}").ok();
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(controllers: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.subtree_control"), controllers).unwrap();
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        root
    }

    fn read(root: &tempfile::TempDir, path: &str) -> Option<String> {
        fs::read_to_string(root.path().join(path)).ok()
    }

    #[test]
    fn a_worker_has_a_group_with_its_limits_and_leaves_none() {
        let root = fake("cpu memory pids");
        let mut groups = Cgroups::new(Some(root.path().to_owned()));
        let limits =
            CgroupLimits { memory: Some(512 << 20), cpu_micros: Some(150_000), pids: Some(100) };
        let group = groups.make("a:1@7.1", &limits).unwrap();
        let file = |name: &str| read(&root, &format!("a:1@7.1/{name}"));
        assert_eq!(file("memory.max").as_deref(), Some("536870912"));
        assert_eq!(file("cpu.max").as_deref(), Some("150000 100000"));
        assert_eq!(file("pids.max").as_deref(), Some("100"));
        assert!(group.kill());
        assert_eq!(file("cgroup.kill").as_deref(), Some("1"));
        assert!(!group.ran_out_of_memory());
        fs::write(root.path().join("a:1@7.1/memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert!(group.ran_out_of_memory());
        groups.remove(group);
        assert_eq!(groups.left.len(), 1, "something is in it yet");
        // The kernel's files go with their folder; these have to be removed.
        fs::remove_dir_all(root.path().join("a:1@7.1")).unwrap();
        fs::create_dir(root.path().join("a:1@7.1")).unwrap();
        groups.sweep();
        assert!(groups.left.is_empty() && !root.path().join("a:1@7.1").exists());
    }

    #[test]
    fn the_group_is_left_by_the_daemon_before_it_is_divided() {
        let root = fake("cpu");
        fs::write(root.path().join("cgroup.procs"), "17\n").unwrap();
        let mut groups = Cgroups::new(Some(root.path().to_owned()));
        let limits = CgroupLimits { pids: Some(9), ..CgroupLimits::default() };
        let mut make = |name: &str| groups.make(name, &limits).map(drop);
        // The root of all groups, which may hold processes and limits both.
        make("a:1@7.1").unwrap();
        assert!(!root.path().join(LEAF).exists());
        assert_eq!(read(&root, "cgroup.subtree_control").as_deref(), Some("+pids"));

        fs::write(root.path().join("cgroup.events"), "populated 1\n").unwrap();
        let mut groups = Cgroups::new(Some(root.path().to_owned()));
        groups.make("a:1@7.2", &CgroupLimits::default()).unwrap();
        assert!(!root.path().join(LEAF).exists(), "nothing is limited, so nobody has to leave");
        groups.make("a:1@7.3", &limits).unwrap();
        assert_eq!(read(&root, &format!("{LEAF}/cgroup.procs")).as_deref(), Some("17"));
    }

    #[test]
    fn without_a_group_to_divide_the_start_is_refused() {
        let limits = CgroupLimits::default();
        let refusal = Cgroups::new(None).make("a:1@7.1", &limits).unwrap_err();
        assert_eq!(refusal.key, "cgroup");
        let nowhere = Cgroups::new(Some(PathBuf::from("/nowhere")));
        let limits = CgroupLimits { pids: Some(9), ..limits };
        let refusal = { nowhere }.make("a:1@7.1", &limits).unwrap_err();
        assert_eq!(refusal.key, "cgroup.pids");
    }
}
