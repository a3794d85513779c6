//! The steps that a slot's states share.

use std::time::{Duration, Instant};

use super::event::{Effect, Next, Note};
use super::leaving::Leaving;
use super::pacing::{Draw, Pause};
use super::slot::{Asked, Course, Predecessor, Process, Slot, SlotEvent, State, Turn, Wanted};
use crate::model::Exit;
use crate::pool::LastExit;

/// A ready worker that fails sooner than this after its start has failed quickly.
const QUICK: Duration = Duration::from_secs(1);

/// So many quick failures in a row of a ready worker are replaced at once; more of them pause, so
/// that a program that registers and crashes does not take a processor for itself.
const QUICK_FAILURES_MAX: u32 = 5;

impl Slot {
    pub(super) fn enter(&mut self, state: State, turn: &Turn) {
        self.state = state;
        self.since = turn.now;
        self.asked = Asked::No;
    }

    pub(super) fn precede(&mut self, predecessor: Predecessor, turn: &Turn) {
        self.predecessor = Some(predecessor);
        self.predecessor_since = turn.now;
    }

    /// Starts a process, unless the pool's starts fail just now.
    pub(super) fn begin(&mut self, course: &mut Course, turn: &mut Turn) {
        if course.pacing.is_open() {
            self.start(course, turn);
        } else {
            self.enter(State::Backoff { until: None }, turn);
        }
    }

    pub(super) fn start(&mut self, course: &mut Course, turn: &mut Turn) {
        let worker = course.ids.next();
        let process =
            Process { worker, generation: course.generation, started: turn.now, is_started: false };
        course.pacing.started(self.index);
        turn.effects.push(Effect::Start { worker, index: self.index });
        self.roll_wanted = false;
        self.enter(State::Starting(process), turn);
    }

    pub(super) fn ready(&mut self, process: Process, course: &mut Course, turn: &mut Turn) {
        course.pacing.succeeded();
        if self.quick_failures == 0 {
            self.failures = 0;
        }
        self.trouble.clear();
        let asked = self.asked;
        self.enter(State::Running(process), turn);
        self.asked = asked;
        let after = turn.now.saturating_duration_since(process.started);
        self.tell(process, Note::Ready { after }, turn);
        self.handle_predecessor(SlotEvent::Down, course, turn);
    }

    /// A ready process ended by itself.
    pub(super) fn died(
        &mut self,
        process: Process,
        exit: Exit,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        let after = turn.now.saturating_duration_since(process.started);
        self.note_exit(process, exit, false, turn.now);
        if after < QUICK && !exit.is_success() {
            self.quick_failures += 1;
        } else {
            self.quick_failures = 0;
            self.failures = 0;
        }
        let next = if self.wanted != Wanted::Up {
            self.enter(State::Stopped, turn);
            Next::Nothing
        } else if self.quick_failures > QUICK_FAILURES_MAX {
            let reason = format!("{exit} after {}", short(after));
            self.fail(reason, course, turn)
        } else {
            self.restarts += 1;
            self.start(course, turn);
            Next::Replaced
        };
        self.tell(process, Note::Died { exit, after, next }, turn);
    }

    /// A process could not be started.
    pub(super) fn not_started(
        &mut self,
        process: Process,
        reason: &str,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        let next = self.fail(reason.to_owned(), course, turn);
        self.tell(process, Note::NotStarted { reason: reason.to_owned(), next }, turn);
    }

    /// A process failed: the slot pauses.
    pub(super) fn fail(&mut self, reason: String, course: &mut Course, turn: &mut Turn) -> Next {
        self.failures = self.failures.saturating_add(1);
        self.restarts += 1;
        let draw = Draw { now: turn.now, random: turn.random };
        let backoff = course.rules.backoff;
        let pause = course.pacing.failed(self.index, self.failures, &backoff, draw);
        turn.failures.push((self.index, reason.clone()));
        self.trouble = reason;
        let (until, next) = match pause {
            Pause::For(pause) => (Some(turn.now + pause), Next::Pause(pause)),
            Pause::Turn => (None, Next::Turn),
        };
        if self.wanted == Wanted::Up {
            self.enter(State::Backoff { until }, turn);
            next
        } else {
            self.enter(State::Stopped, turn);
            Next::Nothing
        }
    }

    /// A process that was to stop has ended.
    pub(super) fn gone(&mut self, course: &mut Course, turn: &mut Turn) {
        match self.wanted {
            Wanted::Up => self.begin(course, turn),
            Wanted::Down | Wanted::Held => self.enter(State::Stopped, turn),
        }
    }

    pub(super) fn signal(&mut self, process: Process, course: &Course, turn: &mut Turn) {
        let leaving = Leaving::signal(process, &course.rules, turn.now, &mut turn.effects);
        self.enter(State::Stopping(leaving), turn);
    }

    pub(super) fn note_exit(&mut self, process: Process, exit: Exit, asked: bool, at: Instant) {
        self.last_exit = Some(LastExit { worker: process.worker, exit, at, asked });
    }

    pub(super) fn tell(&self, process: Process, note: Note, turn: &mut Turn) {
        turn.effects.push(Effect::Note { index: self.index, worker: process.worker, note });
    }
}

/// `0.02 s`, `45 s`.
pub(super) fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.0} s") }
}
