//! Reads what single processes use.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

use super::sample::ProcessUsage;

/// A share of processor time over less than this would be a matter of chance: the kernel counts in
/// steps of 10 ms. Whoever asks sooner gets the last share again.
const INTERVAL_MIN: Duration = Duration::from_millis(250);

/// Knows how much processor time each process had used when it was last asked about.
#[derive(Debug)]
pub struct ProcessReader {
    page_len: u64,
    ticks_per_second: f64,
    seen: HashMap<i32, Seen>,
}

/// A process as it was read last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    stat: Stat,
    cpu_percent: f32,
}

/// Fields of /proc/PID/stat: proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// Ticks of processor time, in user and kernel mode.
    cpu: u64,
    /// Ticks from the boot to its start; with the pid it names a process for ever.
    started: u64,
    /// Resident pages.
    rss: u64,
}

impl Default for ProcessReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        let conf = |name| sysconf(name).ok().flatten().and_then(|value| u32::try_from(value).ok());
        Self {
            page_len: conf(SysconfVar::PAGE_SIZE).unwrap_or(4096).into(),
            ticks_per_second: conf(SysconfVar::CLK_TCK).unwrap_or(100).into(),
            seen: HashMap::new(),
        }
    }

    /// What these processes use; those that are gone are left out.
    ///
    /// The share of processor time is that since the previous call, for a new process that since
    /// its start. What is known about processes not asked for is forgotten.
    pub fn usage(&mut self, pids: &[i32]) -> HashMap<i32, ProcessUsage> {
        let uptime = fs::read_to_string("/proc/uptime").ok().and_then(|text| parse_uptime(&text));
        let before = std::mem::take(&mut self.seen);
        for pid in pids {
            let Some(stat) = read_stat(*pid) else { continue };
            let now = Instant::now();
            let same = before.get(pid).filter(|seen| seen.stat.started == stat.started);
            let seen = match same {
                Some(seen) if now.duration_since(seen.at) < INTERVAL_MIN => {
                    Seen { stat: Stat { rss: stat.rss, ..seen.stat }, ..*seen }
                }
                Some(seen) => {
                    let used = stat.cpu.saturating_sub(seen.stat.cpu);
                    let over = now.duration_since(seen.at).as_secs_f64();
                    Seen { at: now, stat, cpu_percent: self.percent(used, over) }
                }
                None => {
                    let age = uptime.map_or(0.0, |uptime| uptime - self.seconds(stat.started));
                    Seen { at: now, stat, cpu_percent: self.percent(stat.cpu, age) }
                }
            };
            self.seen.insert(*pid, seen);
        }
        let usage = |seen: &Seen| ProcessUsage {
            cpu_percent: seen.cpu_percent,
            rss: seen.stat.rss * self.page_len,
        };
        self.seen.iter().map(|(pid, seen)| (*pid, usage(seen))).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
    fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_second
    }

    #[expect(clippy::cast_possible_truncation, reason = "nobody reads more than six digits")]
    fn percent(&self, ticks: u64, seconds: f64) -> f32 {
        let over = seconds.max(INTERVAL_MIN.as_secs_f64());
        (self.seconds(ticks) / over * 100.0) as f32
    }
}

fn read_stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE …`; a name may hold spaces and parentheses. State is field 3.
fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let after_name = stat.get(memchr::memrchr(b')', stat)? + 1..)?;
    let fields: Vec<&str> =
        std::str::from_utf8(after_name).ok()?.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat { cpu: field(14)? + field(15)?, started: field(22)?, rss: field(24)? })
}

/// `SECONDS IDLE`
fn parse_uptime(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let tail = "S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 9876 123456 789 1844674";
        let expected = Some(Stat { cpu: 300, started: 9876, rss: 789 });
        for name in ["php", "a) R 9 9", ""] {
            assert_eq!(parse_stat(format!("42 ({name}) {tail}").as_bytes()), expected, "{name}");
        }
        assert_eq!(parse_stat(b"42 (php) S 1 42"), None);
        assert_eq!(parse_uptime("12.5 99.1\n"), Some(12.5));
    }

    #[test]
    fn a_busy_process_shows_and_a_dead_one_does_not() {
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let mut idle = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pids = [&busy, &idle].map(|child| i32::try_from(child.id()).unwrap());
        let mut reader = ProcessReader::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        let share = |usage: &HashMap<i32, ProcessUsage>| usage[&pids[0]].cpu_percent;
        let mut usage = reader.usage(&pids);
        while share(&usage) < 1.0 {
            assert!(Instant::now() < deadline, "{usage:?}");
            usage = reader.usage(&pids);
        }
        assert!(usage[&pids[1]].cpu_percent < 1.0 && usage[&pids[1]].rss > 100_000);
        for child in [&mut busy, &mut idle] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(reader.usage(&pids), HashMap::new());
    }
}
