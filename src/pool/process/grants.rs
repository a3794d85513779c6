//! What a worker is granted and denied: the shim sets it of itself, before it becomes the worker.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use ioprio::{BePriorityLevel, Class, Priority, RtPriorityLevel, Target};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::setrlimit;
use nix::unistd::Pid;
use rustix::process::setpriority_process;

use crate::config::{CpuList, IoPriority, Limits};

/// This process, where the kernel wants to know which one is meant.
const SELF: Pid = Pid::from_raw(0);

/// A key that cannot be granted.
#[derive(Debug)]
pub(super) struct Refusal {
    /// As in the file, with its value.
    pub(super) key: String,
    pub(super) source: io::Error,
    /// How to mend it.
    pub(super) hint: &'static str,
}

/// Enters a control group.
pub(super) fn enter(entrance: &Path) -> Result<(), Refusal> {
    let entered = fs::write(entrance, std::process::id().to_string());
    let hint = "leave the key out, or have the whole control group of the daemon delegated to it";
    granted(entered, || "cgroup".to_owned(), hint)
}

/// Sets what may need more rights than the worker has.
pub(super) fn before_user(limits: &Limits) -> Result<(), Refusal> {
    if let Some(nice) = limits.nice {
        let set = setpriority_process(None, nice).map_err(io::Error::from);
        granted(set, || key("nice", nice), "write a higher one, or give the daemon CAP_SYS_NICE")?;
    }
    if let Some(priority) = limits.io_priority {
        let hint = "write \"best-effort\", or give the daemon CAP_SYS_NICE";
        granted(set_io_priority(priority), || key("ionice", priority), hint)?;
    }
    if let Some(score) = limits.oom_score_adj {
        let set = fs::write("/proc/self/oom_score_adj", score.to_string());
        let hint = "write a higher one, or give the daemon CAP_SYS_RESOURCE";
        granted(set, || key("oom_score_adj", score), hint)?;
    }
    if let Some(cpus) = &limits.cpus {
        let hint = "leave the key out, or have the control group of the daemon grant them";
        granted(set_cpus(cpus), || key("cpu_affinity", CpuList(cpus)), hint)?;
    }
    for (kind, limit) in &limits.rlimits {
        let set = setrlimit(kind.resource(), limit.soft, limit.hard).map_err(io::Error::from);
        let named = || key(&format!("rlimit.{}", kind.name()), limit);
        let hint = "write no more than the daemon has itself, or give it CAP_SYS_RESOURCE";
        granted(set, named, hint)?;
    }
    Ok(())
}

/// Sets what must not stand in the way of a change of the user.
pub(super) fn after_user(limits: &Limits) -> Result<(), Refusal> {
    if !limits.no_new_privileges {
        return Ok(());
    }
    let set = set_no_new_privs().map_err(io::Error::from);
    granted(set, || key("no_new_privileges", true), "remove the key")
}

fn granted(
    set: io::Result<()>,
    key: impl FnOnce() -> String,
    hint: &'static str,
) -> Result<(), Refusal> {
    set.map_err(|source| Refusal { key: key(), source, hint })
}

fn key(name: &str, value: impl Display) -> String {
    format!("{name} = {value}")
}

fn set_io_priority(priority: IoPriority) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let class = match priority {
        IoPriority::Idle => Class::Idle,
        IoPriority::BestEffort(level) => {
            Class::BestEffort(BePriorityLevel::from_level(level).ok_or_else(invalid)?)
        }
        IoPriority::Realtime(level) => {
            Class::Realtime(RtPriorityLevel::from_level(level).ok_or_else(invalid)?)
        }
    };
    let this = ioprio::Pid::from_raw(0);
    // Its errors are those of another version of `nix`.
    ioprio::set_priority(Target::Process(this), Priority::new(class)).map_err(|error| {
        let number = error.as_errno().map(|errno| errno as i32);
        number.map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error)
    })
}

/// The kernel takes a list of which it grants a part; a part is not what was asked for.
fn set_cpus<'a>(cpus: impl IntoIterator<Item = &'a usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    sched_setaffinity(SELF, &set)?;
    if sched_getaffinity(SELF)? == set {
        Ok(())
    } else {
        Err(io::Error::other("not all of these processors are granted"))
    }
}
