//! All slots of a pool: takes events in, gives effects out.
//!
//! `commands` has what is asked of it, `reports` what is heard of its processes; `reconcile` then does
//! what the outcome asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::entrance::Entrance;
use super::event::{Effect, Event, Rules};
use super::pacing::Pacing;
use super::requests::{Goal, Requests};
use super::slot::{Course, Rest, Slot, SlotEvent, State, Turn, Wanted};
use super::trial::Trial;
use crate::config::Run;
use crate::model::{PoolName, WorkerId};
use crate::pool::{Pick, PoolIntent, WorkerIds};

/// A pool's slots and what is wanted of them.
#[derive(Debug)]
pub struct Roster {
    pub(super) pool: PoolName,
    pub(super) slots: BTreeMap<u32, Slot>,
    /// The slot of each process that lives or is about to be started.
    pub(super) by_worker: HashMap<WorkerId, u32>,
    pub(super) course: Course,
    pub(super) intent: PoolIntent,
    pub(super) target: u32,
    /// Whether busy workers above the target are drained.
    pub(super) drain_busy: bool,
    /// When busy workers above the target are asked again.
    pub(super) ask_again_at: Option<Instant>,
    pub(super) closing: Option<Closing>,
    pub(super) requests: Requests,
    /// It was told that the pool has failed, and no worker was ready since.
    is_failed: bool,
    pub(super) next_deadline: Option<Instant>,
}

/// The pool is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// When what is left is killed; `None`: never, or it was done.
    pub(super) kill_at: Option<Instant>,
    pub(super) finished: bool,
}

impl Roster {
    /// A pool without workers; the first [`Event::Target`] starts them.
    #[must_use]
    pub fn new(pool: PoolName, rules: Rules, ids: WorkerIds) -> Self {
        Self {
            slots: BTreeMap::new(),
            by_worker: HashMap::new(),
            course: Course {
                rules,
                generation: 0,
                proven: 0,
                trial: Trial::Off,
                ids,
                pacing: Pacing::new(),
                entrance: Entrance::default(),
            },
            intent: PoolIntent::Up,
            target: 0,
            drain_busy: false,
            ask_again_at: None,
            closing: None,
            requests: Requests::new(pool.clone()),
            pool,
            is_failed: false,
            next_deadline: None,
        }
    }

    /// Takes what an operator asked for in an earlier life of the daemon.
    pub fn restore(&mut self, stopped: bool, held: &BTreeSet<u32>, now: Instant) {
        if stopped {
            self.intent = PoolIntent::Stopped;
        }
        for index in held {
            let mut slot = Slot::new(*index, now);
            slot.wanted = Wanted::Held;
            self.slots.insert(*index, slot);
        }
    }

    /// The slots that an operator stopped.
    pub fn held(&self) -> BTreeSet<u32> {
        let held = self.slots.values().filter(|slot| slot.wanted == Wanted::Held);
        held.map(|slot| slot.index).collect()
    }

    /// Handles one event at `now`; `random` is from 0 to 1 and new for each event.
    #[must_use]
    pub fn handle(&mut self, now: Instant, random: f64, event: Event) -> Vec<Effect> {
        let mut turn =
            Turn { now, random, effects: Vec::new(), failures: Vec::new(), failed_trial: None };
        if self.dispatch(event, &mut turn) == Change::None {
            return turn.effects;
        }
        self.reconcile(&mut turn);
        self.tell_hopeless(&mut turn);
        self.requests.settle(&self.slots, &mut turn);
        self.judge(&mut turn);
        self.finish(&mut turn);
        for effect in &turn.effects {
            if let Effect::Start { worker, index, .. } = effect {
                self.by_worker.insert(*worker, *index);
            }
        }
        self.next_deadline = self.deadline();
        turn.effects
    }

    /// When to send [`Event::Deadline`], if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// What is wanted of the pool.
    pub fn intent(&self) -> PoolIntent {
        self.intent
    }

    /// Whether it is on its way out.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// How many workers it is to have.
    pub fn target(&self) -> u32 {
        self.target
    }

    /// The processes of the slots that `pick` means.
    pub fn workers(&self, pick: &Pick) -> Vec<WorkerId> {
        let picked = self.slots.values().filter(|slot| self.is_picked(pick, slot.index));
        picked
            .flat_map(|slot| [slot.process(), slot.outgoing()])
            .flatten()
            .map(|process| process.worker)
            .collect()
    }

    fn dispatch(&mut self, event: Event, turn: &mut Turn) -> Change {
        match event {
            Event::Target { target, drain_busy } => self.set_target(target, drain_busy),
            Event::Configure { rules, program, target, request } => {
                self.configure(rules, program, target, turn);
                self.requests.open(request, Goal::Settled, None);
            }
            Event::Hurdle(hurdle) => self.course.entrance.set(hurdle),
            Event::Due => self.due(turn),
            Event::Start { pick, request } => self.start(&pick, request, turn),
            Event::Stop { pick, request } => self.stop(&pick, request, turn),
            Event::Restart { pick, mode, request } => self.restart(&pick, mode, request, turn),
            Event::Renew { request } => self.renew(request, turn),
            Event::Close { grace, request } => self.close(grace, request, turn),
            Event::Hurry => self.hurry(turn),
            Event::Started(worker) => return self.started(worker, turn),
            Event::Registered(worker) => return self.registered(worker, turn),
            Event::Ready(worker) => return self.tell(worker, SlotEvent::Ready, turn),
            Event::Unhealthy { worker, reason } => {
                return self.tell(worker, SlotEvent::Unhealthy(&reason), turn);
            }
            Event::Recycle { worker, reason } => return self.recycle(worker, reason),
            Event::Overrun { worker, reason } => {
                return self.tell(worker, SlotEvent::Overrun(&reason), turn);
            }
            Event::JobEnded { worker, well } => return self.job_ended(worker, well, turn),
            Event::Drained(worker) => return self.drained(worker, turn),
            Event::Busy(worker) => return self.busy(worker),
            Event::Ended { worker, exit } => self.ended(worker, SlotEvent::Ended(exit), turn),
            Event::NotStarted { worker, reason } => {
                self.ended(worker, SlotEvent::NotStarted(&reason), turn);
            }
            Event::Withdrawn(worker) => self.ended(worker, SlotEvent::Withdrawn, turn),
            Event::Deadline => self.pass_deadline(turn),
        }
        Change::Some
    }

    fn pass_deadline(&mut self, turn: &mut Turn) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= turn.now);
        if due(self.ask_again_at) {
            self.ask_again_at = None;
            self.ask_all_again();
        }
        if due(self.closing.and_then(|closing| closing.kill_at)) {
            self.hurry(turn);
        }
        for slot in self.slots.values_mut() {
            if slot.next_deadline().is_some_and(|at| at <= turn.now) {
                slot.handle_both(SlotEvent::Deadline, &mut self.course, turn);
            }
        }
    }

    /// Tells once that no worker runs and none can be started.
    fn judge(&mut self, turn: &mut Turn) {
        let mut wanted = self.slots.values().filter(|slot| slot.wanted == Wanted::Up).peekable();
        if self.slots.values().any(|slot| matches!(slot.state, State::Running(_))) {
            self.is_failed = false;
        }
        // One that runs at times is tried again at the next of them.
        let is_on_call = self.course.rules.run == Run::OnCall;
        if self.is_failed || wanted.peek().is_none() || is_on_call {
            return;
        }
        let mut reason = None;
        let all_failed = wanted.all(|slot| {
            let failed =
                matches!(slot.state, State::Backoff { until: None } | State::Exited(Rest::Failed));
            let told = || format!("{}: {}", self.pool.worker(slot.index), slot.trouble);
            reason = reason.take().or_else(|| (!slot.trouble.is_empty()).then(told));
            failed && slot.predecessor.is_none()
        });
        if all_failed {
            self.is_failed = true;
            let reason = reason.unwrap_or_else(|| "no worker is left".to_owned());
            turn.effects.push(Effect::Failed(reason));
        }
    }

    fn finish(&mut self, turn: &mut Turn) {
        if let Some(closing) = self.closing.as_mut().filter(|closing| !closing.finished)
            && self.slots.values().all(Slot::is_empty)
        {
            closing.finished = true;
            turn.effects.push(Effect::Finish);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let slots = self.slots.values().filter_map(|slot| match slot.state {
            State::Backoff { until } => {
                let retry = self.course.pacing.retry_at(until);
                [retry, slot.next_deadline()].into_iter().flatten().min()
            }
            _ => slot.next_deadline(),
        });
        let kill_at = self.closing.and_then(|closing| closing.kill_at);
        slots.chain(self.ask_again_at).chain(kill_at).min()
    }
}

/// Whether an event changed anything that may lead to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Some,
}
