//! The canary of a roll: one new process has to prove itself before the others follow.
//!
//! ```text
//!          begin                 a slot is free            job done, or lived on
//!   Off ──────────▶ Due ──────────────────▶ Underway ───────────────▶ Off
//!                    ▲     stopped meanwhile    │ fails
//!                    ├──────────────────────────┘ ▼
//!                    └───────── begin ──────── Failed
//! ```
//! Until it has proved itself the process that it is to replace serves on beside it, and whatever
//! else is started runs the former program. If it fails the old processes stay, until an edit, a
//! changed file or an operator asks for another try.

use std::time::Instant;

use super::event::{DeployStep, Effect, Successor};
use super::leaving::Leaving;
use super::roster::Roster;
use super::slot::{Course, Failure, Predecessor, Rest, Slot, SlotEvent, State, Turn, Wanted};
use super::why::{Cause, Next, Why};
use crate::pool::SlotState;

/// A canary may so often end as its `exit_codes` let it before it has shown anything.
const EXITS_MAX: u32 = 3;

/// How far the canary of a pool is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Trial {
    /// There is none.
    #[default]
    Off,
    /// The next slot that can be replaced is to have it.
    Due,
    /// A slot has it.
    Underway,
    /// It failed, in this slot and for this.
    Failed { index: u32, reason: String },
}

/// What the canary of a slot has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proof {
    /// It has lived long enough then; `None` while it was never ready.
    until: Option<Instant>,
    /// It has done a job.
    has_worked: bool,
    /// How often it ended as it may.
    exits: u32,
}

impl Proof {
    /// When it has lived long enough.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    fn is_given(&self, now: Instant) -> bool {
        self.has_worked || self.until.is_some_and(|until| until <= now)
    }
}

impl Trial {
    /// Whether the other slots wait for its outcome.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Due | Self::Underway => true,
            Self::Off | Self::Failed { .. } => false,
        }
    }
}

impl Roster {
    /// The next roll has a canary, if there is anything that it could protect.
    pub(super) fn begin_trial(&mut self, turn: &mut Turn) {
        self.abandon_trial(turn);
        let living = self.slots.values().filter(|slot| slot.process().is_some()).count();
        // One process that ends before its successor begins can only be given its old program back.
        let protects = match self.course.rules.successor {
            Successor::Overlaps => living > 0,
            Successor::Follows => living > 1 || living > 0 && !self.is_proven(),
        };
        if self.course.rules.canary.is_some() && protects {
            self.course.trial = Trial::Due;
        } else {
            self.prove();
        }
    }

    /// Takes a canary that is under way back: another one is to come, or none.
    pub(super) fn abandon_trial(&mut self, turn: &mut Turn) {
        self.course.trial = Trial::Off;
        for slot in self.slots.values_mut() {
            if slot.proof.take().is_some() {
                slot.take_back(turn);
            }
        }
    }

    /// Whatever is started from now on runs the program of the file.
    pub(super) fn prove(&mut self) {
        self.course.trial = Trial::Off;
        self.course.proven = self.course.generation;
    }

    /// Whether everything that is started runs the program of the file.
    pub fn is_proven(&self) -> bool {
        self.course.proven == self.course.generation
    }

    /// Whether the last canary failed, and nothing has been tried since.
    pub fn has_failed_trial(&self) -> bool {
        matches!(self.course.trial, Trial::Failed { .. })
    }

    /// Whether there is a canary, or one that failed.
    pub fn has_trial(&self) -> bool {
        self.course.trial != Trial::Off
    }

    /// Moves the canary on, as far as it can.
    pub(super) fn try_canary(&mut self, turn: &mut Turn) {
        if self.course.trial == Trial::Underway {
            self.judge_canary(turn);
        }
        if self.course.trial == Trial::Due {
            self.choose_canary(turn);
        }
        self.note_failed_trial(turn);
    }

    fn judge_canary(&mut self, turn: &mut Turn) {
        let Some(slot) = self.slots.values_mut().find(|slot| slot.proof.is_some()) else {
            self.course.trial = Trial::Due;
            return;
        };
        let (Some(proof), alive) = (&mut slot.proof, self.course.rules.canary) else { return };
        let is_done = match slot.state {
            _ if slot.wanted != Wanted::Up => {
                slot.proof = None;
                self.course.trial = Trial::Due;
                return;
            }
            State::Running(_) => {
                let alive = alive.unwrap_or_default();
                proof.until = proof.until.or_else(|| turn.now.checked_add(alive));
                proof.is_given(turn.now)
            }
            State::Exited(rest) => rest == Rest::Done,
            State::Stopped | State::Backoff { .. } | State::Starting(_) | State::Stopping(_) => {
                false
            }
        };
        if is_done {
            slot.proof = None;
            let step = DeployStep::Proved { index: slot.index };
            turn.effects.push(Effect::Deploy(step));
            slot.handle_predecessor(SlotEvent::Down(Cause::Replaced), &self.course, turn);
            self.prove();
        }
    }

    fn choose_canary(&mut self, turn: &mut Turn) {
        if let Some(slot) = self.slots.values_mut().find(|slot| slot.can_roll()) {
            slot.proof = Some(Proof::default());
            slot.wear = None;
            self.course.trial = Trial::Underway;
            turn.effects.push(Effect::Deploy(DeployStep::Began { index: slot.index }));
            slot.handle(SlotEvent::Roll, &mut self.course, turn);
        } else if !self.slots.values().any(|slot| slot.roll_wanted && slot.process().is_some()) {
            // Nothing serves that a canary could protect.
            self.prove();
        }
    }

    /// A canary has failed in this turn: nothing else is replaced, and who waits for it is told.
    pub(super) fn note_failed_trial(&mut self, turn: &mut Turn) {
        let Some((index, reason)) = turn.failed_trial.take() else { return };
        let canary = self.pool.worker(index);
        let told = format!("the canary {canary} failed: {reason}; the old workers serve on");
        turn.failures.retain(|failure| failure.index != index);
        for slot in self.slots.values_mut() {
            if slot.roll_wanted || slot.index == index {
                turn.failures.push(Failure::without_process(slot.index, told.clone()));
                slot.roll_wanted = false;
            }
        }
        turn.effects.push(Effect::Deploy(DeployStep::Failed { index, reason: reason.clone() }));
        self.course.trial = Trial::Failed { index, reason };
    }
}

impl Slot {
    /// Whether its process can be replaced now.
    pub(super) fn can_roll(&self) -> bool {
        let serves = matches!(self.state, State::Running(_)) && self.predecessor.is_none();
        let is_free = self.wanted == Wanted::Up && self.asked == super::slot::Asked::No;
        self.roll_wanted && serves && is_free
    }

    /// Its canary has ended a job well.
    pub(super) fn note_work(&mut self) {
        if let Some(proof) = &mut self.proof {
            proof.has_worked = true;
        }
    }

    /// Whether a process that ended is no canary that has failed by it: one that ended as it may
    /// is judged by its successor.
    pub(super) fn is_excused(&mut self, is_expected: bool) -> bool {
        let Some(proof) = &mut self.proof else { return true };
        proof.exits += 1;
        is_expected && (proof.has_worked || proof.exits < EXITS_MAX)
    }

    /// Its canary is gone and has failed: the old process serves on, or another one of the old
    /// program is started.
    pub(super) fn fall_back(
        &mut self,
        reason: String,
        course: &mut Course,
        turn: &mut Turn,
        why: impl FnOnce(Next) -> Why,
    ) {
        self.fail_trial(reason, course, turn);
        if let Some(Predecessor::Serving(process)) = self.predecessor {
            self.predecessor = None;
            self.rolling = false;
            return self.enter(State::Running(process), why(Next::FallsBack), turn);
        }
        self.enter(State::Stopped, why(Next::FallsBack), turn);
        if self.wanted == Wanted::Up {
            self.begin(course, turn);
        }
    }

    /// Its canary has failed and is about to leave.
    pub(super) fn fall_back_from(
        &mut self,
        leaving: Leaving,
        reason: String,
        course: &mut Course,
        turn: &mut Turn,
    ) {
        self.fail_trial(reason, course, turn);
        self.give_way(leaving, turn);
    }

    fn fail_trial(&mut self, reason: String, course: &mut Course, turn: &mut Turn) {
        self.proof = None;
        self.roll_wanted = false;
        course.trial = Trial::Off;
        course.pacing.withdrawn(self.index, turn.now);
        turn.failed_trial = Some((self.index, reason));
    }

    /// Ends a canary that did nothing wrong, where its predecessor can serve on.
    fn take_back(&mut self, turn: &mut Turn) {
        let Some(Predecessor::Serving(old)) = self.predecessor else { return };
        let leaving = match self.state {
            State::Starting(process) | State::Running(process) => {
                Leaving::drain(process, Cause::Replaced, &mut turn.effects)
            }
            State::Stopping(leaving) => leaving,
            State::Stopped | State::Backoff { .. } | State::Exited(_) => {
                self.predecessor = None;
                self.rolling = false;
                return self.enter(State::Running(old), Why::ServesOn, turn);
            }
        };
        self.give_way(leaving, turn);
    }

    /// Its process leaves; a predecessor that still serves is what counts again.
    fn give_way(&mut self, leaving: Leaving, turn: &mut Turn) {
        let Some(Predecessor::Serving(old)) = self.predecessor else {
            return self.leave(leaving, turn);
        };
        let why = Why::Leaves(leaving.cause, self.blame_of(leaving.process));
        self.enter(State::Running(old), Why::ServesOn, turn);
        self.predecessor = Some(Predecessor::Leaving(leaving));
        self.predecessor_since = turn.now;
        self.rolling = false;
        let states = (SlotState::Running, SlotState::Stopping);
        self.move_predecessor(leaving.process, states, why, turn);
    }
}
