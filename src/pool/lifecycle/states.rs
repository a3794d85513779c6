//! What each event does in each state of a slot: one function per state, each over every event.

use super::event::{Effect, Successor};
use super::leaving::Leaving;
use super::slot::{Course, Predecessor, Process, Slot, SlotEvent, State, Turn, Wanted};
use super::why::{Cause, Next, Why};

impl Slot {
    /// Handles an event that concerns the slot or its current process.
    pub(super) fn handle(&mut self, event: SlotEvent<'_>, course: &mut Course, turn: &mut Turn) {
        match self.state {
            State::Stopped => self.stopped(event, course, turn),
            State::Backoff { .. } => self.backoff(event, course, turn),
            State::Starting(process) => self.starting(process, event, course, turn),
            State::Running(process) => self.running(process, event, course, turn),
            State::Stopping(leaving) => self.stopping(leaving, event, course, turn),
            State::Exited(_) => self.exited(event, turn),
        }
        self.end_roll();
    }

    /// Handles an event that concerns the slot and both its processes.
    pub(super) fn handle_both(
        &mut self,
        event: SlotEvent<'_>,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        self.handle(event, course, turn);
        self.handle_predecessor(event, course, turn);
    }

    fn stopped(&mut self, event: SlotEvent<'_>, course: &mut Course, turn: &mut Turn) {
        match event {
            SlotEvent::Up => self.begin(course, turn),
            SlotEvent::Retry
            | SlotEvent::Down(_)
            | SlotEvent::Unhealthy(_)
            | SlotEvent::Overrun(_)
            | SlotEvent::Roll
            | SlotEvent::Kill
            | SlotEvent::Ready
            | SlotEvent::Drained
            | SlotEvent::Ended(_)
            | SlotEvent::NotStarted(_)
            | SlotEvent::Withdrawn
            | SlotEvent::Deadline => {}
        }
    }

    fn backoff(&mut self, event: SlotEvent<'_>, course: &mut Course, turn: &mut Turn) {
        match event {
            SlotEvent::Retry => self.start(Why::Again, course, turn),
            SlotEvent::Down(cause) => self.enter(State::Stopped, leaves(cause), turn),
            SlotEvent::Kill => self.enter(State::Stopped, leaves(Cause::Close), turn),
            // A roll has nothing to replace: the next process is a new one in any case.
            SlotEvent::Roll
            | SlotEvent::Up
            | SlotEvent::Ready
            | SlotEvent::Unhealthy(_)
            | SlotEvent::Overrun(_)
            | SlotEvent::Drained
            | SlotEvent::Ended(_)
            | SlotEvent::NotStarted(_)
            | SlotEvent::Withdrawn
            | SlotEvent::Deadline => {}
        }
    }

    fn starting(
        &mut self,
        process: Process,
        event: SlotEvent<'_>,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        match event {
            SlotEvent::Ready => self.told(process, course, turn),
            SlotEvent::Deadline if process.is_ready(turn.now) => self.ready(process, course, turn),
            SlotEvent::Deadline if process.is_overdue(turn.now) => {
                self.overdue(process, course, turn);
            }
            SlotEvent::Ended(exit) => self.died_early(process, exit, course, turn),
            SlotEvent::NotStarted(reason) => self.not_started(process, reason, course, turn),
            SlotEvent::Withdrawn => {
                course.pacing.withdrawn(self.index, turn.now);
                self.enter(State::Stopped, Why::Withdrawn, turn);
            }
            SlotEvent::Down(cause) => {
                course.pacing.withdrawn(self.index, turn.now);
                self.leave(Leaving::drain(process, cause, &mut turn.effects), turn);
            }
            SlotEvent::Kill => {
                course.pacing.withdrawn(self.index, turn.now);
                self.leave(Leaving::kill(process, Cause::Close, &mut turn.effects), turn);
            }
            SlotEvent::Unhealthy(reason) => {
                course.pacing.withdrawn(self.index, turn.now);
                self.unhealthy(process, reason, course, turn);
            }
            SlotEvent::Overrun(reason) => {
                course.pacing.withdrawn(self.index, turn.now);
                self.overrun(process, reason, course, turn);
            }
            SlotEvent::Drained => {
                course.pacing.withdrawn(self.index, turn.now);
                self.signal(process, course, turn);
            }
            // A roll waits until it is ready.
            SlotEvent::Roll | SlotEvent::Up | SlotEvent::Retry | SlotEvent::Deadline => {}
        }
    }

    fn running(
        &mut self,
        process: Process,
        event: SlotEvent<'_>,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        match event {
            SlotEvent::Ended(exit) => self.died(process, exit, course, turn),
            // The shim took longer than a second to find out.
            SlotEvent::NotStarted(reason) => self.not_started(process, reason, course, turn),
            SlotEvent::Withdrawn => self.enter(State::Stopped, Why::Withdrawn, turn),
            SlotEvent::Down(cause) => {
                self.leave(Leaving::drain(process, cause, &mut turn.effects), turn);
            }
            SlotEvent::Kill => {
                self.leave(Leaving::kill(process, Cause::Close, &mut turn.effects), turn);
            }
            SlotEvent::Unhealthy(reason) => self.unhealthy(process, reason, course, turn),
            SlotEvent::Overrun(reason) => self.overrun(process, reason, course, turn),
            SlotEvent::Drained => self.signal(process, course, turn),
            SlotEvent::Roll => {
                self.rolling = true;
                match course.rules.successor {
                    Successor::Overlaps => {
                        self.precede(Predecessor::Serving(process), turn);
                        self.begin(course, turn);
                    }
                    Successor::Follows => {
                        let effects = &mut turn.effects;
                        self.leave(Leaving::drain(process, Cause::Replaced, effects), turn);
                    }
                }
            }
            SlotEvent::Deadline => self.grow_old(process, turn.now),
            SlotEvent::Up | SlotEvent::Retry | SlotEvent::Ready => {}
        }
    }

    fn stopping(
        &mut self,
        mut leaving: Leaving,
        event: SlotEvent<'_>,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        match event {
            SlotEvent::Ended(exit) => self.left(leaving, exit, course, turn),
            SlotEvent::NotStarted(_) | SlotEvent::Withdrawn => {
                self.gone(Why::Withdrawn, course, turn);
            }
            SlotEvent::Up => {
                // It is wanted again while it still leaves: what serves is the successor. What failed
                // has to end before the next one is thought of, and so has what was to restart now.
                let overlaps = course.rules.successor == Successor::Overlaps
                    && leaving.cause != Cause::Restarted;
                if overlaps && !self.is_failure(leaving) && self.predecessor.is_none() {
                    self.precede(Predecessor::Leaving(leaving), turn);
                    self.begin(course, turn);
                }
            }
            SlotEvent::Drained => {
                leaving.drained(&course.rules, turn.now, &mut turn.effects);
                self.state = State::Stopping(leaving);
            }
            SlotEvent::Deadline => {
                leaving.deadline(&course.rules, turn.now, &mut turn.effects);
                self.state = State::Stopping(leaving);
            }
            SlotEvent::Kill => {
                leaving.kill_now(&mut turn.effects);
                self.state = State::Stopping(leaving);
            }
            SlotEvent::Overrun(reason) => {
                self.overrun_leaving(&mut leaving, reason, turn);
                self.state = State::Stopping(leaving);
            }
            SlotEvent::Down(_)
            | SlotEvent::Retry
            | SlotEvent::Roll
            | SlotEvent::Ready
            | SlotEvent::Unhealthy(_) => {}
        }
    }

    fn exited(&mut self, event: SlotEvent<'_>, turn: &mut Turn) {
        match event {
            SlotEvent::Down(cause) => self.enter(State::Stopped, leaves(cause), turn),
            SlotEvent::Kill => self.enter(State::Stopped, leaves(Cause::Close), turn),
            SlotEvent::Up
            | SlotEvent::Retry
            | SlotEvent::Roll
            | SlotEvent::Ready
            | SlotEvent::Unhealthy(_)
            | SlotEvent::Overrun(_)
            | SlotEvent::Drained
            | SlotEvent::Ended(_)
            | SlotEvent::NotStarted(_)
            | SlotEvent::Withdrawn
            | SlotEvent::Deadline => {}
        }
    }

    /// Handles an event that concerns the predecessor.
    pub(super) fn handle_predecessor(
        &mut self,
        event: SlotEvent<'_>,
        course: &Course,
        turn: &mut Turn,
    ) {
        match self.predecessor {
            None => {}
            Some(Predecessor::Serving(process)) => self.serving(process, event, course, turn),
            Some(Predecessor::Leaving(leaving)) => self.leaving(leaving, event, course, turn),
        }
        self.end_roll();
    }

    fn serving(
        &mut self,
        process: Process,
        event: SlotEvent<'_>,
        course: &Course,
        turn: &mut Turn,
    ) {
        let effects = &mut turn.effects;
        let leaving = match event {
            SlotEvent::Down(cause) => Leaving::drain(process, cause, effects),
            SlotEvent::Kill => Leaving::kill(process, Cause::Close, effects),
            SlotEvent::Drained => {
                Leaving::signal(process, Cause::Surplus, &course.rules, turn.now, effects)
            }
            SlotEvent::Unhealthy(reason) => {
                self.blame(process, reason);
                Leaving::signal(process, Cause::Unhealthy, &course.rules, turn.now, effects)
            }
            SlotEvent::Overrun(reason) => {
                self.blame(process, reason);
                effects.push(Effect::Charge(process.worker));
                Leaving::kill(process, Cause::Overrun, effects)
            }
            SlotEvent::Ended(exit) => {
                let why = self.death(process, exit, turn.now).why(Next::Nothing);
                return self.bereave(process, why, turn);
            }
            SlotEvent::NotStarted(_) | SlotEvent::Withdrawn => {
                return self.bereave(process, Why::Withdrawn, turn);
            }
            SlotEvent::Up
            | SlotEvent::Retry
            | SlotEvent::Roll
            | SlotEvent::Ready
            | SlotEvent::Deadline => return,
        };
        self.precede(Predecessor::Leaving(leaving), turn);
    }

    fn leaving(
        &mut self,
        mut leaving: Leaving,
        event: SlotEvent<'_>,
        course: &Course,
        turn: &mut Turn,
    ) {
        match event {
            SlotEvent::Drained => {
                leaving.drained(&course.rules, turn.now, &mut turn.effects);
                self.predecessor = Some(Predecessor::Leaving(leaving));
            }
            SlotEvent::Deadline => {
                leaving.deadline(&course.rules, turn.now, &mut turn.effects);
                self.predecessor = Some(Predecessor::Leaving(leaving));
            }
            SlotEvent::Kill => {
                leaving.kill_now(&mut turn.effects);
                self.predecessor = Some(Predecessor::Leaving(leaving));
            }
            SlotEvent::Overrun(reason) => {
                self.overrun_leaving(&mut leaving, reason, turn);
                self.predecessor = Some(Predecessor::Leaving(leaving));
            }
            SlotEvent::Ended(exit) => {
                let why = self.departure(leaving, exit, Next::Nothing, turn.now);
                self.bereave(leaving.process, why, turn);
            }
            SlotEvent::NotStarted(_) | SlotEvent::Withdrawn => {
                self.bereave(leaving.process, Why::Withdrawn, turn);
            }
            SlotEvent::Up
            | SlotEvent::Retry
            | SlotEvent::Down(_)
            | SlotEvent::Roll
            | SlotEvent::Unhealthy(_)
            | SlotEvent::Ready => {}
        }
    }

    /// The roll goes on to the next slot once this one has only its new process.
    fn end_roll(&mut self) {
        let rests = matches!(self.state, State::Running(_) | State::Exited(_));
        let done = rests && self.predecessor.is_none();
        self.rolling &= self.wanted == Wanted::Up && !done;
    }
}

fn leaves(cause: Cause) -> Why {
    Why::Leaves(cause, String::new())
}
