//! Who gets the room that the host has: apportionment by weight.
//!
//! Minimums first, then place by place to the pool of the highest priority whose weighted demand
//! per worker is largest (Webster's divisors: unlike largest remainders, nobody loses a worker when
//! the room grows). What does not fit is passed over and the next is tried.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;

use super::gate::HostLimit;

/// One pool's claim on the host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claim {
    /// Granted whatever the host says.
    pub(super) min: u32,
    /// What it was told to run.
    pub(super) level: u32,
    /// What demand asks for, within the pool's bounds.
    pub(super) up: u32,
    pub(super) priority: i32,
    pub(super) weight: f64,
    /// Places that others leave free for it.
    pub(super) reserve: u32,
    /// Its work in workers.
    pub(super) erlangs: f64,
    /// Bytes of one worker.
    pub(super) size: u64,
    /// It grows at most to this, whatever it claims: its workers die, or their size is unknown.
    pub(super) careful: Option<(u32, Limit)>,
    /// It has no worker and somebody waits.
    pub(super) first: bool,
}

/// What there is to share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// Most workers of all pools, leaving ones counted.
    pub(super) slots: Option<(u32, Limit)>,
    /// Workers on their way out.
    pub(super) leaving: u32,
    /// Bytes for new workers, and those that a pool's first worker may take beyond.
    pub(super) memory: Option<u64>,
    pub(super) memory_first: u64,
    /// Starts that the processors bear now.
    pub(super) tokens: u32,
    /// Why nothing may grow above its minimum.
    pub(super) hold: Option<HostLimit>,
}

/// What a pool gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// Its fair share of the host.
    pub(super) fair: u32,
    /// What it may run now: the room of those that have more than their share is not free yet.
    pub(super) now: u32,
    pub(super) limit: Option<Limit>,
}

/// What keeps a pool below what demand asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The pool's own max.
    Max,
    /// `[host] max_workers`, shared with other pools.
    HostWorkers,
    /// Places that are left free for other pools.
    Reserve,
    /// The host's state.
    Host(HostLimit),
    /// So many starts at once are enough for the processors.
    Starts,
    /// Nobody knows yet how large its workers are.
    UnknownSize,
    /// Its workers die before they are ready.
    Failing,
}

/// The next place of a pool.
#[derive(Debug, PartialEq)]
struct Next {
    first: bool,
    priority: i32,
    quotient: f64,
    index: Reverse<usize>,
}

/// Shares the budget out; one grant for each claim.
pub(super) fn apportion(claims: &[Claim], budget: &Budget) -> Vec<Grant> {
    let mut grants = fair_shares(claims, budget);
    let levels: u32 = claims.iter().map(|claim| claim.level).sum();
    let mut room = Room {
        slots: budget.slots.map(|(slots, _)| i64::from(slots) - i64::from(budget.leaving)),
        reserved: claims.iter().map(|c| c.reserve.saturating_sub(c.level)).sum(),
        memory: budget.memory,
    };
    room.slots = room.slots.map(|slots| slots - i64::from(levels));
    let mut tokens = budget.tokens;
    let mut heap = BinaryHeap::new();
    for (index, (claim, grant)) in claims.iter().zip(&mut grants).enumerate() {
        grant.now = claim.level.max(claim.min);
        let forced = grant.now - claim.level;
        room.take(claim, claim.level, forced);
        tokens = tokens.saturating_sub(forced);
        if claim.up > grant.now {
            heap.push(Next::of(index, claim, grant.now));
        }
    }
    while let Some(next) = heap.pop() {
        let index = next.index.0;
        let (Some(claim), Some(grant)) = (claims.get(index), grants.get_mut(index)) else {
            continue;
        };
        let first = claim.first && grant.now == 0;
        let refused = room.refuses(claim, grant.now, budget).or_else(|| {
            let scarce = budget.slots.map_or(Limit::Host(HostLimit::Memory), |(_, why)| why);
            let fair = (grant.now >= grant.fair && !first).then_some(scarce);
            let strained = budget.hold.map(Limit::Host);
            let hurried = (tokens == 0).then_some(Limit::Starts);
            let careful = claim.careful.filter(|(most, _)| grant.now >= *most).map(|(_, why)| why);
            let held = if first { None } else { strained.or(hurried) };
            fair.or(careful).or(held)
        });
        if refused.is_some() {
            grant.limit = refused;
            continue;
        }
        room.take(claim, grant.now, 1);
        tokens = tokens.saturating_sub(1);
        grant.now += 1;
        if claim.up > grant.now {
            heap.push(Next::of(index, claim, grant.now));
        }
    }
    grants
}

/// What everybody would have if all workers could be moved at will.
fn fair_shares(claims: &[Claim], budget: &Budget) -> Vec<Grant> {
    let held: u64 = claims.iter().map(|claim| u64::from(claim.level) * claim.size).sum();
    let mut room = Room {
        slots: budget.slots.map(|(slots, _)| i64::from(slots)),
        reserved: claims.iter().map(|claim| claim.reserve).sum(),
        memory: budget.memory.map(|free| free.saturating_add(held)),
    };
    let mut heap = BinaryHeap::new();
    let mut grants = Vec::with_capacity(claims.len());
    for (index, claim) in claims.iter().enumerate() {
        // Whoever has work keeps one worker.
        let fair = claim.min.max(u32::from(claim.up > 0)).min(claim.up.max(claim.min));
        room.take(claim, 0, fair);
        grants.push(Grant { fair, ..Grant::default() });
        if claim.up > fair {
            heap.push(Next::of(index, claim, fair));
        }
    }
    while let Some(next) = heap.pop() {
        let index = next.index.0;
        let (Some(claim), Some(grant)) = (claims.get(index), grants.get_mut(index)) else {
            continue;
        };
        if room.refuses(claim, grant.fair, budget).is_some() {
            continue;
        }
        room.take(claim, grant.fair, 1);
        grant.fair += 1;
        if claim.up > grant.fair {
            heap.push(Next::of(index, claim, grant.fair));
        }
    }
    grants
}

/// What is left while it is shared out.
#[derive(Debug)]
struct Room {
    slots: Option<i64>,
    /// Places that are left free for those who reserved them.
    reserved: u32,
    memory: Option<u64>,
}

impl Room {
    /// Gives `count` places to a claim that has `have`.
    fn take(&mut self, claim: &Claim, have: u32, count: u32) {
        let own = claim.reserve.saturating_sub(have).min(count);
        self.reserved = self.reserved.saturating_sub(own);
        self.slots = self.slots.map(|slots| slots - i64::from(count));
        let bytes = claim.size.saturating_mul(count.into());
        self.memory = self.memory.map(|memory| memory.saturating_sub(bytes));
    }

    /// Why a claim that has `have` gets no further place.
    fn refuses(&self, claim: &Claim, have: u32, budget: &Budget) -> Option<Limit> {
        let why = budget.slots.map_or(Limit::HostWorkers, |(_, why)| why);
        let first = claim.first && have == 0;
        // An overloaded processor bears one more worker; without it the jobs would never run.
        let passes = first && matches!(why, Limit::Host(_));
        match self.slots.filter(|_| !passes) {
            Some(slots) if slots <= 0 => return Some(why),
            Some(slots) if slots <= i64::from(self.reserved) && have >= claim.reserve => {
                return Some(Limit::Reserve);
            }
            Some(_) | None => {}
        }
        let beyond = if first { budget.memory_first } else { 0 };
        let lacks = |memory: u64| memory.saturating_add(beyond) < claim.size;
        self.memory.is_some_and(lacks).then_some(Limit::Host(HostLimit::Memory))
    }
}

impl Next {
    fn of(index: usize, claim: &Claim, have: u32) -> Self {
        let demand = claim.weight * claim.erlangs.max(1e-3);
        Self {
            first: claim.first && have == 0,
            priority: claim.priority,
            quotient: demand / (f64::from(have) + 0.5),
            index: Reverse(index),
        }
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        let urgency = |next: &Self| (next.first, next.priority);
        urgency(self)
            .cmp(&urgency(other))
            .then(self.quotient.total_cmp(&other.quotient))
            .then(self.index.cmp(&other.index))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("the pool's max"),
            Self::HostWorkers => f.write_str("[host] max_workers"),
            Self::Reserve => f.write_str("the reserve of other pools"),
            Self::Host(limit) => limit.fmt(f),
            Self::Starts => f.write_str("as many starts as there are processors"),
            Self::UnknownSize => f.write_str("the unknown size of its workers"),
            Self::Failing => f.write_str("workers that die before they are ready"),
        }
    }
}

#[cfg(test)]
mod tests;
