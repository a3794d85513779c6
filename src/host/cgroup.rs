//! Limits of the control group that we run in, cgroup v2: `cpu.max` and `memory.max`, and how long
//! programs wait for what they limit: `cpu.pressure` and `memory.pressure`.

use std::fs;
use std::path::{Path, PathBuf};

/// What a group and those above it allow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CgroupLimits {
    /// Processors' worth of time.
    pub(super) cores: Option<f64>,
    /// Memory in bytes.
    pub(super) memory: Option<MemoryLimit>,
    /// Percent of time in which something in a group that limits processors waits for one.
    pub(super) cpu_pressure: Option<f64>,
    /// The same of memory, and the time in which everything waits for it.
    pub(super) mem_pressure: Option<f64>,
    /// See `mem_pressure`.
    pub(super) mem_stall: Option<f64>,
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
    cpu_pressure: &'a str,
    memory_pressure: &'a str,
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
    let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_else(|_| String::new());
    parse(GroupFiles {
        cpu_max: &read("cpu.max"),
        memory_max: &read("memory.max"),
        memory_current: &read("memory.current"),
        memory_stat: &read("memory.stat"),
        cpu_pressure: &read("cpu.pressure"),
        memory_pressure: &read("memory.pressure"),
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
    // Where a group does not limit, the host does, and its pressure counts.
    let (cores, memory) = (cores(), memory());
    let waits = |text, which| parse_pressure(text, which);
    CgroupLimits {
        cores,
        memory,
        cpu_pressure: cores.and_then(|_| waits(files.cpu_pressure, "some ")),
        mem_pressure: memory.and_then(|_| waits(files.memory_pressure, "some ")),
        mem_stall: memory.and_then(|_| waits(files.memory_pressure, "full ")),
    }
}

/// `some avg10=1.53 avg60=0.87 avg300=0.75 total=…`: the first number of the line `which`.
pub(super) fn parse_pressure(text: &str, which: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(which))?;
    line.split_ascii_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

impl CgroupLimits {
    fn tightened(self, other: Self) -> Self {
        let either = |a: Option<f64>, b: Option<f64>, of: fn(f64, f64) -> f64| {
            [a, b].into_iter().flatten().reduce(of)
        };
        let memory = [self.memory, other.memory].into_iter().flatten().reduce(|a, b| MemoryLimit {
            total: a.total.min(b.total),
            available: a.available.min(b.available),
        });
        Self {
            cores: either(self.cores, other.cores, f64::min),
            memory,
            cpu_pressure: either(self.cpu_pressure, other.cpu_pressure, f64::max),
            mem_pressure: either(self.mem_pressure, other.mem_pressure, f64::max),
            mem_stall: either(self.mem_stall, other.mem_stall, f64::max),
        }
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
            cpu_pressure: "some avg10=61.00 avg60=0.87\nfull avg10=9.00 avg60=0.00\n",
            memory_pressure: "some avg10=12.50 avg60=0.87\nfull avg10=6.25 avg60=0.00\n",
        };
        let memory = MemoryLimit { total: 1_000_000, available: 500_000 };
        let expected = CgroupLimits {
            cores: Some(1.5),
            memory: Some(memory),
            cpu_pressure: Some(61.0),
            mem_pressure: Some(12.5),
            mem_stall: Some(6.25),
        };
        assert_eq!(parse(limited), expected);
        let free = GroupFiles {
            cpu_max: "max 100000\n",
            memory_max: "max\n",
            memory_current: "700000\n",
            memory_stat: "",
            ..limited
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
        let memory = Some(MemoryLimit { total: 500, available: 50 });
        assert_eq!(limits, CgroupLimits { cores: Some(2.0), memory, ..CgroupLimits::default() });
        for unseen in ["0::/../elsewhere\n", "4:memory:/x\n", ""] {
            assert_eq!(read(unseen, root.path()), CgroupLimits::default(), "{unseen}");
        }
    }
}
