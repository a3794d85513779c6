//! What one pool needs by its own demand, whatever the host can bear.
//!
//! Two rules, both absolute: none builds on the count there is. The backlog rule asks for what
//! drains the queue before its oldest job misses the objective; the load rule adds a margin of the
//! square root to the measured busy workers (square-root staffing, Halfin and Whitt).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::estimate::FunctionState;
use super::fleet::Whole;
use super::load::Load;
use super::sample::{FunctionSample, PoolSample, real, to_workers, workers};
use super::window::DownWindow;
use crate::config::{ScalingMode, ScalingSettings};

/// Time from a start until the worker takes jobs, before any was seen.
const STARTUP: Duration = Duration::from_secs(1);
/// Starts that are remembered, and their share that is quicker than what is reckoned with.
const STARTUPS_MAX: usize = 16;
const QUICKER: f64 = 0.9;
/// Resident sizes that are remembered.
const SIZES_MAX: usize = 64;
/// Up to this many busy workers on average nothing is started for them, and up to the other nothing
/// is kept: a mean near one bound would start and stop a worker again and again.
const BUSY_TO_START: f64 = 0.5;
const BUSY_TO_KEEP: f64 = 0.25;
/// A pool falls at most by this share of itself in this time.
const FALL: f64 = 0.25;
const FALL_EVERY: Duration = Duration::from_secs(1);

/// A fall by no more than this part of the pool is not worth it: the load would soon call for the
/// same workers again.
const FALL_MIN: u32 = 20;

/// One pool's memory between looks.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolState {
    load: Load,
    window: DownWindow,
    startups: VecDeque<Duration>,
    sizes: VecDeque<u64>,
    /// Since when nothing waits or runs.
    quiet_since: Option<Instant>,
    /// What the pool was told to run; `None` before the first look.
    pub(super) level: Option<u32>,
    fell: Option<Instant>,
    rose: Option<Instant>,
    /// When it was looked at last, and jobs in the hands of other hosts' workers then.
    seen_elsewhere: Option<(Instant, u32)>,
    /// For how long those have run, all added up.
    busy_elsewhere: Duration,
    /// Since when it has more than its share while others have less.
    pub(super) over_since: Option<Instant>,
}

/// A function with its history, and the part of its queue that falls to one pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand<'a> {
    pub(super) sample: FunctionSample,
    pub(super) history: &'a FunctionState,
    /// The pool's share of it, from 0 to 1, and of the queue in jobs.
    pub(super) share: f64,
    pub(super) queued: f64,
    /// Whether no pool that serves it has a worker, and this one is to start it.
    pub(super) orphan: bool,
}

/// The numbers that a decision rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Inputs {
    /// Jobs that wait and fall to this pool.
    pub queued: f64,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Seconds that a job takes.
    pub service: f64,
    /// Jobs that arrive in a second.
    pub arrivals: f64,
    /// Busy workers now, and on average.
    pub running: u32,
    /// Busy workers on average.
    pub busy: f64,
    /// Workers there are: busy, idle or starting.
    pub have: u32,
    /// From a start until the worker takes jobs.
    pub startup: Duration,
    /// How far back the shrink rule looks.
    pub window: Duration,
    /// Hosts that share the need, this one among them; 1: it is alone.
    pub hosts: u32,
    /// Workers that all of them need.
    pub needed: u32,
}

/// What a pool needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub(super) inputs: Inputs,
    /// What demand asks for, without any limit.
    pub(super) wanted: u32,
    /// The same within the pool's bounds.
    pub(super) up: u32,
    /// Below this it does not fall by its own rule.
    pub(super) floor: u32,
    /// Work in workers: busy ones and what waits.
    pub(super) erlangs: f64,
    /// Resident bytes that one more worker is reckoned with; `None`: none has been seen yet.
    pub(super) size: Option<u64>,
}

impl PoolState {
    /// What is seen next says nothing of the time before.
    pub(super) fn wake(&mut self) {
        self.load.wake();
        self.seen_elsewhere = None;
    }

    /// Takes in what was seen at `now`, and tells what is needed.
    pub(super) fn need(
        &mut self,
        now: Instant,
        sample: &PoolSample,
        demands: &[Demand<'_>],
        whole: Option<&Whole>,
    ) -> Need {
        let scaling = &sample.scaling;
        remember(&mut self.startups, &sample.startups, STARTUPS_MAX);
        remember(&mut self.sizes, &sample.sizes, SIZES_MAX);
        let backlog = Backlog::of(demands);
        let running = to_workers(sample.running).saturating_add(backlog.elsewhere);
        let busy = sample.busy + self.elsewhere(now, backlog.elsewhere);
        self.load.observe(now, busy, scaling.max_wait, backlog.service);
        let startup = self.startup(scaling);
        let more = backlog.more_workers(running, scaling.max_wait, startup);
        let margin = margin(scaling.mode);
        let busy = self.load.busy();
        let to_start = staffed(busy, margin, BUSY_TO_START);
        let to_keep = staffed(busy, margin, BUSY_TO_KEEP);
        // Nothing that runs elsewhere calls for a worker here, and its count is a second old: only
        // where something waits is it reckoned how many there are to be in all.
        let is_shared = whole.is_some_and(|whole| whole.hosts() > 1);
        let counts = backlog.queued > 0.0 || !is_shared;
        let by_queue = if counts { running.saturating_add(workers(more)) } else { 0 };
        let spare = if running > 0 { scaling.spare } else { 0 };
        let needed = by_queue.max(to_start).saturating_add(spare);
        let ours = |need: u32| whole.map_or(need, |whole| whole.share(need));
        let wanted = ours(needed);
        let floor = self.floor(now, sample, ours(to_keep), backlog.queued > 0.0);
        let inputs = Inputs {
            queued: backlog.queued,
            oldest: backlog.oldest,
            service: backlog.service,
            arrivals: backlog.arrivals,
            running: to_workers(sample.running),
            busy,
            have: sample.have(),
            startup,
            window: self.window.length(),
            hosts: whole.map_or(1, Whole::hosts),
            needed,
        };
        let left = backlog.time_left(scaling.max_wait, startup).max(1e-3);
        Need {
            inputs,
            wanted,
            up: self.beside(now, sample, (whole, wanted, startup)),
            floor,
            erlangs: (busy.max(real(sample.running)) + backlog.queued * backlog.service / left)
                .min(f64::from(wanted)),
            size: quantile(&self.sizes, QUICKER),
        }
    }

    /// What is wanted within the pool's bounds, and no faster than beside strangers.
    fn beside(
        &self,
        now: Instant,
        sample: &PoolSample,
        (whole, wanted, startup): (Option<&Whole>, u32, Duration),
    ) -> u32 {
        let up = wanted.clamp(sample.count.min, sample.count.max);
        let level = self.level.unwrap_or_else(|| sample.have());
        let rose = self.rose.map(|at| now.saturating_duration_since(at));
        whole.map_or(up, |whole| whole.thinned(up, level, (rose, startup)))
    }

    /// For how long jobs have run in other hosts' hands, all added up, where so many do now.
    fn elsewhere(&mut self, now: Instant, running: u32) -> Duration {
        if let Some((at, before)) = self.seen_elsewhere.replace((now, running)) {
            self.busy_elsewhere += now.saturating_duration_since(at) * before;
        }
        self.busy_elsewhere
    }

    /// The count by the pool's own rule: growth at once, a fall in steps and of idle workers only.
    pub(super) fn own_target(&self, now: Instant, sample: &PoolSample, need: &Need) -> u32 {
        let level = self.level.unwrap_or_else(|| sample.have());
        let level = level.clamp(sample.count.min, sample.count.max);
        if need.up >= level {
            return need.up;
        }
        let floor = need.floor.clamp(sample.count.min, sample.count.max);
        let is_slight = level.saturating_sub(floor) <= level / FALL_MIN;
        if !self.fell_before(now, FALL_EVERY) || is_slight {
            return level;
        }
        // Those that were told to go are idle too until they have gone.
        let going = sample.have().saturating_sub(level);
        let idle = to_workers(sample.idle_long).saturating_sub(going);
        let step = workers(f64::from(level) * FALL).max(1);
        level - (level - floor).min(step).min(idle)
    }

    /// True when the pool has not been told to fall for so long.
    pub(super) fn fell_before(&self, now: Instant, pause: Duration) -> bool {
        self.fell.is_none_or(|at| now.saturating_duration_since(at) >= pause)
    }

    /// Remembers what the pool was told to run.
    pub(super) fn settle(&mut self, now: Instant, target: u32) {
        if self.level.is_some_and(|level| target < level) {
            self.fell = Some(now);
        }
        if self.level.is_some_and(|level| target > level) {
            self.rose = Some(now);
        }
        self.level = Some(target);
    }

    /// What the busiest part of the window needed.
    fn floor(&mut self, now: Instant, sample: &PoolSample, staffed: u32, waits: bool) -> u32 {
        let works = waits || sample.running > 0;
        self.quiet_since = (!works).then(|| self.quiet_since.unwrap_or(now));
        let quiet =
            self.quiet_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        // A daemon that has just taken its workers over knows nothing of the minute before.
        let adopted = if self.level.is_none() { sample.have() } else { 0 };
        let needed = staffed.max(adopted);
        self.window.observe(now, needed, pause_max(sample.scaling.mode));
        self.window.most().max(u32::from(quiet < sample.scaling.zero_after))
    }

    fn startup(&self, scaling: &ScalingSettings) -> Duration {
        let seen = quantile(&self.startups, QUICKER);
        seen.or(scaling.startup).unwrap_or(STARTUP)
    }
}

/// All queues of one pool together.
#[derive(Clone, Copy, Debug, Default)]
struct Backlog {
    queued: f64,
    oldest: Duration,
    service: f64,
    arrivals: f64,
    /// Jobs in the hands of other hosts' workers.
    elsewhere: u32,
    orphan: bool,
}

impl Backlog {
    /// Functions with long queues weigh more in the length of a job; without any queue all that
    /// come in.
    fn of(demands: &[Demand<'_>]) -> Self {
        let mut all = Self::default();
        let (mut work, mut weights, mut services, mut elsewhere) = (0.0, 0.0, 0.0, 0.0);
        for demand in demands {
            let queued = demand.queued;
            let service = demand.history.service_seconds();
            let arrivals = demand.history.arrivals() * demand.share;
            let weight = queued + (real(demand.sample.running) + arrivals) * 1e-3;
            all.queued += queued;
            all.arrivals += arrivals;
            all.orphan |= demand.orphan;
            elsewhere += real(demand.sample.elsewhere) * demand.share;
            if queued > 0.0 {
                all.oldest = all.oldest.max(demand.sample.oldest);
            }
            work += weight * service;
            weights += weight;
            services += service;
        }
        all.elsewhere = workers(elsewhere);
        all.service = match demands.len() {
            0 => 1.0,
            _ if weights > 0.0 => work / weights,
            n => services / real(n),
        };
        all.service = all.service.max(1e-6);
        all
    }

    /// Seconds in which everything that waits is to be started.
    fn time_left(&self, max_wait: Duration, startup: Duration) -> f64 {
        let objective = max_wait.as_secs_f64();
        let left = objective - self.oldest.as_secs_f64();
        left.max(startup.as_secs_f64()).max(objective / 4.0)
    }

    /// Workers beyond the busy ones that start everything that waits in the time left.
    ///
    /// A free worker starts `1 + T/s` jobs in the time `T`, a busy one `T/s`.
    fn more_workers(&self, running: u32, max_wait: Duration, startup: Duration) -> f64 {
        if self.queued <= 0.0 {
            return 0.0;
        }
        let left = self.time_left(max_wait, startup);
        let freed = f64::from(running) * left / self.service;
        let uncovered = self.queued + self.arrivals * left - freed;
        let usable = (left - startup.as_secs_f64()).max(0.0);
        let more = (uncovered / (1.0 + usable / self.service)).clamp(0.0, self.queued);
        if self.orphan { more.max(1.0) } else { more }
    }
}

/// Workers for a mean number of busy ones.
fn staffed(busy: f64, margin: f64, busy_min: f64) -> u32 {
    if busy > busy_min { workers(busy + margin * busy.sqrt()) } else { 0 }
}

/// The margin of square-root staffing.
fn margin(mode: ScalingMode) -> f64 {
    match mode {
        ScalingMode::Latency => 2.2,
        ScalingMode::Balanced => 1.4,
        ScalingMode::Economy => 0.8,
    }
}

/// The longest pause of a load for which idle workers are kept.
fn pause_max(mode: ScalingMode) -> Duration {
    match mode {
        ScalingMode::Latency => Duration::from_mins(10),
        ScalingMode::Balanced => Duration::from_mins(3),
        ScalingMode::Economy => Duration::ZERO,
    }
}

fn remember<T: Copy>(memory: &mut VecDeque<T>, news: &[T], len_max: usize) {
    memory.extend(news);
    let surplus = memory.len().saturating_sub(len_max);
    memory.drain(..surplus);
}

/// The value that this share of all is at most.
fn quantile<T: Copy + Ord>(values: &VecDeque<T>, share: f64) -> Option<T> {
    let mut sorted: Vec<T> = values.iter().copied().collect();
    sorted.sort_unstable();
    let rank = usize::try_from(workers(real(sorted.len()) * share)).ok()?.saturating_sub(1);
    sorted.get(rank).copied()
}
