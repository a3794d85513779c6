//! Reads the host as a whole.

use std::fs;
use std::path::PathBuf;

use sysinfo::{MemoryRefreshKind, System};

use super::cgroup::{self, CgroupLimits, parse_pressure};
use super::sample::HostSample;

/// Takes samples of the host, cut to the limits of our control group.
#[derive(Debug)]
pub struct HostReader {
    system: Option<System>,
    proc: PathBuf,
    groups: PathBuf,
}

impl Default for HostReader {
    fn default() -> Self {
        Self::new()
    }
}

impl HostReader {
    /// A reader; nothing is read yet.
    #[must_use]
    pub fn new() -> Self {
        let (proc, groups) = ("/proc".into(), "/sys/fs/cgroup".into());
        Self { system: System::new().ok(), proc, groups }
    }

    /// The host now.
    pub fn sample(&mut self) -> HostSample {
        if let Some(system) = &mut self.system {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        }
        let memory = self.system.as_ref();
        let text = |path: &str| fs::read_to_string(self.proc.join(path)).ok();
        let loadavg = text("loadavg");
        let (cpu, memory_text) = (text("pressure/cpu"), text("pressure/memory"));
        let host = HostSample {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load1: System::load_average().map_or(0.0, |load| load.one),
            runnable: loadavg.as_deref().and_then(parse_runnable).unwrap_or(0),
            mem_available: memory.map_or(0, System::available_memory),
            mem_total: memory.map_or(0, System::total_memory),
            cpu_pressure: cpu.as_deref().and_then(|text| parse_pressure(text, "some ")),
            mem_pressure: memory_text.as_deref().and_then(|text| parse_pressure(text, "some ")),
            mem_stall: memory_text.as_deref().and_then(|text| parse_pressure(text, "full ")),
        };
        let limits = text("self/cgroup").map(|group| cgroup::read(&group, &self.groups));
        limits.map_or(host, |limits| within(host, limits))
    }
}

/// The host as one sees it from inside a group with limits.
fn within(host: HostSample, limits: CgroupLimits) -> HostSample {
    let cores = limits.cores.map(whole_cores).filter(|cores| *cores < host.cores);
    let memory = limits.memory.filter(|memory| memory.total < host.mem_total);
    HostSample {
        cores: cores.unwrap_or(host.cores),
        mem_total: memory.map_or(host.mem_total, |memory| memory.total),
        mem_available: memory
            .map_or(host.mem_available, |memory| memory.available.min(host.mem_available)),
        // Where a limit binds, what waits in our group waits for us, and the whole host's pressure is
        // others' too. A limit above what the host has binds nothing.
        cpu_pressure: cores.and(limits.cpu_pressure).or(host.cpu_pressure),
        mem_pressure: memory.and(limits.mem_pressure).or(host.mem_pressure),
        mem_stall: memory.and(limits.mem_stall).or(host.mem_stall),
        ..host
    }
}

/// A started core counts, so that half a core is one and not none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is clamped to what fits"
)]
fn whole_cores(cores: f64) -> usize {
    cores.ceil().clamp(1.0, 65_536.0) as usize
}

/// `0.20 0.18 0.12 3/1234 56789`: runnable tasks, among them the one that reads.
fn parse_runnable(loadavg: &str) -> Option<usize> {
    let (runnable, _) = loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?;
    runnable.parse::<usize>().ok().map(|count| count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::MemoryLimit;
    use super::*;

    #[test]
    fn pressure_is_the_share_of_the_last_ten_seconds() {
        let text = "some avg10=1.53 avg60=0.87 avg300=0.75 total=157656722\n\
                    full avg10=9.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(parse_pressure(text, "some "), Some(1.53));
        assert_eq!(parse_pressure(text, "full "), Some(9.0));
        for missing in ["", "full avg10=9.00", "some avg60=1", "some avg10=x"] {
            assert_eq!(parse_pressure(missing, "some "), None, "{missing}");
        }
    }

    #[test]
    fn runnable_tasks_are_counted_without_the_reader() {
        for (text, expected) in
            [("0.20 0.18 0.12 3/1234 56789\n", Some(2)), ("0 0 0 0/1 1", Some(0)), ("0.2", None)]
        {
            assert_eq!(parse_runnable(text), expected, "{text}");
        }
    }

    #[test]
    fn a_group_limit_counts_where_it_is_below_the_host() {
        let host =
            HostSample { cores: 8, mem_total: 1000, mem_available: 400, ..HostSample::default() };
        let limits = |cores, total, available| CgroupLimits {
            cores: Some(cores),
            memory: Some(MemoryLimit { total, available }),
            ..CgroupLimits::default()
        };
        let cut = |limits| {
            let sample = within(host, limits);
            (sample.cores, sample.mem_total, sample.mem_available)
        };
        assert_eq!(cut(limits(1.5, 500, 300)), (2, 500, 300));
        assert_eq!(cut(limits(0.1, 500, 450)), (1, 500, 400));
        assert_eq!(cut(limits(64.0, 2000, 10)), (8, 1000, 400));
    }

    #[test]
    fn in_a_container_its_limits_and_its_pressure_are_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let avg = |some: u32, full: u32| format!("some avg10={some}.0 x\nfull avg10={full}.0 x\n");
        write("proc/loadavg", "0.20 0.18 0.12 3/1234 56789\n");
        write("proc/pressure/cpu", &avg(80, 0));
        write("proc/pressure/memory", &avg(3, 1));
        write("proc/self/cgroup", "0::/box\n");
        write("groups/box/cpu.max", "50000 100000\n");
        write("groups/box/cpu.pressure", &avg(7, 2));
        write("groups/box/memory.pressure", &avg(30, 20));
        let mut reader = HostReader {
            proc: folder.path().join("proc"),
            groups: folder.path().join("groups"),
            ..HostReader::new()
        };
        let sample = reader.sample();
        assert_eq!((sample.cores, sample.runnable, sample.cpu_pressure), (1, 2, Some(7.0)));
        assert_eq!(sample.mem_pressure, Some(3.0), "the group does not limit memory");
        write("groups/box/memory.max", "1000000\n");
        write("groups/box/memory.current", "900000\n");
        let sample = reader.sample();
        assert_eq!((sample.mem_total, sample.mem_available), (1_000_000, 100_000));
        assert_eq!((sample.mem_pressure, sample.mem_stall), (Some(30.0), Some(20.0)));
        write("groups/box/cpu.max", "6400000000 100000\n");
        write("groups/box/memory.max", "900000000000000000\n");
        let sample = reader.sample();
        assert_eq!(sample.cpu_pressure, Some(80.0), "a limit above what there is binds nothing");
        assert_eq!((sample.mem_pressure, sample.mem_stall), (Some(3.0), Some(1.0)));
    }

    #[test]
    fn this_host_can_be_read() {
        let sample = HostReader::new().sample();
        assert!(sample.cores >= 1 && sample.load1 >= 0.0);
        assert!(sample.mem_total >= sample.mem_available && sample.mem_available > 0);
    }
}
