//! What the server's process uses: /proc/PID of proc(5).

use std::fs;
use std::time::Duration;

use super::BenchError;

/// A process at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Processor time of its threads.
    pub(super) cpu: Duration,
    /// Resident bytes.
    pub(super) rss: u64,
}

pub(super) fn sample(pid: u32) -> Result<Sample, BenchError> {
    read(pid).ok_or(BenchError::NoProcess(pid))
}

fn read(pid: u32) -> Option<Sample> {
    let mut nanoseconds = 0_u64;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may have ended meanwhile.
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Sample { cpu: Duration::from_nanos(nanoseconds), rss: kilobytes * 1024 })
}
