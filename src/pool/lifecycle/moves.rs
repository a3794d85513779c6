//! How a slot comes from one state to the next: every change is told with its reason.

use super::event::{Effect, Move};
use super::leaving::Leaving;
use super::slot::{Asked, Predecessor, Process, Slot, State, Turn};
use super::why::Why;
use crate::pool::{SlotRole, SlotState};

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
