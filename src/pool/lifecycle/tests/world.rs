//! A small world around a roster: processes that live, a gate that answers, a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::config::{Backoff, Restart, StopStep};
use crate::model::{Exit, NamePattern, PoolName, WorkerId};
use crate::pool::lifecycle::{
    DeployStep, Effect, Event, Move, ProgramChange, ReadyRule, ReadyUntil, RequestId, RestartMode,
    Roster, Rules, SeatView, Successor,
};
use crate::pool::{Pick, SlotRole, SlotState, WorkerIds};

pub(super) struct World {
    pub(super) roster: Roster,
    pub(super) now: Instant,
    pub(super) random: f64,
    /// Slot of each living process.
    pub(super) live: BTreeMap<WorkerId, u32>,
    /// Processes that got a stop signal or KILL.
    pub(super) signalled: BTreeSet<WorkerId>,
    /// Questions of the gate that are not answered.
    pub(super) asks: Vec<WorkerId>,
    pub(super) drains: Vec<WorkerId>,
    pub(super) answers: BTreeMap<RequestId, Result<(), String>>,
    /// Requests that were made.
    pub(super) asked: BTreeSet<RequestId>,
    requests: u64,
    pub(super) finished: bool,
    /// Slots that were there before the event.
    known: BTreeSet<u32>,
    /// What was told of the slots' states.
    pub(super) moves: Vec<Move>,
    pub(super) failures: Vec<String>,
    /// How canaries did.
    pub(super) deploys: Vec<DeployStep>,
    pub(super) successor: Successor,
    /// The rules that it began with.
    pub(super) rules: Rules,
}

impl World {
    pub(super) fn new(successor: Successor, count_max: u32) -> Self {
        Self::with_rules(rules(successor, count_max))
    }

    pub(super) fn with_rules(rules: Rules) -> Self {
        let pool: PoolName = "p".parse().unwrap();
        let successor = rules.successor;
        let roster = Roster::new(pool, rules.clone(), WorkerIds::default());
        Self {
            roster,
            now: Instant::now(),
            random: 1.0,
            live: BTreeMap::new(),
            signalled: BTreeSet::new(),
            asks: Vec::new(),
            drains: Vec::new(),
            answers: BTreeMap::new(),
            asked: BTreeSet::new(),
            requests: 0,
            finished: false,
            known: BTreeSet::new(),
            moves: Vec::new(),
            failures: Vec::new(),
            deploys: Vec::new(),
            successor,
            rules,
        }
    }

    /// A world whose `count` workers run.
    pub(super) fn running(successor: Successor, count: u32) -> Self {
        let mut world = Self::new(successor, count.max(1));
        world.target(count);
        world.all_ready();
        world
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(super) fn handle(&mut self, event: Event) -> Vec<Effect> {
        if let Event::Ended { worker, .. }
        | Event::NotStarted { worker, .. }
        | Event::Withdrawn(worker) = &event
        {
            assert!(self.live.remove(worker).is_some(), "{worker} ended twice");
            self.signalled.remove(worker);
            self.asks.retain(|asked| asked != worker);
            self.drains.retain(|asked| asked != worker);
        }
        if let Event::Drained(worker) | Event::Busy(worker) = &event {
            self.asks.retain(|asked| asked != worker);
        }
        if let Event::Drained(worker) = &event {
            self.drains.retain(|asked| asked != worker);
        }
        if let Event::Configure { request, .. }
        | Event::Start { request, .. }
        | Event::Stop { request, .. }
        | Event::Restart { request, .. }
        | Event::Renew { request }
        | Event::Close { request, .. } = &event
        {
            self.asked.insert(*request);
        }
        self.known = self.roster.seats().map(|seat| seat.index).collect();
        let effects = self.roster.handle(self.now, self.random, event);
        for effect in &effects {
            self.apply(effect);
        }
        self.check();
        effects
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Start { worker, index, .. } => {
                let beside = self.live.values().filter(|slot| *slot == index).count();
                let beside_max = match self.successor {
                    Successor::Overlaps => 1,
                    Successor::Follows => 0,
                };
                assert!(beside <= beside_max, "slot {index} has {beside} processes already");
                assert!(self.live.insert(*worker, *index).is_none(), "{worker} started twice");
                assert!(!self.finished, "a start after the end");
            }
            Effect::Ask(worker) => self.asks.push(*worker),
            Effect::Drain(worker) => self.drains.push(*worker),
            Effect::Signal(worker, _) | Effect::Kill(worker) | Effect::Nudge(worker) => {
                assert!(self.live.contains_key(worker), "{worker} was signalled after its end");
                self.signalled.insert(*worker);
            }
            Effect::Answer(request, outcome) => {
                let before = self.answers.insert(*request, outcome.clone());
                assert!(before.is_none(), "{request:?} answered twice");
            }
            Effect::Moved(moved) => self.note(moved),
            Effect::Charge(worker) => {
                assert!(self.live.contains_key(worker), "{worker} was charged after its end");
            }
            Effect::Await(worker) => {
                assert!(self.live.contains_key(worker), "{worker} was awaited after its end");
            }
            Effect::Deploy(step) => self.deploys.push(step.clone()),
            Effect::Failed(reason) => self.failures.push(reason.clone()),
            Effect::Finish => {
                assert!(self.live.is_empty(), "ended with processes left");
                self.finished = true;
            }
        }
    }

    /// Every change begins where the one before it ended.
    fn note(&mut self, moved: &Move) {
        let of = |other: &&Move| (other.index, other.role) == (moved.index, moved.role);
        if moved.role == SlotRole::Current
            && let Some(before) = self.moves.iter().rev().find(of)
            && self.known.contains(&moved.index)
        {
            assert_eq!(before.to, moved.from, "{moved:?} does not follow {before:?}");
        }
        self.moves.push(moved.clone());
    }

    /// The table and the world agree on which processes live.
    fn check(&self) {
        let known: BTreeMap<_, _> =
            self.roster.seats().filter_map(|seat| Some((seat.worker?, seat.index))).collect();
        assert_eq!(known, self.live, "a child was lost or invented");
    }

    pub(super) fn target(&mut self, target: u32) {
        self.handle(Event::Target { target, drain_busy: false });
    }

    pub(super) fn all_ready(&mut self) {
        for worker in self.live.keys().copied().collect::<Vec<_>>() {
            self.handle(Event::Started(worker));
            self.handle(Event::Registered(worker));
        }
    }

    pub(super) fn die(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.handle(Event::Ended { worker, exit: Exit::Code(1) })
    }

    pub(super) fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.handle(Event::Deadline)
    }

    pub(super) fn start(&mut self, pick: Pick) -> RequestId {
        let request = self.request();
        self.handle(Event::Start { pick, request });
        request
    }

    pub(super) fn stop(&mut self, pick: Pick) -> RequestId {
        let request = self.request();
        self.handle(Event::Stop { pick, request });
        request
    }

    pub(super) fn restart(&mut self, pick: Pick) -> RequestId {
        let request = self.request();
        self.handle(Event::Restart { pick, mode: RestartMode::Roll, request });
        request
    }

    pub(super) fn configure(&mut self, rolls: bool, target: u32) -> RequestId {
        let request = self.request();
        let rules = Rules { count_max: target, ..self.rules.clone() };
        let program = if rolls { ProgramChange::New } else { ProgramChange::Same };
        self.handle(Event::Configure { rules, program, target, request });
        request
    }

    pub(super) fn close(&mut self, grace: Duration) -> RequestId {
        let request = self.request();
        self.handle(Event::Close { grace, request });
        request
    }

    /// The gate says that a worker which was asked about, or drained, holds no job.
    pub(super) fn drained(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.handle(Event::Drained(worker))
    }

    pub(super) fn busy(&mut self, worker: WorkerId) {
        self.handle(Event::Busy(worker));
    }

    pub(super) fn states(&self) -> Vec<(u32, SlotState)> {
        self.roster.seats().map(|seat| (seat.index, seat.state)).collect()
    }

    pub(super) fn seat(&self, index: u32) -> SeatView {
        self.roster.seats().find(|seat| seat.index == index).unwrap()
    }

    pub(super) fn worker(&self, index: u32) -> WorkerId {
        self.seat(index).worker.unwrap()
    }

    /// Everything that is under way comes to its end, all starts succeed, time passes.
    pub(super) fn calm(&mut self) {
        for _ in 0..1000 {
            let drained = self.asks.iter().chain(&self.drains).copied().next();
            let unready = self.roster.seats().find(|seat| seat.state == SlotState::Starting);
            if let Some(worker) = drained {
                self.drained(worker);
            } else if let Some(worker) = self.signalled.pop_first() {
                self.handle(Event::Ended { worker, exit: Exit::Code(0) });
            } else if let Some(worker) = unready.and_then(|seat| seat.worker) {
                self.handle(Event::Started(worker));
                self.handle(Event::Registered(worker));
                self.handle(Event::Ready(worker));
                let told = self
                    .roster
                    .seats()
                    .any(|seat| seat.worker == Some(worker) && seat.state == SlotState::Starting);
                if told && let Some(at) = self.roster.next_deadline() {
                    self.now = self.now.max(at);
                    self.handle(Event::Deadline);
                }
            } else if let Some(at) = self.roster.next_deadline() {
                self.now = self.now.max(at);
                self.handle(Event::Deadline);
            } else {
                return;
            }
        }
        panic!("no rest: {:?}", self.states());
    }
}

pub(super) fn rules(successor: Successor, count_max: u32) -> Rules {
    let step = |signal, seconds| StopStep { signal, wait: Duration::from_secs(seconds) };
    Rules {
        stop: vec![step(Signal::SIGTERM, 5), step(Signal::SIGKILL, 0)],
        backoff: Backoff {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(30),
            limit: 3,
            window: Duration::from_hours(1),
        },
        count_max,
        successor,
        ready: ReadyRule {
            until: ReadyUntil::Alive,
            after: Duration::from_secs(1),
            timeout: Duration::from_mins(1),
        },
        restart: Restart::Always,
        exit_codes: vec![0],
        age_max: None,
        recycling_max: 1,
        rolling_max: 1,
        canary: None,
    }
}

pub(super) fn slots(pattern: &str) -> Pick {
    Pick::Slots(NamePattern::new(pattern))
}
