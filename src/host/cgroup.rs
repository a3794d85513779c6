//! Limits of the control group that we run in, cgroup v2: `cpu.max` and `memory.max`.

use std::fs;
use std::path::{Path, PathBuf};

/// What a group and those above it allow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CgroupLimits {
    /// Processors' worth of time.
    pub(super) cores: Option<f64>,
    /// Memory in bytes.
    pub(super) memory: Option<MemoryLimit>,
}

/// A limit of memory, and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    /// All of it.
    pub(super) total: u64,
    /// What is left, cached files counted as free.
    pub(super) available: u64,
}

/// The files of one group.
#[derive(Clone, Copy, Debug, Default)]
struct GroupFiles<'a> {
    cpu_max: &'a str,
    memory_max: &'a str,
    memory_current: &'a str,
    memory_stat: &'a str,
}

/// Reads our group's limits: `self_cgroup` is /proc/self/cgroup, `root` is /sys/fs/cgroup.
pub(super) fn read(self_cgroup: &str, root: &Path) -> CgroupLimits {
    let Some(own) = own_group(self_cgroup) else { return CgroupLimits::default() };
    let mut group = root.join(own);
    let mut limits = CgroupLimits::default();
    while group.starts_with(root) {
        limits = limits.tightened(read_group(&group));
        if !group.pop() {
            break;
        }
    }
    limits
}

/// The root has none of these files, and a group without a controller lacks its files: no limit.
fn read_group(group: &Path) -> CgroupLimits {
    let [cpu_max, memory_max, memory_current, memory_stat] =
        ["cpu.max", "memory.max", "memory.current", "memory.stat"]
            .map(|name| fs::read_to_string(group.join(name)).unwrap_or_else(|_| String::new()));
    parse(GroupFiles {
        cpu_max: &cpu_max,
        memory_max: &memory_max,
        memory_current: &memory_current,
        memory_stat: &memory_stat,
    })
}

/// The path of the v2 group, relative to the root; `None` when there is none or we cannot see it.
fn own_group(self_cgroup: &str) -> Option<PathBuf> {
    let path = self_cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.split('/').any(|part| part == "..")).then(|| path.into())
}

fn parse(files: GroupFiles<'_>) -> CgroupLimits {
    let cores = || {
        let (quota, period) = files.cpu_max.trim().split_once(' ')?;
        let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
        (period > 0.0).then_some(quota / period)
    };
    let memory = || {
        let total: u64 = files.memory_max.trim().parse().ok()?;
        let current: u64 = files.memory_current.trim().parse().ok()?;
        let cached = files.memory_stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
        let cached: u64 = cached.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
        let used = current.saturating_sub(cached);
        Some(MemoryLimit { total, available: total.saturating_sub(used) })
    };
    CgroupLimits { cores: cores(), memory: memory() }
}

impl CgroupLimits {
    fn tightened(self, other: Self) -> Self {
        let least = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        let memory = [self.memory, other.memory].into_iter().flatten().reduce(|a, b| MemoryLimit {
            total: a.total.min(b.total),
            available: a.available.min(b.available),
        });
        Self { cores: least(self.cores, other.cores), memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_no_limit_is_none() {
        let limited = GroupFiles {
            cpu_max: "150000 100000\n",
            memory_max: "1000000\n",
            memory_current: "700000\n",
            memory_stat: "anon 1\ninactive_file 200000\nactive_file 5\n",
        };
        let memory = MemoryLimit { total: 1_000_000, available: 500_000 };
        assert_eq!(parse(limited), CgroupLimits { cores: Some(1.5), memory: Some(memory) });
        let free = GroupFiles {
            cpu_max: "max 100000\n",
            memory_max: "max\n",
            memory_current: "700000\n",
            memory_stat: "",
        };
        assert_eq!(parse(free), CgroupLimits::default());
        assert_eq!(parse(GroupFiles::default()), CgroupLimits::default());
    }

    #[test]
    fn the_tightest_of_our_group_and_those_above_holds() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("system.slice/gear.service");
        fs::create_dir_all(&own).unwrap();
        let write = |path: &Path, name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        write(&own, "cpu.max", "400000 100000");
        write(&own, "memory.max", "500");
        write(&own, "memory.current", "100");
        let slice = own.parent().unwrap();
        write(slice, "cpu.max", "200000 100000");
        write(slice, "memory.max", "600");
        write(slice, "memory.current", "550");
        let limits = read("0::/system.slice/gear.service\n", root.path());
        let memory = MemoryLimit { total: 500, available: 50 };
        assert_eq!(limits, CgroupLimits { cores: Some(2.0), memory: Some(memory) });
        for unseen in ["0::/../elsewhere\n", "4:memory:/x\n", ""] {
            assert_eq!(read(unseen, root.path()), CgroupLimits::default(), "{unseen}");
        }
    }
}
