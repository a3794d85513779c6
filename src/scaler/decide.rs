//! The rule itself: from a look at queues, workers and host to a count for every pool.
//!
//! Each pool's own need comes first, then the host's limits, then the turns in which room goes from
//! those that have more than their share to those that have less.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::budget::{Budget, Claim, Grant, Limit, apportion};
use super::decision::{Decision, Take};
use super::estimate::FunctionState;
use super::fleet::FleetState;
use super::gate::{Bearing, HostGate, HostLimit, Relief};
use super::need::{Demand, Need, PoolState};
use super::sample::{FunctionSample, Look, PoolSample, real, to_workers};
use crate::config::HostSettings;
use crate::model::{FunctionName, PoolName};

/// How long a start keeps a processor busy; that many starts at once are made as there are
/// processors. Later it waits for its libraries, its connections and its first job.
pub const FRESH: Duration = Duration::from_millis(250);

/// Bytes of a worker before any was seen, and how many are started to find out.
const SIZE: u64 = 64 << 20;
const UNKNOWN_MAX: u32 = 4;
/// How long a pool may keep more than its share while another has less.
const GRACE: Duration = Duration::from_secs(3);
/// The same, while a more important pool has less.
const GRACE_FOR_IMPORTANT: Duration = Duration::from_millis(300);
/// Between two times that room is taken from a pool.
const TAKE_EVERY: Duration = Duration::from_secs(1);

/// Looks are a second apart. After a longer pause than this the machine was asleep, or the daemon
/// stopped: nothing that counts time says anything of what went on meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What the scaler remembers between looks.
#[derive(Clone, Debug, Default)]
pub struct ScalerState {
    last: Option<Instant>,
    /// Pauses in which nothing was looked at; histories and windows leave them out.
    slept: Duration,
    functions: BTreeMap<FunctionName, FunctionState>,
    pools: BTreeMap<PoolName, PoolState>,
    gate: HostGate,
    fleet: FleetState,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// A decision for every pool of the look.
    pub decisions: BTreeMap<PoolName, Decision>,
    /// When to look again even if nothing happens.
    pub again_after: Option<Duration>,
}

/// Everything that is known of one pool while the plan is made.
struct Case<'a> {
    name: &'a PoolName,
    sample: &'a PoolSample,
    need: Need,
    /// The count by its own rule, and what it was told before.
    own: u32,
    before: u32,
    first: bool,
}

/// Counts for all pools, from what is seen `now` and what `state` remembers.
pub fn decide(state: &mut ScalerState, now: Instant, look: &Look, host: &HostSettings) -> Plan {
    let now = state.wake(now);
    state.observe(now, look);
    let cases = state.cases(now, look);
    let total = cases.iter().map(|c| c.sample.have() + to_workers(c.sample.leaving)).sum();
    let least = cases.iter().map(|case| case.sample.count.min).sum();
    let bearing = state.gate.judge(now, &look.host, host, (total, least));
    let claims: Vec<_> = cases.iter().map(|case| case.claim(&bearing)).collect();
    let budget = budget(&cases, &bearing, look, host);
    let grants = apportion(&claims, &budget);
    let relief = Shortage::of(&claims, &grants, &budget, bearing.relief);
    let mut plan = Plan::default();
    for (index, ((case, claim), grant)) in cases.iter().zip(&claims).zip(&grants).enumerate() {
        let Some(pool) = state.pools.get_mut(case.name) else { continue };
        let (target, take) = relief.taken(now, index, pool, (case, claim, grant));
        pool.settle(now, target);
        plan.decisions.insert(case.name.clone(), case.decision(target, take, grant.limit));
    }
    let hurried = grants.iter().any(|grant| grant.limit == Some(Limit::Starts));
    plan.again_after = hurried.then_some(FRESH);
    plan
}

impl ScalerState {
    /// The time without pauses.
    fn wake(&mut self, now: Instant) -> Instant {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        if passed > PAUSE_MAX {
            self.slept += passed;
            self.functions.values_mut().for_each(FunctionState::wake);
            self.pools.values_mut().for_each(PoolState::wake);
        }
        now.checked_sub(self.slept).unwrap_or(now)
    }

    /// Takes the histories on; what is no longer looked at is forgotten.
    fn observe(&mut self, now: Instant, look: &Look) {
        self.fleet.observe(now, look.fleet.as_ref());
        self.functions.retain(|name, _| look.functions.contains_key(name));
        self.pools.retain(|name, _| look.pools.contains_key(name));
        for (name, sample) in &look.functions {
            if !self.functions.contains_key(name) {
                self.functions.insert(name.clone(), FunctionState::default());
            }
            if let Some(function) = self.functions.get_mut(name) {
                function.observe(now, sample);
            }
        }
    }

    fn cases<'a>(&mut self, now: Instant, look: &'a Look) -> Vec<Case<'a>> {
        let served = served(look);
        let mut cases = Vec::with_capacity(look.pools.len());
        for (name, sample) in &look.pools {
            let demands: Vec<_> = (sample.functions.iter())
                .filter_map(|function| {
                    let history = self.functions.get(function)?;
                    let sample_of = look.functions.get(function)?;
                    served.get(function)?.demand(name, sample, (sample_of, history))
                })
                .collect();
            if !self.pools.contains_key(name) {
                self.pools.insert(name.clone(), PoolState::default());
            }
            let Some(pool) = self.pools.get_mut(name) else { continue };
            let whole = self.fleet.whole(now, look, (name, sample));
            let need = pool.need(now, sample, &demands, whole.as_ref());
            let own = pool.own_target(now, sample, &need);
            let before = pool.level.unwrap_or_else(|| sample.have());
            let first = sample.have() == 0 && need.inputs.queued > 0.0 && need.up > 0;
            cases.push(Case { name, sample, need, own, before, first });
        }
        cases
    }
}

/// Who serves a function.
struct Served<'a> {
    /// The sum of all their maximums.
    max: f64,
    has_workers: bool,
    /// The most important of them, which starts the first worker.
    head: (i32, &'a PoolName),
}

fn served(look: &Look) -> BTreeMap<&FunctionName, Served<'_>> {
    let mut served: BTreeMap<&FunctionName, Served<'_>> = BTreeMap::new();
    for (name, sample) in &look.pools {
        let (max, has_workers) = (f64::from(sample.count.max), sample.have() > 0);
        let head = (sample.scaling.priority, name);
        for function in sample.functions.iter() {
            let entry = served.entry(function);
            let all = entry.or_insert(Served { max: 0.0, has_workers: false, head });
            all.max += max;
            all.has_workers |= has_workers;
            if head.0 > all.head.0 {
                all.head = head;
            }
        }
    }
    served
}

impl Served<'_> {
    /// What falls to one pool: the queue in the ratio of the maximums.
    fn demand<'h>(
        &self,
        pool: &PoolName,
        sample: &PoolSample,
        (function, history): (&FunctionSample, &'h FunctionState),
    ) -> Option<Demand<'h>> {
        let share = f64::from(sample.count.max) / self.max;
        let is_head = self.head.1 == pool;
        let queued = real(function.queued) * share;
        // Whole jobs: one job that waits wakes one pool.
        let queued = if is_head { queued.ceil() } else { queued.floor() };
        let orphan = function.queued > 0 && !self.has_workers && is_head;
        let demand = Demand { sample: *function, history, share, queued, orphan };
        (self.max > 0.0).then_some(demand)
    }
}

impl Case<'_> {
    fn claim(&self, bearing: &Bearing) -> Claim {
        let scaling = &self.sample.scaling;
        let probe = self.own.max(1).min(self.sample.have().max(1));
        let careful = if self.sample.failing {
            Some((probe, Limit::Failing))
        } else {
            let unknown = self.need.size.is_none() && bearing.memory.is_some();
            unknown.then_some((UNKNOWN_MAX, Limit::UnknownSize))
        };
        Claim {
            min: self.sample.count.min,
            level: self.own.min(self.before),
            up: self.need.up,
            priority: scaling.priority,
            weight: f64::from(scaling.weight),
            reserve: scaling.reserve,
            erlangs: self.need.erlangs,
            size: self.need.size.unwrap_or(SIZE),
            careful,
            first: self.first,
        }
    }

    fn decision(&self, target: u32, take: Take, limit: Option<Limit>) -> Decision {
        let own_max = (self.need.wanted > self.sample.count.max).then_some(Limit::Max);
        Decision {
            wanted: self.need.wanted,
            target,
            before: self.before,
            take,
            limit: limit.or(own_max).filter(|_| target < self.need.wanted),
            max_wait: self.sample.scaling.max_wait,
            inputs: self.need.inputs,
        }
    }
}

fn budget(cases: &[Case<'_>], bearing: &Bearing, look: &Look, host: &HostSettings) -> Budget {
    let cap_why = match bearing.limit {
        Some(HostLimit::Load) => HostLimit::Load,
        Some(HostLimit::CpuPressure | HostLimit::Memory | HostLimit::MemoryPressure) | None => {
            HostLimit::CpuPressure
        }
    };
    let by_file = host.workers_max.map(|max| (max, Limit::HostWorkers));
    let by_cap = bearing.cap.map(|cap| (cap, Limit::Host(cap_why)));
    let (mut leaving, mut fresh, mut promised) = (0, 0, 0);
    for Case { sample, need, own, .. } in cases {
        leaving += to_workers(sample.leaving) + sample.have().saturating_sub(*own);
        fresh += to_workers(sample.fresh);
        // What starts now will grow: that memory is spoken for.
        let size = need.size.unwrap_or(SIZE);
        let grown = size.saturating_mul(u64::try_from(sample.young).unwrap_or(u64::MAX));
        promised += grown.saturating_sub(sample.young_bytes);
    }
    Budget {
        slots: by_file.into_iter().chain(by_cap).min_by_key(|(slots, _)| *slots),
        leaving,
        memory: bearing.memory.map(|free| free.saturating_sub(promised)),
        memory_first: bearing.reserve / 2,
        tokens: to_workers(look.host.cores.max(1)).saturating_sub(fresh),
        hold: bearing.limit,
    }
}

/// Whether, and from whom, room is to be taken.
struct Shortage {
    /// Workers that pools below their share lack, and the priority of the first of these pools.
    lacking: u32,
    priority: i32,
    /// Bytes that one of them wants and does not find; 0: they lack places, not memory.
    bytes: u64,
    /// More run than an overloaded processor is given.
    above_cap: bool,
    relief: Relief,
    /// The least important pool that is above its minimum.
    last: Option<usize>,
}

impl Shortage {
    fn of(claims: &[Claim], grants: &[Grant], budget: &Budget, relief: Relief) -> Self {
        let lack = |(claim, grant): (&Claim, &Grant)| {
            let blocked = match grant.limit {
                Some(Limit::HostWorkers | Limit::Reserve | Limit::Host(HostLimit::Memory)) => true,
                Some(
                    Limit::Host(_)
                    | Limit::Max
                    | Limit::Starts
                    | Limit::UnknownSize
                    | Limit::Failing,
                )
                | None => false,
            };
            let lacking = grant.fair.min(claim.up).saturating_sub(grant.now);
            let by_memory = grant.limit == Some(Limit::Host(HostLimit::Memory));
            let free = budget.memory.unwrap_or(0);
            let bytes = if by_memory { claim.size.saturating_sub(free) } else { 0 };
            (blocked && lacking > 0).then_some((claim.priority, lacking, bytes))
        };
        let lacks: Vec<_> = claims.iter().zip(grants).filter_map(lack).collect();
        let levels: u32 = claims.iter().map(|claim| claim.level).sum();
        let by_cap = budget.slots.filter(|(_, why)| matches!(why, Limit::Host(_)));
        let mut above: Vec<_> =
            claims.iter().enumerate().filter(|(_, claim)| claim.level > claim.min).collect();
        above.sort_by_key(|(_, claim)| claim.priority);
        Self {
            lacking: lacks.iter().map(|(_, lacking, _)| lacking).sum(),
            priority: lacks.iter().map(|(priority, ..)| *priority).max().unwrap_or(i32::MIN),
            bytes: lacks.iter().map(|(.., bytes)| *bytes).min().unwrap_or(0),
            above_cap: by_cap.is_some_and(|(cap, _)| levels > cap),
            relief,
            last: above.first().map(|(index, _)| *index),
        }
    }

    /// The target of one pool after others were given room from it, and who goes.
    fn taken(
        &self,
        now: Instant,
        index: usize,
        pool: &mut PoolState,
        (case, claim, grant): (&Case<'_>, &Claim, &Grant),
    ) -> (u32, Take) {
        let over = claim.level.saturating_sub(grant.fair.max(claim.min));
        // What is too small to help stays: it would grow again, and be taken again.
        let helps = claim.size.saturating_mul(over.into()) >= self.bytes;
        let gives = over > 0 && self.lacking > 0 && helps;
        pool.over_since = gives.then(|| pool.over_since.unwrap_or(now));
        let grace = if self.priority > claim.priority { GRACE_FOR_IMPORTANT } else { GRACE };
        let long = pool.over_since.is_some_and(|at| now.saturating_duration_since(at) >= grace);
        let rested = pool.fell_before(now, TAKE_EVERY);
        // Those that were told to go are idle too until they have gone.
        let going = case.sample.have().saturating_sub(claim.level);
        let idle = to_workers(case.sample.idle).saturating_sub(going);
        // The first worker of a pool may have been given from the reserve: it is not taken back for it.
        let spared = claim.level.saturating_sub(claim.min.max(1));
        // Who leaves gives its memory back when its job ends.
        let is_last = self.last == Some(index) && case.sample.leaving == 0;
        let few = idle.min((claim.level / 4).max(1));
        let (count, take) = if gives && long && rested {
            let most = over.min(self.lacking);
            if idle > 0 { (most.min(idle), Take::Idle) } else { (most.div_ceil(2), Take::Busy) }
        } else if !rested {
            (0, Take::Surplus)
        } else if self.relief == Relief::Busy && is_last && idle == 0 {
            (spared.min(1), Take::BusyForMemory)
        } else if self.relief != Relief::None {
            (spared.min(few), Take::IdleForMemory)
        } else if self.above_cap {
            (over.min(few), Take::Idle)
        } else {
            (0, Take::Surplus)
        };
        if count == 0 { (grant.now, Take::Surplus) } else { (claim.level - count, take) }
    }
}

#[cfg(test)]
mod tests;
