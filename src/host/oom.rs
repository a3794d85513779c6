//! Whether the kernel killed processes of our control group for want of memory.
//!
//! The count is of the whole group, so a death is told to be one of these when the count has grown
//! since the last look: `memory.events` of cgroup v2, `memory.oom_control` of v1.

use std::fs;
use std::path::{Path, PathBuf};

/// Counts kills of the kernel in our control group.
#[derive(Debug)]
pub struct OomCount {
    /// `None` when the kernel tells nothing.
    file: Option<PathBuf>,
    seen: u64,
}

impl OomCount {
    /// Of the control group that this process is in.
    #[must_use]
    pub fn of_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_else(|_| String::new());
        Self::of(&groups, Path::new("/sys/fs/cgroup"))
    }

    /// `groups` is /proc/self/cgroup, `root` is /sys/fs/cgroup.
    #[must_use]
    pub fn of(groups: &str, root: &Path) -> Self {
        let path = |line: &str, prefix: &Path, name: &str| {
            let group = line.rsplit_once(":/")?.1;
            Some(root.join(prefix).join(group).join(name)).filter(|file| file.is_file())
        };
        let file = groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (number, controllers) = (fields.next()?, fields.next()?);
            if number == "0" {
                return path(line, Path::new(""), "memory.events");
            }
            let is_memory = controllers.split(',').any(|name| name == "memory");
            is_memory.then(|| path(line, Path::new("memory"), "memory.oom_control"))?
        });
        let mut count = Self { file, seen: 0 };
        count.has_grown();
        count
    }

    /// Whether the kernel killed something since the last look.
    pub fn has_grown(&mut self) -> bool {
        let text = self.file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let kills = text.as_deref().and_then(oom_kills).unwrap_or(self.seen);
        let has_grown = kills > self.seen;
        self.seen = kills;
        has_grown
    }
}

/// Kills of the kernel, by the text of `memory.events`.
#[must_use]
pub fn oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_seen_once_in_either_version() {
        for (groups, file) in [
            ("0::/a/b\n", "a/b/memory.events"),
            ("4:cpu:/x\n3:memory:/a\n0::/\n", "memory/a/memory.oom_control"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let write =
                |kills: u64| fs::write(&file, format!("oom 3\noom_kill {kills}\n")).unwrap();
            write(2);
            let mut count = OomCount::of(groups, root.path());
            assert!(!count.has_grown(), "what was before does not count");
            write(3);
            assert!(count.has_grown());
            assert!(!count.has_grown());
        }
        let mut nothing = OomCount::of("", Path::new("/nowhere"));
        assert!(!nothing.has_grown());
    }
}
