//! All slots of a pool: takes events in, gives effects out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::entrance::Entrance;
use super::event::{Effect, Event, ProgramChange, ReadyUntil, RequestId, RestartMode, Rules};
use super::pacing::Pacing;
use super::requests::{Goal, Requests};
use super::slot::{Asked, Course, Rest, Slot, SlotEvent, State, Turn, Wanted};
use super::trial::Trial;
use super::why::Cause;
use crate::config::Run;
use crate::model::{PoolName, WorkerId};
use crate::pool::{Pick, PoolIntent, WorkerIds};

/// A pool's slots and what is wanted of them.
#[derive(Debug)]
pub struct Roster {
    pub(super) pool: PoolName,
    pub(super) slots: BTreeMap<u32, Slot>,
    /// The slot of each process that lives or is about to be started.
    by_worker: HashMap<WorkerId, u32>,
    pub(super) course: Course,
    pub(super) intent: PoolIntent,
    pub(super) target: u32,
    /// Whether busy workers above the target are drained.
    pub(super) drain_busy: bool,
    /// When busy workers above the target are asked again.
    pub(super) ask_again_at: Option<Instant>,
    pub(super) closing: Option<Closing>,
    requests: Requests,
    /// It was told that the pool has failed, and no worker was ready since.
    is_failed: bool,
    next_deadline: Option<Instant>,
}

/// The pool is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// When what is left is killed; `None`: never, or it was done.
    kill_at: Option<Instant>,
    finished: bool,
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
                self.requests.open(request, Goal::Settled);
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

    fn set_target(&mut self, target: u32, drain_busy: bool) {
        self.target = target;
        self.drain_busy = drain_busy;
        self.ask_all_again();
    }

    fn configure(&mut self, rules: Rules, program: ProgramChange, target: u32, turn: &mut Turn) {
        let was_on_call = self.course.rules.run == Run::OnCall;
        self.course.rules = rules;
        let run = self.course.rules.run;
        // The file lowered the count: what is busy goes after its job.
        self.set_target(target, self.drain_busy || target < self.target);
        match program {
            ProgramChange::Same => {}
            ProgramChange::New => {
                self.course.generation += 1;
                self.roll_all(turn);
            }
            ProgramChange::Back => {
                self.abandon_trial(turn);
                self.requests.refuse_rolls("the file took the new program back", turn);
                self.course.generation = self.course.proven;
                let generation = self.course.generation;
                for slot in self.slots.values_mut() {
                    slot.roll_wanted =
                        slot.process().is_some_and(|process| process.generation != generation);
                }
            }
        }
        if was_on_call && run != Run::OnCall {
            for slot in self.slots.values_mut() {
                slot.hasten(turn);
            }
        }
    }

    fn renew(&mut self, request: RequestId, turn: &mut Turn) {
        let was_proven = self.is_proven();
        self.course.generation += 1;
        if was_proven {
            // What is started meanwhile runs the changed files in any case.
            self.course.proven = self.course.generation;
        }
        self.roll_all(turn);
        self.requests.open(request, Goal::Settled);
    }

    /// Has every process replaced by one of the present program.
    fn roll_all(&mut self, turn: &mut Turn) {
        self.course.pacing = Pacing::new();
        let run = self.course.rules.run;
        for slot in self.slots.values_mut() {
            slot.renew(run, turn);
        }
        self.begin_trial(turn);
    }

    fn start(&mut self, pick: &Pick, request: RequestId, turn: &mut Turn) {
        if self.refuses(pick, request, turn) {
            return;
        }
        self.raise_picked(pick, turn);
        self.requests.open(request, Goal::Up(self.picked_up(pick)));
    }

    fn stop(&mut self, pick: &Pick, request: RequestId, turn: &mut Turn) {
        if self.refuses(pick, request, turn) {
            return;
        }
        if matches!(pick, Pick::Pool) {
            self.intent = PoolIntent::Stopped;
        }
        let picked = self.picked(pick);
        for index in &picked {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.wanted = Wanted::Held;
                slot.handle(SlotEvent::Down(Cause::Stop), &mut self.course, turn);
                slot.handle_predecessor(SlotEvent::Down(Cause::Stop), &self.course, turn);
            }
        }
        self.requests.open(request, Goal::Gone(picked));
    }

    fn restart(&mut self, pick: &Pick, mode: RestartMode, request: RequestId, turn: &mut Turn) {
        if self.refuses(pick, request, turn) {
            return;
        }
        self.raise_picked(pick, turn);
        let slots = self.picked_up(pick);
        match mode {
            RestartMode::Roll => {
                for index in &slots {
                    if let Some(slot) = self.slots.get_mut(index) {
                        slot.roll_wanted = slot.process().is_some();
                        slot.wear = None;
                    }
                }
                // Behind a single worker nothing follows.
                if matches!(pick, Pick::Pool) || slots.len() > 1 {
                    self.begin_trial(turn);
                }
            }
            RestartMode::Now => self.restart_now(pick, &slots, turn),
        }
        self.requests.open(request, Goal::Rolled { slots, after: self.course.ids.last() });
    }

    fn restart_now(&mut self, pick: &Pick, slots: &[u32], turn: &mut Turn) {
        if matches!(pick, Pick::Pool) {
            self.abandon_trial(turn);
            self.prove();
        }
        for index in slots {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.roll_wanted = false;
                slot.wear = None;
                slot.handle(SlotEvent::Down(Cause::Restarted), &mut self.course, turn);
                slot.handle_predecessor(SlotEvent::Down(Cause::Restarted), &self.course, turn);
            }
        }
    }

    fn close(&mut self, grace: Duration, request: RequestId, turn: &mut Turn) {
        self.requests.refuse_starts("the pool is being closed", turn);
        self.closing = Some(Closing { kill_at: turn.now.checked_add(grace), finished: false });
        for slot in self.slots.values_mut() {
            slot.wanted = Wanted::Down;
            slot.handle(SlotEvent::Down(Cause::Close), &mut self.course, turn);
            slot.handle_predecessor(SlotEvent::Down(Cause::Close), &self.course, turn);
        }
        self.requests.open(request, Goal::Gone(self.slots.keys().copied().collect()));
    }

    fn hurry(&mut self, turn: &mut Turn) {
        if let Some(closing) = &mut self.closing {
            closing.kill_at = None;
            for slot in self.slots.values_mut() {
                slot.handle(SlotEvent::Kill, &mut self.course, turn);
                slot.handle_predecessor(SlotEvent::Kill, &self.course, turn);
            }
        }
    }

    fn started(&mut self, worker: WorkerId, turn: &mut Turn) -> Change {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot else { return Change::None };
        if slot.proof.is_some() && slot.is_current(worker) {
            turn.effects.push(Effect::Await(worker));
        }
        let ready_at = slot.note_start(worker, turn.now);
        // Nothing else changed, and there may be a thousand of these: only the deadline moves.
        self.next_deadline = [self.next_deadline, ready_at].into_iter().flatten().min();
        Change::None
    }

    fn registered(&mut self, worker: WorkerId, turn: &mut Turn) -> Change {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get(index));
        let process = slot.and_then(Slot::process).filter(|process| process.worker == worker);
        match process.map(|process| process.ready.until) {
            Some(ReadyUntil::Alive | ReadyUntil::Registered) => {
                self.tell(worker, SlotEvent::Ready, turn)
            }
            Some(ReadyUntil::Told) | None => Change::None,
        }
    }

    fn recycle(&mut self, worker: WorkerId, reason: String) -> Change {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get_mut(index));
        match slot {
            Some(slot) if slot.is_current(worker) && slot.serves() => {
                slot.wear_out(reason);
                Change::Some
            }
            Some(_) | None => Change::None,
        }
    }

    fn job_ended(&mut self, worker: WorkerId, well: bool, turn: &mut Turn) -> Change {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot.filter(|slot| slot.is_current(worker)) else { return Change::None };
        let is_canary = slot.proof.is_some();
        if is_canary && well {
            slot.note_work();
        } else if is_canary {
            turn.effects.push(Effect::Await(worker));
        }
        match slot.asked {
            Asked::No if is_canary && well => Change::Some,
            Asked::No => Change::None,
            Asked::Waiting { .. } => {
                slot.asked = Asked::Waiting { again: true };
                Change::None
            }
            Asked::Busy => {
                slot.asked = Asked::No;
                Change::Some
            }
        }
    }

    fn busy(&mut self, worker: WorkerId) -> Change {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot.filter(|slot| slot.is_current(worker)) else { return Change::None };
        slot.asked = match slot.asked {
            Asked::Waiting { again: false } | Asked::Busy => Asked::Busy,
            Asked::Waiting { again: true } | Asked::No => Asked::No,
        };
        Change::Some
    }

    fn drained(&mut self, worker: WorkerId, turn: &mut Turn) -> Change {
        self.let_go(worker);
        self.tell(worker, SlotEvent::Drained, turn)
    }

    fn ended(&mut self, worker: WorkerId, event: SlotEvent<'_>, turn: &mut Turn) {
        self.let_go(worker);
        let of_former = self.is_of_former(worker);
        let before = turn.failures.len();
        if self.tell(worker, event, turn) == Change::Some {
            self.by_worker.remove(&worker);
        }
        for failure in turn.failures.iter_mut().skip(before) {
            failure.of_former = of_former;
        }
    }

    /// Whether a process runs a program that is no longer the one in the file.
    fn is_of_former(&self, worker: WorkerId) -> bool {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get(index));
        let processes = slot.into_iter().flat_map(|slot| [slot.process(), slot.outgoing()]);
        let mut own = processes.flatten().filter(|process| process.worker == worker);
        own.any(|process| process.generation != self.course.generation)
    }

    /// A worker above the target that goes is not replaced.
    fn let_go(&mut self, worker: WorkerId) {
        let surplus = self.surplus() > 0;
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get_mut(index));
        if let Some(slot) = slot.filter(|slot| surplus && slot.is_current(worker))
            && slot.wanted == Wanted::Up
            && slot.predecessor.is_none()
        {
            slot.wanted = Wanted::Down;
        }
    }

    /// Passes an event to the slot of a process.
    fn tell(&mut self, worker: WorkerId, event: SlotEvent<'_>, turn: &mut Turn) -> Change {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot else { return Change::None };
        if slot.is_current(worker) {
            slot.handle(event, &mut self.course, turn);
        } else {
            slot.handle_predecessor(event, &self.course, turn);
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
                slot.handle(SlotEvent::Deadline, &mut self.course, turn);
                slot.handle_predecessor(SlotEvent::Deadline, &self.course, turn);
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

/// Which slots a request means.
impl Roster {
    fn is_picked(&self, pick: &Pick, index: u32) -> bool {
        match pick {
            Pick::Pool => true,
            Pick::Slots(pattern) => pattern.matches_worker(&self.pool.worker(index)),
        }
    }

    fn picked(&self, pick: &Pick) -> Vec<u32> {
        self.slots.keys().copied().filter(|index| self.is_picked(pick, *index)).collect()
    }

    /// The picked slots that are to run.
    fn picked_up(&self, pick: &Pick) -> Vec<u32> {
        let up = |index: &u32| self.slots.get(index).is_some_and(|slot| slot.wanted == Wanted::Up);
        self.picked(pick).into_iter().filter(up).collect()
    }

    /// Answers a request that cannot be carried out.
    fn refuses(&self, pick: &Pick, request: RequestId, turn: &mut Turn) -> bool {
        let reason = match pick {
            _ if self.closing.is_some() => "the pool is being closed".to_owned(),
            Pick::Slots(pattern) if self.picked(pick).is_empty() => {
                format!("pool {} has no worker '{pattern}'", self.pool)
            }
            Pick::Pool | Pick::Slots(_) => return false,
        };
        turn.effects.push(Effect::Answer(request, Err(reason)));
        true
    }

    /// Makes the picked slots wanted and ends their pauses.
    fn raise_picked(&mut self, pick: &Pick, turn: &mut Turn) {
        let now = turn.now;
        if self.intent == PoolIntent::Stopped {
            self.course.entrance.shut();
        }
        self.intent = PoolIntent::Up;
        self.course.pacing.hasten(now);
        let whole = matches!(pick, Pick::Pool);
        for index in self.picked(pick) {
            let Some(slot) = self.slots.get_mut(&index) else { continue };
            if slot.wanted == Wanted::Held {
                slot.wanted = if whole { Wanted::Down } else { Wanted::Up };
            }
        }
        if whole {
            self.raise(now);
        }
        for index in self.picked(pick) {
            if let Some(slot) = self.slots.get_mut(&index) {
                slot.hasten(turn);
            }
        }
    }
}

/// Whether an event changed anything that may lead to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Some,
}
