//! Requests that wait for their effect.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Effect, RequestId};
use super::slot::{Failure, Slot, State, Turn, Wanted};
use crate::config::Run;
use crate::model::{PoolName, WorkerId};

/// The open requests of a pool.
#[derive(Debug)]
pub(super) struct Requests {
    pool: PoolName,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    request: RequestId,
    goal: Goal,
    /// The slots that have not come to it so far; `None`: all that there are when the turn is over.
    pending: Option<BTreeSet<u32>>,
}

/// What a request waits for, in each of its slots. A slot that has come to it counts, whatever
/// happens to it later: where workers are killed all the time there may be no moment at which all
/// are well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// It is ready.
    Up,
    /// It has no process; all of them at once.
    Gone,
    /// It has only a ready process, with an id above `after`.
    Rolled { after: WorkerId },
    /// It is as it is wanted.
    Settled,
}

impl Requests {
    pub(super) fn new(pool: PoolName) -> Self {
        Self { pool, open: Vec::new() }
    }

    /// Keeps a request until these slots have come to its goal; `None`: all.
    pub(super) fn open(&mut self, request: RequestId, goal: Goal, slots: Option<Vec<u32>>) {
        let pending = slots.map(|slots| slots.into_iter().collect());
        self.open.push(Open { request, goal, pending });
    }

    /// Answers what has come about, and what has failed in this turn.
    pub(super) fn settle(&mut self, slots: &BTreeMap<u32, Slot>, turn: &mut Turn) {
        let Turn { effects, failures, .. } = turn;
        self.open.retain_mut(|open| match open.outcome(slots, failures) {
            None => true,
            Some(outcome) => {
                let told = |(index, what)| format!("{}: {what}", self.pool.worker(index));
                let outcome = outcome.map_err(told);
                effects.push(Effect::Answer(open.request, outcome));
                false
            }
        });
    }

    /// Refuses what waits for processes to be replaced.
    pub(super) fn refuse_rolls(&mut self, reason: &str, turn: &mut Turn) {
        self.refuse(|goal| matches!(goal, Goal::Rolled { .. }), reason, turn);
    }

    /// Refuses all that waits for a start.
    pub(super) fn refuse_starts(&mut self, reason: &str, turn: &mut Turn) {
        self.refuse(|goal| *goal != Goal::Gone, reason, turn);
    }

    fn refuse(&mut self, is_refused: impl Fn(&Goal) -> bool, reason: &str, turn: &mut Turn) {
        for open in self.open.extract_if(.., |open| is_refused(&open.goal)) {
            turn.effects.push(Effect::Answer(open.request, Err(reason.to_owned())));
        }
    }
}

/// Done, or which slot failed and how.
type Outcome = Result<(), (u32, String)>;

impl Open {
    fn outcome(&mut self, slots: &BTreeMap<u32, Slot>, failures: &[Failure]) -> Option<Outcome> {
        let goal = self.goal;
        let pending = self.pending.get_or_insert_with(|| slots.keys().copied().collect());
        let failed = |failure: &&Failure| goal.minds(failure) && pending.contains(&failure.index);
        if let Some(Failure { index, reason, .. }) = failures.iter().find(failed) {
            return Some(Err((*index, reason.clone())));
        }
        if goal != Goal::Gone {
            pending.retain(|index| slots.get(index).is_some_and(|slot| !goal.is_reached(slot)));
        }
        let mut waiting = pending.iter().filter_map(|index| slots.get(index));
        if let Some((index, what)) = waiting.clone().find_map(|slot| goal.thwarted(slot)) {
            return Some(Err((index, what.to_owned())));
        }
        waiting.all(|slot| goal.is_reached(slot)).then_some(Ok(()))
    }
}

impl Goal {
    fn is_reached(self, slot: &Slot) -> bool {
        match (self, slot.wanted) {
            (Self::Gone, _) | (Self::Settled, Wanted::Down) => slot.is_empty(),
            (Self::Settled, Wanted::Up) => slot.is_settled(),
            (Self::Up, Wanted::Up) => slot.is_up(),
            (Self::Rolled { after }, Wanted::Up) => {
                let is_newer = slot.process().is_none_or(|process| process.worker > after);
                slot.is_settled() && slot.is_up() && is_newer
            }
            // It was let go, and does not count, or is an operator's affair.
            (Self::Up | Self::Rolled { .. }, Wanted::Down) | (Self::Settled, Wanted::Held) => true,
            (Self::Up | Self::Rolled { .. }, Wanted::Held) => false,
        }
    }

    /// What keeps a slot from coming to it.
    fn thwarted(self, slot: &Slot) -> Option<(u32, &'static str)> {
        match (self, slot.wanted) {
            (Self::Up | Self::Rolled { .. }, Wanted::Held) => {
                Some((slot.index, "was stopped meanwhile"))
            }
            (Self::Gone, Wanted::Up) => Some((slot.index, "was started again meanwhile")),
            (Self::Up | Self::Rolled { .. } | Self::Gone | Self::Settled, _) => None,
        }
    }

    /// Whether a failure of one of its slots is its failure.
    fn minds(self, failure: &Failure) -> bool {
        match self {
            Self::Up | Self::Rolled { .. } => true,
            Self::Settled => !failure.of_former,
            Self::Gone => false,
        }
    }
}

impl Slot {
    /// It is ready, or has run to its end.
    fn is_up(&self) -> bool {
        match &self.state {
            State::Running(process) => process.run == Run::Serve,
            State::Exited(_) => true,
            State::Stopped | State::Backoff { .. } | State::Starting(_) | State::Stopping(_) => {
                false
            }
        }
    }
}
