//! What /proc tells of processes.

use std::io;

/// What a line of `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcStat {
    /// `R`, `S`, `Z` and so on.
    pub(super) state: char,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// In clock ticks since the boot: with the process id, this names one process for ever.
    pub(super) started: u64,
}

impl ProcStat {
    /// Reads it for one process.
    pub(super) fn read(pid: i32) -> io::Result<Self> {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&line).ok_or_else(|| io::Error::other("unexpected text in /proc/PID/stat"))
    }

    /// Fields 3 to 6 and 22 of proc_pid_stat(5).
    fn parse(line: &str) -> Option<Self> {
        // The command's name, field 2, may hold spaces and parentheses.
        let (_, rest) = line.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, group, session, started })
    }
}

/// The ids of all processes.
pub(super) fn pids() -> io::Result<impl Iterator<Item = i32>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// True when the environment that the process was started with holds this variable.
pub(super) fn has_env(pid: i32, variable: &str) -> bool {
    variable.split_once('=').is_some_and(|(name, value)| env(pid, name).as_deref() == Some(value))
}

/// A variable of the environment that the process was started with; nothing also while it execs.
pub(super) fn env(pid: i32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment.split(|byte| *byte == 0).find_map(|entry| {
        entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
    });
    value.map(|value| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_though_the_name_holds_parentheses() {
        let line = "812 (a) b (c)) S 1 811 811 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 48151623 1 2";
        let stat = ProcStat::parse(line);
        let expected =
            ProcStat { state: 'S', parent: 1, group: 811, session: 811, started: 48_151_623 };
        assert_eq!(stat, Some(expected));
        assert_eq!(ProcStat::parse("812 (x) S 1"), None);
    }
}
