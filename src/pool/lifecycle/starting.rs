//! How a slot starts a process, and what follows when that fails.

use super::event::{Edition, Effect, ReadyUntil};
use super::leaving::Leaving;
use super::pacing::{Draw, Pause};
use super::slot::{Course, Failure, Process, Slot, SlotEvent, State, Turn, Wanted};
use super::why::{Cause, Next, Why, short};
use crate::config::{AgeMax, Restart, Run};
use crate::model::Exit;

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
        let at_once = process.ready.until == ReadyUntil::Alive;
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
        turn.failures.push(Failure::of(process, self.index, reason.clone(), course));
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
        let death = self.death(process, exit, turn.now);
        let reason = format!("{}, before it was ready", death.text());
        self.fail(process, reason, course, turn, |next| death.why(next));
    }

    /// A process could not be started.
    pub(super) fn not_started(
        &mut self,
        process: Process,
        reason: &str,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        let why = |next| Why::NotStarted { reason: reason.to_owned(), next };
        self.fail(process, reason.to_owned(), course, turn, why);
    }

    /// A process failed: the slot pauses.
    pub(super) fn fail(
        &mut self,
        process: Process,
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
        turn.failures.push(Failure::of(process, self.index, reason.clone(), course));
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
