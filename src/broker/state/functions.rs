//! Functions: their queues, their performers, and whose turn it is.
//!
//! Priority is global over the functions of a session; inside a priority the function that was
//! served longest ago comes first. That turn belongs to the function and not to the session, so
//! workers that live for one job each do not all begin with the same function.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;

use super::holds::Arrivals;
use super::numbered::JobSet;
use super::sessions::Abilities;
use crate::config::FunctionRule;
use crate::model::{BusyClock, FunctionName, JobId, Priority, SessionId};

/// Entries of `expiring` that are never worth a look for those whose jobs have gone.
const EXPIRING_SLACK: usize = 1024;

/// A function by its place in the table; valid while the function exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FunctionKey(u32);

/// One queue of a function.
pub(super) type Queue = (FunctionKey, Priority);

/// One value for each priority.
#[derive(Clone, Debug, Default)]
pub(super) struct ByPriority<T> {
    high: T,
    normal: T,
    low: T,
}

/// A sleeping session and since when it is idle, as a rank: the highest went idle last.
pub(super) type Sleeper = (u64, SessionId);

/// When a function was served last, the lowest first; of those never served the newest first, as
/// gearmand begins with the function that was registered last.
type Turn = (u64, Reverse<FunctionKey>);

/// One function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: FunctionName,
    /// Jobs that may be assigned, in the order of their numbers.
    queued: ByPriority<JobSet>,
    /// Jobs that may not: being stored, not due, running, or with their fate open.
    pub(super) held: JobSet,
    /// How many of the held ones run.
    pub(super) running: usize,
    /// For how long jobs of it have run.
    pub(super) busy: BusyClock,
    /// How many of them are not due yet.
    pub(super) delayed: ByPriority<usize>,
    /// Sessions that registered it.
    pub(super) performers: BTreeSet<SessionId>,
    /// Those of them that sleep and have few abilities.
    pub(super) sleepers: BTreeSet<Sleeper>,
    /// Sessions that were woken for it and have not grabbed since.
    pub(super) woken: BTreeSet<SessionId>,
    /// What the file says of it.
    pub(super) rule: FunctionRule,
    /// Whether an operator paused it: its jobs are not assigned.
    pub(super) paused: bool,
    /// Its dead letters.
    pub(super) dead: BTreeSet<JobId>,
    /// Its recurring jobs.
    pub(super) schedules: BTreeSet<JobId>,
    /// Whether somebody made it by hand, so that it stays until it is dropped.
    pub(super) made: bool,
    /// Queued jobs by the moment at which they are dropped; some may have left the queue.
    pub(super) expiring: BTreeSet<(Instant, JobId)>,
    /// Jobs dropped since the start because they waited too long.
    pub(super) expired: u64,
    /// Since when nobody uses it, and how many jobs had ended then.
    pub(super) unused: Option<(Instant, u64)>,
    /// Most jobs, by the priority of the one that comes.
    pub(super) limits: ByPriority<Option<u64>>,
    /// How often its jobs come.
    pub(super) arrivals: Arrivals,
    /// Jobs ended since the start.
    pub(super) ended: u64,
    served: u64,
    /// Grabs until it is looked whether contents are to be read ahead.
    pub(super) look_in: usize,
}

/// All functions.
#[derive(Debug, Default)]
pub(super) struct Functions {
    table: Slab<Function>,
    by_name: BTreeMap<FunctionName, FunctionKey>,
    /// Functions with jobs that may be assigned.
    ready: ByPriority<BTreeSet<Turn>>,
    turns: u64,
}

impl FunctionKey {
    fn index(self) -> usize {
        self.0 as usize
    }
}

impl<T> ByPriority<T> {
    pub(super) fn get(&self, priority: Priority) -> &T {
        match priority {
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        }
    }

    pub(super) fn get_mut(&mut self, priority: Priority) -> &mut T {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}

impl<T> From<[T; 3]> for ByPriority<T> {
    /// From the values for high, normal and low.
    fn from([high, normal, low]: [T; 3]) -> Self {
        Self { high, normal, low }
    }
}

impl Function {
    fn new(name: FunctionName) -> Self {
        Self {
            name,
            queued: ByPriority::default(),
            held: JobSet::default(),
            running: 0,
            busy: BusyClock::default(),
            delayed: ByPriority::default(),
            performers: BTreeSet::new(),
            sleepers: BTreeSet::new(),
            woken: BTreeSet::new(),
            rule: FunctionRule::default(),
            paused: false,
            dead: BTreeSet::new(),
            schedules: BTreeSet::new(),
            made: false,
            expiring: BTreeSet::new(),
            expired: 0,
            unused: None,
            limits: ByPriority::default(),
            arrivals: Arrivals::default(),
            ended: 0,
            served: 0,
            look_in: 0,
        }
    }

    /// The jobs of this priority that may be assigned, the oldest first.
    pub(super) fn queued(&self, priority: Priority) -> &JobSet {
        self.queued.get(priority)
    }

    /// How many jobs wait in the queue.
    pub(super) fn queued_len(&self) -> usize {
        Priority::ALL.iter().map(|priority| self.queued(*priority).len()).sum()
    }

    /// How many jobs may be assigned.
    pub(super) fn ready_len(&self) -> usize {
        if self.paused { 0 } else { self.queued_len() }
    }

    /// Whether nothing is known of it but its name.
    pub(super) fn is_unused(&self) -> bool {
        self.total() == 0
            && self.performers.is_empty()
            && self.dead.is_empty()
            && self.schedules.is_empty()
    }

    /// How many jobs are not due yet.
    pub(super) fn delayed_len(&self) -> usize {
        Priority::ALL.iter().map(|priority| self.delayed.get(*priority)).sum()
    }

    /// How many jobs there are in all.
    pub(super) fn total(&self) -> usize {
        self.queued_len() + self.held.len()
    }

    /// Notes when a queued job is dropped. Entries of jobs that left the queue go once there are
    /// more of them than jobs that wait, or a long time and a high rate would fill the memory.
    pub(super) fn note_expiry(&mut self, at: Instant, job: JobId) {
        self.expiring.insert((at, job));
        if self.expiring.len() > 2 * self.queued_len() + EXPIRING_SLACK {
            let waits =
                |id: &JobId| Priority::ALL.iter().any(|p| self.queued.get(*p).contains(*id));
            self.expiring.retain(|(_, id)| waits(id));
        }
    }

    fn turn(&self, key: FunctionKey) -> Turn {
        (self.served, Reverse(key))
    }
}

impl Functions {
    pub(super) fn get(&self, key: FunctionKey) -> Option<&Function> {
        self.table.get(key.index())
    }

    pub(super) fn get_mut(&mut self, key: FunctionKey) -> Option<&mut Function> {
        self.table.get_mut(key.index())
    }

    pub(super) fn key(&self, name: &FunctionName) -> Option<FunctionKey> {
        self.by_name.get(name).copied()
    }

    /// Adds a function; there is none of its name.
    pub(super) fn add(&mut self, name: &FunctionName) -> FunctionKey {
        // A copy: the name came inside a packet, which would stay as long as the function.
        let name = FunctionName(Bytes::copy_from_slice(&name.0));
        let index = self.table.insert(Function::new(name.clone()));
        let key = FunctionKey(u32::try_from(index).expect("memory ends before four billion names"));
        self.by_name.insert(name, key);
        key
    }

    /// Forgets a function; the caller has seen that nothing refers to it.
    pub(super) fn remove(&mut self, key: FunctionKey) {
        if let Some(function) = self.table.try_remove(key.index()) {
            self.by_name.remove(&function.name);
        }
    }

    /// The keys of all functions, in the order of their names.
    pub(super) fn keys(&self) -> Vec<FunctionKey> {
        self.by_name.values().copied().collect()
    }

    /// All functions, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Function> {
        self.by_name.values().filter_map(|key| self.get(*key))
    }

    /// Makes a job assignable.
    pub(super) fn enqueue(&mut self, key: FunctionKey, priority: Priority, job: JobId) {
        let Some(function) = self.table.get_mut(key.index()) else { return };
        let queue = function.queued.get_mut(priority);
        let was_empty = queue.is_empty();
        queue.insert(job);
        if was_empty && !function.paused {
            let turn = function.turn(key);
            self.ready.get_mut(priority).insert(turn);
        }
    }

    /// Takes a job out of its queue.
    pub(super) fn dequeue(&mut self, key: FunctionKey, priority: Priority, job: JobId) {
        let Some(function) = self.table.get_mut(key.index()) else { return };
        let queue = function.queued.get_mut(priority);
        queue.remove(job);
        if queue.is_empty() {
            let turn = function.turn(key);
            self.ready.get_mut(priority).remove(&turn);
        }
    }

    /// Offers the function's jobs no longer, or again.
    pub(super) fn set_paused(&mut self, key: FunctionKey, paused: bool) {
        let Some(function) = self.table.get_mut(key.index()) else { return };
        function.paused = paused;
        let turn = function.turn(key);
        for priority in Priority::ALL {
            let ready = self.ready.get_mut(priority);
            if paused {
                ready.remove(&turn);
            } else if !function.queued.get(priority).is_empty() {
                ready.insert(turn);
            }
        }
    }

    /// Puts the function behind all others.
    pub(super) fn end_turn(&mut self, key: FunctionKey) {
        let Some(function) = self.table.get_mut(key.index()) else { return };
        let old = function.turn(key);
        self.turns += 1;
        function.served = self.turns;
        let new = function.turn(key);
        for priority in Priority::ALL {
            let ready = self.ready.get_mut(priority);
            if ready.remove(&old) {
                ready.insert(new);
            }
        }
    }

    /// The queue that somebody with these abilities is to serve next, of those that can be served.
    pub(super) fn pick(
        &self,
        abilities: &Abilities,
        can_be: impl Fn(Queue) -> bool,
    ) -> Option<Queue> {
        Priority::ALL.into_iter().find_map(|priority| {
            let can_be = |key| can_be((key, priority));
            self.pick_from(priority, abilities, can_be).map(|key| (key, priority))
        })
    }

    /// All functions with jobs that somebody with these abilities could do.
    pub(super) fn ready_for(&self, abilities: &Abilities) -> Vec<FunctionKey> {
        let ready_len: usize = Priority::ALL.iter().map(|p| self.ready.get(*p).len()).sum();
        if ready_len < abilities.len() {
            let ready = Priority::ALL.iter().flat_map(|p| self.ready.get(*p));
            return ready
                .map(|(_, Reverse(key))| *key)
                .filter(|k| abilities.contains_key(k))
                .collect();
        }
        let is_ready = |key: &&FunctionKey| self.get(**key).is_some_and(|f| f.ready_len() > 0);
        abilities.keys().filter(is_ready).copied().collect()
    }

    /// Walks the shorter of two lists, what is ready and what the session can do, so that neither
    /// thousands of abilities nor thousands of busy functions make a grab slow.
    fn pick_from(
        &self,
        priority: Priority,
        abilities: &Abilities,
        can_be: impl Fn(FunctionKey) -> bool,
    ) -> Option<FunctionKey> {
        let ready = self.ready.get(priority);
        let mut next = ready.iter().take(abilities.len()).map(|(_, Reverse(key))| *key);
        let found = next.find(|key| abilities.contains_key(key) && can_be(*key));
        if found.is_some() || ready.len() <= abilities.len() {
            return found;
        }
        abilities
            .keys()
            .filter_map(|key| self.get(*key).map(|function| (function, *key)))
            .filter(|(function, _)| !function.paused && !function.queued(priority).is_empty())
            .filter(|(_, key)| can_be(*key))
            .min_by_key(|(function, key)| function.turn(*key))
            .map(|(_, key)| key)
    }
}
