//! The steps that a slot's states share.

use std::time::{Duration, Instant};

use super::event::{Edition, Effect, Move};
use super::leaving::Leaving;
use super::pacing::{Draw, Pause};
use super::slot::{
    Asked, Course, Failure, Predecessor, Process, Rest, Slot, SlotEvent, State, Turn, Wanted,
};
use super::why::{Cause, Next, Why};
use crate::config::{AgeMax, Restart, Run};
use crate::model::Exit;
use crate::pool::{LastExit, SlotRole, SlotState};

/// A ready worker that fails sooner than this after its start has failed quickly.
const QUICK: Duration = Duration::from_secs(1);

/// So many quick failures in a row of a ready worker are replaced at once; more of them pause, so
/// that a program that registers and crashes does not take a processor for itself.
const QUICK_FAILURES_MAX: u32 = 5;

/// Changes of state.
impl Slot {
    pub(super) fn enter(&mut self, state: State, why: Why, turn: &mut Turn) {
        let before = self.process();
        let from = self.state.shown();
        self.state = state;
        self.since = turn.now;
        self.asked = Asked::No;
        let worker = self.process().or(before).map(|process| process.worker);
        let to = self.state.shown();
        let role = SlotRole::Current;
        turn.effects.push(Effect::Moved(Move { index: self.index, role, worker, from, to, why }));
    }

    pub(super) fn leave(&mut self, leaving: Leaving, turn: &mut Turn) {
        let why = Why::Leaves(leaving.cause, self.blame_of(leaving.process));
        self.enter(State::Stopping(leaving), why, turn);
    }

    /// Makes a process the predecessor, or changes what the predecessor does.
    pub(super) fn precede(&mut self, predecessor: Predecessor, turn: &mut Turn) {
        let was_serving = matches!(self.predecessor, Some(Predecessor::Serving(_)));
        self.predecessor = Some(predecessor);
        self.predecessor_since = turn.now;
        if let (Predecessor::Leaving(leaving), true) = (predecessor, was_serving) {
            let why = Why::Leaves(leaving.cause, self.blame_of(leaving.process));
            let states = (SlotState::Running, SlotState::Stopping);
            self.move_predecessor(leaving.process, states, why, turn);
        }
    }

    /// The predecessor has ended.
    pub(super) fn bereave(&mut self, process: Process, why: Why, turn: &mut Turn) {
        let from = match self.predecessor.take() {
            Some(Predecessor::Serving(_)) => SlotState::Running,
            Some(Predecessor::Leaving(_)) | None => SlotState::Stopping,
        };
        self.move_predecessor(process, (from, SlotState::Stopped), why, turn);
    }

    pub(super) fn move_predecessor(
        &self,
        process: Process,
        (from, to): (SlotState, SlotState),
        why: Why,
        turn: &mut Turn,
    ) {
        let (role, worker) = (SlotRole::Predecessor, Some(process.worker));
        turn.effects.push(Effect::Moved(Move { index: self.index, role, worker, from, to, why }));
    }
}

/// Starting and failing to.
impl Slot {
    /// Starts a process, unless the pool's starts fail just now.
    pub(super) fn begin(&mut self, course: &mut Course, turn: &mut Turn) {
        if course.pacing.is_open() {
            let why = self.why_begun(course);
            self.start(why, course, turn);
        } else {
            self.enter(State::Backoff { until: None }, Why::Broken, turn);
        }
    }

    fn why_begun(&mut self, course: &Course) -> Why {
        match (self.wear.take(), self.outgoing().filter(|_| self.roll_wanted)) {
            (Some(reason), _) => Why::Recycles(reason),
            (None, Some(old)) if old.generation == course.generation => Why::Restarts,
            (None, Some(_)) => Why::Renews,
            (None, None) => Why::Wanted,
        }
    }

    pub(super) fn start(&mut self, why: Why, course: &mut Course, turn: &mut Turn) {
        let worker = course.ids.next();
        let is_canary = self.proof.is_some();
        let generation = if is_canary { course.generation } else { course.proven };
        let process = Process {
            worker,
            generation,
            run: course.rules.run,
            started: turn.now,
            is_started: false,
            ready: course.rules.ready,
            is_told: false,
            // A run comes to its end, however long it takes.
            lifetime: course.rules.age_max.filter(|_| course.rules.run == Run::Serve).map(
                |AgeMax { age, variance }| {
                    age.saturating_add(variance.mul_f64(turn.random.clamp(0.0, 1.0)))
                },
            ),
        };
        course.pacing.started(self.index);
        // What runs the old program while the new one is on trial follows with the others.
        let is_former = generation != course.generation;
        self.roll_wanted = is_former && course.trial.is_open();
        self.wear = None;
        self.enter(State::Starting(process), why, turn);
        let edition = if is_former { Edition::Former } else { Edition::InForce };
        turn.effects.push(Effect::Start { worker, index: self.index, edition });
    }

    /// What the readiness of a process waits for has come about.
    pub(super) fn told(&mut self, mut process: Process, course: &mut Course, turn: &mut Turn) {
        process.is_told = true;
        self.state = State::Starting(process);
        // A registration is as good as the time that `alive` waits for.
        let at_once = process.ready.until == super::event::ReadyUntil::Alive;
        if at_once || process.is_ready(turn.now) {
            self.ready(process, course, turn);
        }
    }

    pub(super) fn ready(&mut self, process: Process, course: &mut Course, turn: &mut Turn) {
        // What is to run to its end may still fail.
        if process.run == Run::Serve {
            course.pacing.succeeded();
            if self.quick_failures == 0 {
                self.failures = 0;
            }
            self.trouble.clear();
        } else {
            // Whether it fails may be known in hours: others are not to wait for that.
            course.pacing.withdrawn(self.index, turn.now);
        }
        let asked = self.asked;
        let after = turn.now.saturating_duration_since(process.started);
        self.enter(State::Running(process), Why::Ready { after }, turn);
        self.asked = asked;
        // That of a canary serves on until the canary has proved itself.
        if self.proof.is_none() {
            self.handle_predecessor(SlotEvent::Down(Cause::Replaced), course, turn);
        }
    }

    /// A start took too long: it has failed once the process has ended.
    pub(super) fn overdue(&mut self, process: Process, course: &mut Course, turn: &mut Turn) {
        let reason = format!("not ready within {}", short(process.ready.timeout));
        turn.failures.push(Failure::new(self.index, reason.clone()));
        self.blame(process, &reason);
        let leaving = Leaving::drain(process, Cause::Unready, &mut turn.effects);
        if self.proof.is_some() {
            return self.fall_back_from(leaving, reason, course, turn);
        }
        self.leave(leaving, turn);
    }

    /// A process ended before it was ready.
    pub(super) fn died_early(
        &mut self,
        process: Process,
        exit: Exit,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        if process.run != Run::Serve && self.wanted == Wanted::Up {
            return self.ran(process, exit, course, turn);
        }
        let expected = course.rules.expects(exit);
        if !course.rules.restarts(exit) && (expected || course.rules.restart == Restart::Never) {
            course.pacing.withdrawn(self.index, turn.now);
            return self.rest(process, exit, course, turn);
        }
        let after = turn.now.saturating_duration_since(process.started);
        self.note_exit(process, exit, false, turn.now);
        let reason = format!("{exit} after {}, before it was ready", short(after));
        self.fail(reason, course, turn, |next| Why::Died {
            exit,
            after,
            blame: String::new(),
            next,
        });
    }

    /// A process could not be started.
    pub(super) fn not_started(
        &mut self,
        _: Process,
        reason: &str,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        let why = |next| Why::NotStarted { reason: reason.to_owned(), next };
        self.fail(reason.to_owned(), course, turn, why);
    }

    /// A process failed: the slot pauses.
    fn fail(
        &mut self,
        reason: String,
        course: &mut Course,
        turn: &mut Turn,
        why: impl FnOnce(Next) -> Why,
    ) {
        if self.proof.is_some() {
            return self.fall_back(reason, course, turn, why);
        }
        self.failures = self.failures.saturating_add(1);
        self.restarts += 1;
        let draw = Draw { now: turn.now, random: turn.random };
        let backoff = course.rules.backoff;
        let pause = course.pacing.failed(self.index, self.failures, &backoff, draw);
        turn.failures.push(Failure::new(self.index, reason.clone()));
        self.trouble = reason;
        if self.wanted != Wanted::Up {
            return self.enter(State::Stopped, why(Next::Nothing), turn);
        }
        let (until, next) = match pause {
            Pause::For(pause) => (Some(turn.now + pause), Next::Pause(pause)),
            Pause::Turn => (None, Next::Turn),
        };
        self.enter(State::Backoff { until }, why(next), turn);
    }
}

/// Being replaced in time.
impl Slot {
    /// Its process is to be replaced when the roll comes to it.
    pub(super) fn wear_out(&mut self, reason: String) {
        if !self.roll_wanted {
            self.roll_wanted = true;
            self.wear = Some(reason);
        }
    }

    pub(super) fn grow_old(&mut self, process: Process, now: Instant) {
        if process.expires_at().is_some_and(|at| at <= now) {
            let age = now.saturating_duration_since(process.started);
            self.wear_out(format!("has lived for {}", short(age)));
        }
    }
}

/// Ending.
impl Slot {
    /// A ready process ended by itself.
    pub(super) fn died(
        &mut self,
        process: Process,
        exit: Exit,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        if self.wanted == Wanted::Up && process.run != Run::Serve {
            return self.ran(process, exit, course, turn);
        }
        if self.wanted == Wanted::Up && !course.rules.restarts(exit) {
            return self.rest(process, exit, course, turn);
        }
        let after = turn.now.saturating_duration_since(process.started);
        if self.wanted == Wanted::Up && !self.is_excused(course.rules.expects(exit)) {
            return self.canary_died(process, exit, course, turn);
        }
        if after < QUICK && !exit.is_success() {
            self.quick_failures += 1;
        } else {
            self.quick_failures = 0;
            self.failures = 0;
        }
        if self.wanted != Wanted::Up {
            let why = self.death(process, exit, Next::Nothing, turn.now);
            self.enter(State::Stopped, why, turn);
        } else if self.quick_failures > QUICK_FAILURES_MAX {
            self.note_exit(process, exit, false, turn.now);
            let reason = format!("{exit} after {}", short(after));
            self.fail(reason, course, turn, |next| Why::Died {
                exit,
                after,
                blame: String::new(),
                next,
            });
        } else {
            self.restarts += 1;
            let why = self.death(process, exit, Next::Replaced, turn.now);
            self.enter(State::Stopped, why, turn);
            self.start(Why::Wanted, course, turn);
        }
    }

    /// A process that was to run to its end has ended.
    fn ran(&mut self, process: Process, exit: Exit, course: &mut Course, turn: &mut Turn) {
        let is_done = course.rules.expects(exit) && self.blame_of(process).is_empty();
        if is_done || course.rules.restart == Restart::Never {
            if is_done {
                course.pacing.succeeded();
                self.failures = 0;
                self.trouble.clear();
            } else {
                course.pacing.withdrawn(self.index, turn.now);
            }
            let is_outdated = process.generation != course.generation;
            self.rest(process, exit, course, turn);
            if is_outdated && course.rules.run == Run::Once {
                self.hasten(turn);
            }
            return;
        }
        let after = turn.now.saturating_duration_since(process.started);
        let blame = self.blame_of(process);
        self.note_exit(process, exit, false, turn.now);
        let reason = format!("{exit} after {}", short(after));
        self.fail(reason, course, turn, |next| Why::Died { exit, after, blame, next });
    }

    /// A canary ended by itself and has failed.
    fn canary_died(&mut self, process: Process, exit: Exit, course: &mut Course, turn: &mut Turn) {
        self.note_exit(process, exit, false, turn.now);
        let after = turn.now.saturating_duration_since(process.started);
        let why = |next| Why::Died { exit, after, blame: String::new(), next };
        self.fall_back(format!("{exit} after {}", short(after)), course, turn, why);
    }

    /// A process ended and is not started again.
    fn rest(&mut self, process: Process, exit: Exit, course: &mut Course, turn: &mut Turn) {
        let expected = course.rules.expects(exit) && self.blame_of(process).is_empty();
        if self.proof.is_some() && !expected {
            return self.canary_died(process, exit, course, turn);
        }
        let next = if process.run != Run::Serve && expected { Next::Done } else { Next::Rest };
        let why = self.death(process, exit, next, turn.now);
        if !expected {
            let reason = format!("{exit}, and is not started again");
            turn.failures.push(Failure::new(self.index, reason));
        }
        self.roll_wanted = false;
        self.wear = None;
        let rest = if expected { Rest::Done } else { Rest::Failed };
        self.enter(State::Exited(rest), why, turn);
        if expected && self.proof.is_none() {
            // It has done what its predecessor was to do.
            self.handle_predecessor(SlotEvent::Down(Cause::Replaced), course, turn);
        } else if let Some(Predecessor::Serving(process)) = self.predecessor
            && !expected
        {
            self.predecessor = None;
            self.rolling = false;
            self.enter(State::Running(process), Why::ServesOn, turn);
        }
    }

    /// A process that was to end has ended.
    pub(super) fn left(
        &mut self,
        leaving: Leaving,
        exit: Exit,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        if self.is_failure(leaving) {
            let Leaving { process, .. } = leaving;
            let reason = self.blame_of(process);
            let blame = reason.clone();
            self.note_exit(process, exit, false, turn.now);
            let after = turn.now.saturating_duration_since(process.started);
            let why = |next| Why::Died { exit, after, blame, next };
            return self.fail(reason, course, turn, why);
        }
        if leaving.process.run != Run::Serve
            && self.wanted == Wanted::Up
            && !leaving.cause.is_asked()
        {
            return self.ran(leaving.process, exit, course, turn);
        }
        let next = if self.wanted == Wanted::Up { Next::Replaced } else { Next::Nothing };
        let why = self.departure(leaving, exit, next, turn.now);
        self.gone(why, course, turn);
    }

    /// Whether the slot pauses once this process has ended, before it is tried again: its start has
    /// failed, or it is one more that was sick at once.
    pub(super) fn is_failure(&self, leaving: Leaving) -> bool {
        let is_sick = leaving.cause == Cause::Unhealthy;
        leaving.cause == Cause::Unready || is_sick && self.quick_failures > QUICK_FAILURES_MAX
    }

    /// The slot is empty: starts anew, or rests.
    pub(super) fn gone(&mut self, why: Why, course: &mut Course, turn: &mut Turn) {
        self.enter(State::Stopped, why, turn);
        match self.wanted {
            Wanted::Up if course.entrance.is_open() => self.begin(course, turn),
            Wanted::Up | Wanted::Down | Wanted::Held => {}
        }
    }

    pub(super) fn signal(&mut self, process: Process, course: &Course, turn: &mut Turn) {
        let (rules, now) = (&course.rules, turn.now);
        let leaving = Leaving::signal(process, Cause::Surplus, rules, now, &mut turn.effects);
        self.leave(leaving, turn);
    }

    /// A process failed its liveness check: it gets the stop steps without being drained first,
    /// since it may be stuck in its job.
    pub(super) fn unhealthy(
        &mut self,
        process: Process,
        reason: &str,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        self.blame(process, reason);
        let (rules, now) = (&course.rules, turn.now);
        let is_quick = now.saturating_duration_since(process.started) < QUICK;
        self.quick_failures = if is_quick { self.quick_failures + 1 } else { 0 };
        let leaving = Leaving::signal(process, Cause::Unhealthy, rules, now, &mut turn.effects);
        if self.proof.is_some() {
            return self.fall_back_from(leaving, reason.to_owned(), course, turn);
        }
        // A failure counts itself.
        self.restarts += u64::from(!self.is_failure(leaving));
        self.leave(leaving, turn);
    }

    /// A process is killed for the job in its hands.
    pub(super) fn overrun(
        &mut self,
        process: Process,
        reason: &str,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        self.blame(process, reason);
        turn.effects.push(Effect::Charge(process.worker));
        let leaving = Leaving::kill(process, Cause::Overrun, &mut turn.effects);
        if self.proof.is_some() {
            return self.fall_back_from(leaving, reason.to_owned(), course, turn);
        }
        self.restarts += 1;
        self.leave(leaving, turn);
    }

    /// The same for one that leaves already.
    pub(super) fn overrun_leaving(&mut self, leaving: &mut Leaving, reason: &str, turn: &mut Turn) {
        self.blame(leaving.process, reason);
        turn.effects.push(Effect::Charge(leaving.process.worker));
        leaving.kill_now(&mut turn.effects);
    }
}

/// What is remembered of ended processes.
impl Slot {
    pub(super) fn blame(&mut self, process: Process, reason: &str) {
        self.blames.push((process.worker, reason.to_owned()));
    }

    pub(super) fn blame_of(&self, process: Process) -> String {
        let found = self.blames.iter().find(|(worker, _)| *worker == process.worker);
        found.map_or_else(String::new, |(_, reason)| reason.clone())
    }

    /// Notes how a process ended by itself.
    pub(super) fn death(&mut self, process: Process, exit: Exit, next: Next, at: Instant) -> Why {
        let blame = self.blame_of(process);
        self.note_exit(process, exit, false, at);
        let after = at.saturating_duration_since(process.started);
        Why::Died { exit, after, blame, next }
    }

    /// Notes how a process ended that was to.
    pub(super) fn departure(
        &mut self,
        leaving: Leaving,
        exit: Exit,
        next: Next,
        at: Instant,
    ) -> Why {
        if !self.blame_of(leaving.process).is_empty() {
            return self.death(leaving.process, exit, next, at);
        }
        self.note_exit(leaving.process, exit, true, at);
        Why::Stopped(exit)
    }

    fn note_exit(&mut self, process: Process, exit: Exit, asked: bool, at: Instant) {
        let blame = self.blame_of(process);
        self.blames.retain(|(worker, _)| *worker != process.worker);
        self.last_exit = Some(LastExit { worker: process.worker, exit, at, asked, blame });
    }
}

/// `0.02 s`, `45 s`, `4m 10s`.
pub(super) fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 120.0 {
        return humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    }
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.0} s") }
}
