//! What the kernel is told about a pool's workers: how urgent they are, and what they may use.
//!
//! What a daemon cannot grant is a mistake in the file where that is known ([`Powers`]); where it
//! is not, the start of a worker fails and says which key it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cgroup::{CgroupLimits, cgroup};
use super::powers::Powers;
use super::rlimit::{Rlimit, RlimitKind, rlimits};
use super::table::Table;
use super::value::Value;
use super::wrong::{Parsed, Wrong};

/// Processors that the kernel's calls have room for.
const CPUS_MAX: usize = 1024;
/// The level within its class that a process has whose nice is 0.
const IO_LEVEL: u8 = 4;

/// The keys of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Priority of processor time, from -20 (first) to 19; `None`: the daemon's.
    pub nice: Option<i32>,
    /// Priority of disks; `None`: the daemon's.
    pub io_priority: Option<IoPriority>,
    /// How gladly the kernel kills it when memory is short, from -1000 (never) to 1000.
    pub oom_score_adj: Option<i32>,
    /// Limits of single processes; those left out are the daemon's.
    pub rlimits: BTreeMap<RlimitKind, Rlimit>,
    /// Whether what it executes can gain no rights, as by set-user-id.
    pub no_new_privileges: bool,
    /// The processors that it may run on; `None`: all.
    pub cpus: Option<BTreeSet<usize>>,
    /// A control group of its own, with these limits; `None`: the daemon's.
    pub cgroup: Option<CgroupLimits>,
}

/// Priority of a process's reading and writing of disks: ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IoPriority {
    /// Only when nobody else wants the disk.
    Idle,
    /// Among all others, from 0 (first) to 7.
    BestEffort(u8),
    /// Before all others, from 0 (first) to 7.
    Realtime(u8),
}

impl Limits {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>, powers: &Powers) -> Self {
        let flag = table.read("no_new_privileges", Value::flag);
        let io_priority = |value: &Value<'_>| value.parse(|text| io_priority(text, powers));
        let rlimits = table.read("rlimit", |value| rlimits(value, powers));
        Self {
            nice: table.read("nice", |value| nice(value, powers)),
            io_priority: table.read("ionice", io_priority),
            oom_score_adj: table.read("oom_score_adj", |value| oom_score_adj(value, powers)),
            rlimits: rlimits.unwrap_or_default(),
            no_new_privileges: flag.unwrap_or(false),
            cpus: table.read("cpu_affinity", |value| cpus(value, powers)),
            cgroup: table.read("cgroup", |value| cgroup(value, powers)),
        }
    }

    /// Each key, and whether it differs.
    pub(super) fn differing(&self, other: &Self) -> [(&'static str, bool); 7] {
        [
            ("nice", self.nice != other.nice),
            ("ionice", self.io_priority != other.io_priority),
            ("oom_score_adj", self.oom_score_adj != other.oom_score_adj),
            ("rlimit", self.rlimits != other.rlimits),
            ("no_new_privileges", self.no_new_privileges != other.no_new_privileges),
            ("cpu_affinity", self.cpus != other.cpus),
            ("cgroup", self.cgroup != other.cgroup),
        ]
    }
}

/// As in the file: `idle`, `best-effort:4`.
impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::BestEffort(level) => write!(f, "best-effort:{level}"),
            Self::Realtime(level) => write!(f, "realtime:{level}"),
        }
    }
}

fn nice(value: &Value<'_>, powers: &Powers) -> Parsed<i32> {
    let nice = within(value, -20, 19)?;
    match powers.nice_min {
        Some(min) if nice < min => {
            let wrong = format!("the daemon may give its workers no nice below {min}");
            Err(Wrong::new(wrong).hint("write a higher one, or start the daemon as root"))
        }
        Some(_) | None => Ok(nice),
    }
}

fn oom_score_adj(value: &Value<'_>, powers: &Powers) -> Parsed<i32> {
    let score = within(value, -1000, 1000)?;
    match powers.oom_score_adj_min {
        Some(min) if score < min => {
            let wrong = format!("the daemon may give its workers no oom_score_adj below {min}");
            Err(Wrong::new(wrong).hint("write a higher one, or give the daemon CAP_SYS_RESOURCE"))
        }
        Some(_) | None => Ok(score),
    }
}

fn within(value: &Value<'_>, min: i32, max: i32) -> Parsed<i32> {
    let number = value.integer()?;
    let fits = i32::try_from(number).ok().filter(|number| (min..=max).contains(number));
    fits.ok_or_else(|| {
        Wrong::new(format!("{number} is not within {min} and {max}")).hint("write one that is")
    })
}

/// `CLASS` or `CLASS:LEVEL`, as ionice(1) names the classes.
fn io_priority(text: &str, powers: &Powers) -> Parsed<IoPriority> {
    let (class, level) = text.split_once(':').unwrap_or((text, ""));
    let number = match level.trim() {
        "" => Some(IO_LEVEL),
        level => level.parse().ok().filter(|level: &u8| *level < 8),
    };
    let priority = match (class.trim(), number) {
        ("idle", Some(_)) if level.is_empty() => IoPriority::Idle,
        ("best-effort", Some(level)) => IoPriority::BestEffort(level),
        ("realtime", Some(level)) => IoPriority::Realtime(level),
        _ => {
            return Err(Wrong::new(format!("'{text}' is not a priority of disks"))
                .hint("write \"idle\", or as in \"best-effort:4\" with a level from 0 to 7"));
        }
    };
    if matches!(priority, IoPriority::Realtime(_)) && powers.lacks_realtime_io {
        return Err(Wrong::new("the daemon may give its workers no realtime priority")
            .hint("write \"best-effort:0\", or start the daemon as root"));
    }
    Ok(priority)
}

fn cpus(value: &Value<'_>, powers: &Powers) -> Parsed<BTreeSet<usize>> {
    let cpus = if value.is_text() {
        value.parse(cpu_list)?
    } else {
        let numbers = value.numbers()?.into_iter();
        numbers.map(|cpu| usize::try_from(cpu).unwrap_or(CPUS_MAX)).collect()
    };
    if cpus.is_empty() {
        return Err(Wrong::new("no processor is listed").hint("write as in \"0-3,6\""));
    }
    let Some(known) = &powers.cpus else { return Ok(cpus) };
    match cpus.difference(known).next() {
        Some(cpu) => Err(Wrong::new(format!("there is no processor {cpu}"))
            .hint(format!("use those that are there: {}", CpuList(known)))),
        None => Ok(cpus),
    }
}

/// `0-3,6`
pub(super) fn cpu_list(text: &str) -> Parsed<BTreeSet<usize>> {
    let unfit = || {
        Wrong::new(format!("'{text}' is not a list of processors")).hint("write as in \"0-3,6\"")
    };
    let mut cpus = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse().ok().filter(|cpu: &usize| *cpu < CPUS_MAX);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err(unfit()),
        }
    }
    Ok(cpus)
}

/// Shows processors as the file lists them.
#[derive(Clone, Copy, Debug)]
pub struct CpuList<'a>(pub &'a BTreeSet<usize>);

impl fmt::Display for CpuList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for cpu in self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
                Some(_) | None => ranges.push((*cpu, *cpu)),
            }
        }
        let text = |(first, last): &(usize, usize)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        f.write_str(&ranges.iter().map(text).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_listed_as_the_kernel_lists_them() {
        for (text, shown) in
            [("0-3,6", Some("0-3,6")), ("6, 0,1", Some("0-1,6")), ("", Some("")), ("7", Some("7"))]
        {
            assert_eq!(
                cpu_list(text).ok().map(|cpus| CpuList(&cpus).to_string()),
                shown.map(str::to_owned)
            );
        }
        for wrong in ["3-1", "a", "0-", "-1", "1024"] {
            assert!(cpu_list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_priority_of_disks_has_a_class_and_a_level() {
        let all = Powers::default();
        let read = |text: &str| io_priority(text, &all).ok().map(|priority| priority.to_string());
        for (text, expected) in [
            ("idle", Some("idle")),
            ("best-effort", Some("best-effort:4")),
            ("best-effort:7", Some("best-effort:7")),
            ("realtime:0", Some("realtime:0")),
            ("idle:3", None),
            ("best-effort:8", None),
            ("besteffort", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
        let few = Powers { lacks_realtime_io: true, ..all };
        assert!(io_priority("realtime", &few).is_err() && io_priority("idle", &few).is_ok());
    }
}
