//! What follows the end of a slot's process, and how one is brought about.

use std::time::Duration;

use super::event::Effect;
use super::leaving::Leaving;
use super::slot::{
    Course, Failure, Predecessor, Process, Rest, Slot, SlotEvent, State, Turn, Wanted,
};
use super::why::{Cause, Next, Why};
use crate::config::{Restart, Run};
use crate::model::Exit;

/// A ready worker that fails sooner than this after its start has failed quickly.
const QUICK: Duration = Duration::from_secs(1);

/// So many quick failures in a row of a ready worker are replaced at once; more of them pause, so
/// that a program that registers and crashes does not take a processor for itself.
const QUICK_FAILURES_MAX: u32 = 5;

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
        if self.wanted == Wanted::Up && !self.is_excused(course.rules.expects(exit)) {
            return self.canary_died(process, exit, course, turn);
        }
        let after = turn.now.saturating_duration_since(process.started);
        if after < QUICK && !exit.is_success() {
            self.quick_failures += 1;
        } else {
            self.quick_failures = 0;
            self.failures = 0;
        }
        let death = self.death(process, exit, turn.now);
        if self.wanted != Wanted::Up {
            self.enter(State::Stopped, death.why(Next::Nothing), turn);
        } else if self.quick_failures > QUICK_FAILURES_MAX {
            self.fail(process, death.text(), course, turn, |next| death.why(next));
        } else {
            self.restarts += 1;
            self.enter(State::Stopped, death.why(Next::Replaced), turn);
            self.start(Why::Wanted, course, turn);
        }
    }

    /// A process that was to run to its end has ended.
    pub(super) fn ran(
        &mut self,
        process: Process,
        exit: Exit,
        course: &mut Course,
        turn: &mut Turn,
    ) {
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
        let death = self.death(process, exit, turn.now);
        self.fail(process, death.text(), course, turn, |next| death.why(next));
    }

    /// A canary ended by itself and has failed.
    fn canary_died(&mut self, process: Process, exit: Exit, course: &mut Course, turn: &mut Turn) {
        let death = self.death(process, exit, turn.now);
        self.fall_back(death.text(), course, turn, |next| death.why(next));
    }

    /// A process ended and is not started again.
    pub(super) fn rest(
        &mut self,
        process: Process,
        exit: Exit,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        let expected = course.rules.expects(exit) && self.blame_of(process).is_empty();
        if self.proof.is_some() && !expected {
            return self.canary_died(process, exit, course, turn);
        }
        let next = if process.run != Run::Serve && expected { Next::Done } else { Next::Rest };
        let why = self.death(process, exit, turn.now).why(next);
        if !expected {
            let reason = format!("{exit}, and is not started again");
            turn.failures.push(Failure::of(process, self.index, reason, course));
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
            let death = self.death(leaving.process, exit, turn.now);
            let reason = death.blame.clone();
            return self.fail(leaving.process, reason, course, turn, |next| death.why(next));
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
