//! `cgroup = { memory = "512MiB", cpu = 1.5, pids = 100 }`: what one worker and all that it starts
//! may use together.

use serde::{Deserialize, Serialize};

use super::powers::{CgroupSight, Powers};
use super::value::Value;
use super::wrong::{Parsed, Wrong};

/// A whole processor, in microseconds of each 100 ms.
const CPU_MICROS: f64 = 100_000.0;
/// The kernel takes nothing smaller, nor much larger.
const CPU_MIN: f64 = 0.01;
const CPU_MAX: f64 = 10_000.0;
/// Less would not hold the step between, which becomes the worker.
const MEMORY_MIN: u64 = 8 << 20;
/// So would this: one process, and those that a shell starts.
const PIDS_MIN: u32 = 2;

/// What a worker's control group is limited to; without any limit it still ends as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupLimits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Microseconds of processor time in each 100 ms.
    pub cpu_micros: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

impl CgroupLimits {
    /// The controllers that it needs, by the kernel's names.
    pub fn controllers(&self) -> impl Iterator<Item = &'static str> + use<> {
        let needed = [
            ("memory", self.memory.is_some()),
            ("cpu", self.cpu_micros.is_some()),
            ("pids", self.pids.is_some()),
        ];
        needed.into_iter().filter_map(|(name, is_needed)| is_needed.then_some(name))
    }
}

/// Reads the table.
pub(super) fn cgroup(value: &Value<'_>, powers: &Powers) -> Parsed<CgroupLimits> {
    let table = value.table()?;
    let limits = CgroupLimits {
        memory: table.read("memory", memory),
        cpu_micros: table.read("cpu", cpu_micros),
        pids: table.read("pids", pids),
    };
    table.finish();
    let remedy = "remove the key, or run the daemon where one is delegated to it (systemd: \
                  Delegate=yes in its unit)";
    match &powers.cgroup {
        CgroupSight::Unknown => Ok(limits),
        CgroupSight::Missing(why) => Err(Wrong::new(why.clone()).hint(remedy)),
        CgroupSight::Controllers(known) => {
            match limits.controllers().find(|name| !known.iter().any(|known| known == name)) {
                None => Ok(limits),
                Some(name) => {
                    let wrong = format!("the daemon's control group cannot limit {name}");
                    Err(Wrong::new(wrong).hint(format!(
                        "remove it, or have the controller {name} enabled there; it has {}",
                        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                    )))
                }
            }
        }
    }
}

fn memory(value: &Value<'_>) -> Parsed<u64> {
    match value.size()? {
        size if size < MEMORY_MIN => Err(Wrong::new("no worker could be started in so little")
            .hint("write 8MiB or more, as in \"512MiB\"")),
        size => Ok(size),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is checked to be within what fits"
)]
fn cpu_micros(value: &Value<'_>) -> Parsed<u64> {
    let cpu = value.decimal()?;
    if (CPU_MIN..=CPU_MAX).contains(&cpu) {
        return Ok((cpu * CPU_MICROS).round() as u64);
    }
    Err(Wrong::new(format!("{cpu} processors cannot be given")).hint("write as in 1.5 or 0.25"))
}

fn pids(value: &Value<'_>) -> Parsed<u32> {
    match value.number()? {
        count if count < PIDS_MIN => Err(Wrong::new("no worker could be started among so few")
            .hint(format!("write {PIDS_MIN} or more"))),
        count => Ok(count),
    }
}
