//! The rule itself.
//!
//! Source: the drain-target rule of backlog over time left, and the window maximum of measured busy
//! time; `T` below is the time left until the oldest job would miss the objective.

use std::cmp::Ordering;
use std::fmt;
use std::time::{Duration, Instant};

use super::estimate::{PoolState, count, workers};
use super::gate::HostLimit;

/// What one pool looks like at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Samples {
    /// Ready jobs of its functions that nobody runs.
    pub queued: usize,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Its workers with a job in hand.
    pub running: usize,
    /// Its workers that are ready and have none.
    pub idle: usize,
    /// Of those, how many have been idle for `idle_ttl`.
    pub idle_long: usize,
    /// Its workers that are not ready yet.
    pub starting: usize,
    /// Jobs that its workers have ended since the daemon started.
    pub ended: u64,
}

/// What bounds one pool's count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalerSettings {
    /// At least so many workers.
    pub min: u32,
    /// At most so many.
    pub max: u32,
    /// How long a job may wait: the objective.
    pub max_wait: Duration,
    /// A job's length before any has been seen.
    pub expect: Duration,
    /// From the start of a process until it can take a job.
    pub startup: Duration,
    /// How far back the shrink rule looks.
    pub down_window: Duration,
    /// How long a worker must be idle before it counts as surplus.
    pub idle_ttl: Duration,
    /// How long a pool with min = 0 keeps its last worker without work.
    pub zero_after: Duration,
}

/// What is to be done and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What demand asks for, unlimited by max and host.
    pub wanted: u32,
    /// What the pool is to run.
    pub target: u32,
    /// What kept the target below `wanted`.
    pub limit: Option<Limit>,
    /// The reason in one sentence.
    pub reason: String,
}

/// What keeps a pool below what demand asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The pool's own max.
    Max,
    /// `[host] max_workers`.
    HostWorkers,
    /// The host's state.
    Host(HostLimit),
}

/// What the host allows beyond the workers that run; bounds growth above min only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostRoom {
    /// How many workers `[host] max_workers` leaves; `None` when it is not set.
    pub spare: Option<u32>,
    /// Why the host can bear no more; `None` when it can.
    pub limit: Option<HostLimit>,
}

impl Default for ScalerSettings {
    fn default() -> Self {
        Self {
            min: 1,
            max: 1,
            max_wait: Duration::from_secs(5),
            expect: Duration::from_secs(1),
            startup: Duration::from_secs(1),
            down_window: Duration::from_mins(1),
            idle_ttl: Duration::from_secs(30),
            zero_after: Duration::from_mins(2),
        }
    }
}

/// Square-root staffing above the measured load: how far a count may stand above it.
const SLACK: f64 = 1.0;

/// The count for one pool, from what is seen `now` and what `state` remembers.
pub fn decide(
    state: &mut PoolState,
    now: Instant,
    samples: &Samples,
    settings: &ScalerSettings,
    host: HostRoom,
) -> Decision {
    state.observe(now, samples, settings);
    let service = state.service_seconds(settings.expect);
    let have = to_workers(samples.running + samples.idle + samples.starting);
    let wanted = backlog_need(state, samples, settings, service);
    let floor = shrink_floor(state, now, samples, settings);
    let (grown, limit) = limited_growth(wanted.max(settings.min), have, settings, host);
    let shrinks = grown < have;
    let target =
        if shrinks { shrunk(have, grown.max(floor).max(settings.min), samples) } else { grown };
    let limit = limit.filter(|_| !shrinks);
    let demand = demand_sentence(samples, settings, service, wanted);
    let reason = format!("{demand}{}", change_sentence(have, target, limit));
    Decision { wanted, target, limit, reason }
}

/// Workers that drain what waits before its oldest job misses the objective.
///
/// A free worker starts `1 + T/s` jobs in the time left, a busy one `T/s`.
fn backlog_need(
    state: &PoolState,
    samples: &Samples,
    settings: &ScalerSettings,
    service: f64,
) -> u32 {
    if samples.queued == 0 {
        return to_workers(samples.running);
    }
    let objective = settings.max_wait.as_secs_f64();
    let startup = settings.startup.as_secs_f64();
    let left = (objective - samples.oldest.as_secs_f64()).max(startup).max(objective / 4.0);
    let (queued, running) = (count(samples.queued), count(samples.running));
    let uncovered = queued + state.arrivals() * left - running * left / service;
    let per_worker = 1.0 + (left - startup).max(0.0) / service;
    let mut more = (uncovered / per_worker).clamp(0.0, queued);
    let nobody = samples.running + samples.idle + samples.starting == 0;
    if nobody {
        more = more.max(1.0);
    }
    to_workers(samples.running).saturating_add(workers(more))
}

/// What the busiest part of the window needed; below it a pool does not fall.
fn shrink_floor(
    state: &mut PoolState,
    now: Instant,
    samples: &Samples,
    settings: &ScalerSettings,
) -> u32 {
    let busy = state.busy();
    let need = if busy > 0.5 { workers(busy + SLACK * busy.sqrt()) } else { 0 };
    let need = need.max(to_workers(samples.running));
    let keeps_last = state.quiet(now) < settings.zero_after;
    state.window_max(now, need, settings.down_window).max(u32::from(keeps_last))
}

fn limited_growth(
    wanted: u32,
    have: u32,
    settings: &ScalerSettings,
    host: HostRoom,
) -> (u32, Option<Limit>) {
    let (mut target, mut limit) =
        if wanted > settings.max { (settings.max, Some(Limit::Max)) } else { (wanted, None) };
    let spare = host.spare.map(|more| (more, Limit::HostWorkers));
    let strained = host.limit.map(|limit| (0, Limit::Host(limit)));
    for (more, why) in [spare, strained].into_iter().flatten() {
        // A pool without any worker may always start one: its jobs would wait for ever.
        let first = u32::from(have == 0 && wanted > 0);
        let most = have.saturating_add(more).max(settings.min).max(first);
        if target > most {
            (target, limit) = (most, Some(why));
        }
    }
    (target, limit)
}

/// One step down: idle workers only, a quarter of the pool at once.
fn shrunk(have: u32, floor: u32, samples: &Samples) -> u32 {
    let step = (have / 4).max(1);
    let surplus = have.saturating_sub(floor);
    have - surplus.min(step).min(to_workers(samples.idle_long))
}

fn to_workers(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn demand_sentence(
    samples: &Samples,
    settings: &ScalerSettings,
    service: f64,
    wanted: u32,
) -> String {
    let Samples { queued, running, .. } = samples;
    if *queued == 0 {
        return match running {
            0 => "nothing waits or runs".to_owned(),
            _ => format!("{running} run, none wait"),
        };
    }
    let wait = humantime::format_duration(settings.max_wait);
    let oldest = samples.oldest.as_secs_f64();
    format!(
        "{queued} wait, oldest {oldest:.1} s, {service:.2} s a job: {wanted} workers meet \
         max_wait = {wait}"
    )
}

fn change_sentence(have: u32, target: u32, limit: Option<Limit>) -> String {
    let limited = limit.map(|limit| format!("; limited by {limit}")).unwrap_or_default();
    match target.cmp(&have) {
        Ordering::Greater => format!("; {have}→{target}{limited}"),
        Ordering::Less => format!("; {have}→{target}: idle above the last minute's need"),
        Ordering::Equal => format!("; stays at {target}{limited}"),
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("the pool's max"),
            Self::HostWorkers => f.write_str("[host] max_workers"),
            Self::Host(limit) => limit.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
