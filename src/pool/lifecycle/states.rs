//! What each event does in each state of a slot: one function per state, each over every event.

use super::event::{Next, Note, Successor};
use super::leaving::Leaving;
use super::slot::{Course, Predecessor, Process, Slot, SlotEvent, State, Turn, Wanted};
use super::steps::short;

impl Slot {
    /// Handles an event that concerns the slot or its current process.
    pub(super) fn handle(&mut self, event: SlotEvent<'_>, course: &mut Course, turn: &mut Turn) {
        match self.state {
            State::Stopped => self.stopped(event, course, turn),
            State::Backoff { .. } => self.backoff(event, course, turn),
            State::Starting(process) => self.starting(process, event, course, turn),
            State::Running(process) => self.running(process, event, course, turn),
            State::Stopping(leaving) => self.stopping(leaving, event, course, turn),
        }
        self.end_roll();
    }

    fn stopped(&mut self, event: SlotEvent<'_>, course: &mut Course, turn: &mut Turn) {
        match event {
            SlotEvent::Up => self.begin(course, turn),
            SlotEvent::Retry
            | SlotEvent::Down
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
            SlotEvent::Retry => self.start(course, turn),
            SlotEvent::Down | SlotEvent::Kill => self.enter(State::Stopped, turn),
            // A roll has nothing to replace: the next process is a new one in any case.
            SlotEvent::Roll
            | SlotEvent::Up
            | SlotEvent::Ready
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
            SlotEvent::Ready => self.ready(process, course, turn),
            SlotEvent::Deadline if process.ready_at().is_some_and(|at| at <= turn.now) => {
                self.ready(process, course, turn);
            }
            SlotEvent::Ended(exit) => {
                let after = turn.now.saturating_duration_since(process.started);
                self.note_exit(process, exit, false, turn.now);
                let reason = format!("{exit} after {}, before it was ready", short(after));
                let next = self.fail(reason, course, turn);
                self.tell(process, Note::Died { exit, after, next }, turn);
            }
            SlotEvent::NotStarted(reason) => self.not_started(process, reason, course, turn),
            SlotEvent::Withdrawn => {
                course.pacing.withdrawn(self.index, turn.now);
                self.enter(State::Stopped, turn);
            }
            SlotEvent::Down => {
                course.pacing.withdrawn(self.index, turn.now);
                let leaving = Leaving::drain(process, &mut turn.effects);
                self.enter(State::Stopping(leaving), turn);
            }
            SlotEvent::Kill => {
                course.pacing.withdrawn(self.index, turn.now);
                let leaving = Leaving::kill(process, &mut turn.effects);
                self.enter(State::Stopping(leaving), turn);
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
            SlotEvent::Withdrawn => self.enter(State::Stopped, turn),
            SlotEvent::Down => {
                let leaving = Leaving::drain(process, &mut turn.effects);
                self.enter(State::Stopping(leaving), turn);
            }
            SlotEvent::Kill => {
                let leaving = Leaving::kill(process, &mut turn.effects);
                self.enter(State::Stopping(leaving), turn);
            }
            SlotEvent::Drained => self.signal(process, course, turn),
            SlotEvent::Roll => {
                self.rolling = true;
                match course.rules.successor {
                    Successor::Overlaps => {
                        self.precede(Predecessor::Serving(process), turn);
                        self.begin(course, turn);
                    }
                    Successor::Follows => {
                        let leaving = Leaving::drain(process, &mut turn.effects);
                        self.enter(State::Stopping(leaving), turn);
                    }
                }
            }
            SlotEvent::Up | SlotEvent::Retry | SlotEvent::Ready | SlotEvent::Deadline => {}
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
            SlotEvent::Ended(exit) => {
                self.note_exit(leaving.process, exit, true, turn.now);
                self.tell(leaving.process, Note::Stopped(exit), turn);
                self.gone(course, turn);
            }
            SlotEvent::NotStarted(_) | SlotEvent::Withdrawn => self.gone(course, turn),
            SlotEvent::Up => {
                // It is wanted again while it still leaves: what serves is the successor.
                if course.rules.successor == Successor::Overlaps && self.predecessor.is_none() {
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
            SlotEvent::Down | SlotEvent::Retry | SlotEvent::Roll | SlotEvent::Ready => {}
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
        match event {
            SlotEvent::Down => {
                let leaving = Leaving::drain(process, effects);
                self.precede(Predecessor::Leaving(leaving), turn);
            }
            SlotEvent::Kill => {
                let leaving = Leaving::kill(process, effects);
                self.precede(Predecessor::Leaving(leaving), turn);
            }
            SlotEvent::Drained => {
                let leaving = Leaving::signal(process, &course.rules, turn.now, effects);
                self.precede(Predecessor::Leaving(leaving), turn);
            }
            SlotEvent::Ended(exit) => {
                self.note_exit(process, exit, false, turn.now);
                let after = turn.now.saturating_duration_since(process.started);
                self.tell(process, Note::Died { exit, after, next: Next::Nothing }, turn);
                self.predecessor = None;
            }
            SlotEvent::NotStarted(_) | SlotEvent::Withdrawn => self.predecessor = None,
            SlotEvent::Up
            | SlotEvent::Retry
            | SlotEvent::Roll
            | SlotEvent::Ready
            | SlotEvent::Deadline => {}
        }
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
            SlotEvent::Ended(exit) => {
                self.note_exit(leaving.process, exit, true, turn.now);
                self.tell(leaving.process, Note::Stopped(exit), turn);
                self.predecessor = None;
            }
            SlotEvent::NotStarted(_) | SlotEvent::Withdrawn => self.predecessor = None,
            SlotEvent::Up
            | SlotEvent::Retry
            | SlotEvent::Down
            | SlotEvent::Roll
            | SlotEvent::Ready => {}
        }
    }

    /// The roll goes on to the next slot once this one has only its new process.
    fn end_roll(&mut self) {
        let done = matches!(self.state, State::Running(_)) && self.predecessor.is_none();
        self.rolling &= self.wanted == Wanted::Up && !done;
    }
}
