//! Requests that wait for their effect.

use std::collections::BTreeMap;

use super::event::{Effect, RequestId};
use super::slot::{Failure, Slot, State, Turn, Wanted};
use crate::config::Run;
use crate::model::{PoolName, WorkerId};

/// The open requests of a pool.
#[derive(Debug)]
pub(super) struct Requests {
    pool: PoolName,
    open: Vec<(RequestId, Goal)>,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Goal {
    /// These slots are ready.
    Up(Vec<u32>),
    /// These slots have no process.
    Gone(Vec<u32>),
    /// These slots have only ready processes with ids above `after`.
    Rolled { slots: Vec<u32>, after: WorkerId },
    /// Every slot is as it is wanted.
    Settled,
}

impl Requests {
    pub(super) fn new(pool: PoolName) -> Self {
        Self { pool, open: Vec::new() }
    }

    /// Keeps a request until it is settled.
    pub(super) fn open(&mut self, request: RequestId, goal: Goal) {
        self.open.push((request, goal));
    }

    /// Answers what has come about, and what has failed in this turn.
    pub(super) fn settle(&mut self, slots: &BTreeMap<u32, Slot>, turn: &mut Turn) {
        let Turn { effects, failures, .. } = turn;
        self.open.retain(|(request, goal)| match goal.outcome(slots, failures) {
            None => true,
            Some(outcome) => {
                let told = |(index, what)| format!("{}: {what}", self.pool.worker(index));
                let outcome = outcome.map_err(told);
                effects.push(Effect::Answer(*request, outcome));
                false
            }
        });
    }

    /// Refuses what waits for processes to be replaced.
    pub(super) fn refuse_rolls(&mut self, reason: &str, turn: &mut Turn) {
        self.open.retain(|(request, goal)| {
            let stays = !matches!(goal, Goal::Rolled { .. });
            if !stays {
                turn.effects.push(Effect::Answer(*request, Err(reason.to_owned())));
            }
            stays
        });
    }

    /// Refuses all that waits for a start.
    pub(super) fn refuse_starts(&mut self, reason: &str, turn: &mut Turn) {
        self.open.retain(|(request, goal)| {
            let stays = matches!(goal, Goal::Gone(_));
            if !stays {
                turn.effects.push(Effect::Answer(*request, Err(reason.to_owned())));
            }
            stays
        });
    }
}

/// Done, or which slot failed and how.
type Outcome = Result<(), (u32, String)>;

impl Goal {
    fn outcome(&self, slots: &BTreeMap<u32, Slot>, failures: &[Failure]) -> Option<Outcome> {
        match self {
            Self::Up(wanted) => {
                let failed = failure(failures, |failure| wanted.contains(&failure.index));
                failed.or_else(|| all_up(wanted, slots, Slot::is_up))
            }
            Self::Rolled { slots: wanted, after } => {
                let failed = failure(failures, |failure| wanted.contains(&failure.index));
                let is_new = |slot: &Slot| {
                    let is_newer = slot.process().is_none_or(|p| p.worker > *after);
                    slot.is_settled() && slot.is_up() && is_newer
                };
                failed.or_else(|| all_up(wanted, slots, is_new))
            }
            Self::Gone(wanted) => {
                let gone = |index: &u32| slots.get(index).is_none_or(Slot::is_empty);
                let again = |index: &&u32| slots.get(index).is_some_and(Slot::is_wanted);
                match wanted.iter().find(again) {
                    Some(index) => Some(Err((*index, "was started again meanwhile".to_owned()))),
                    None => wanted.iter().all(gone).then_some(Ok(())),
                }
            }
            Self::Settled => {
                failure(failures, |failure| !failure.of_former).or_else(|| {
                    let settled = |slot: &Slot| match slot.wanted {
                        Wanted::Up => slot.is_settled(),
                        Wanted::Down => slot.is_empty(),
                        // An operator's affair.
                        Wanted::Held => true,
                    };
                    slots.values().all(settled).then_some(Ok(()))
                })
            }
        }
    }
}

/// The failure of a slot that matters to a request.
fn failure(failures: &[Failure], matters: impl Fn(&Failure) -> bool) -> Option<Outcome> {
    let found = failures.iter().find(|failure| matters(failure))?;
    Some(Err((found.index, found.reason.clone())))
}

/// `Ok` when every slot that is still wanted is `good`; those that were let go do not count.
fn all_up(
    wanted: &[u32],
    slots: &BTreeMap<u32, Slot>,
    good: impl Fn(&Slot) -> bool,
) -> Option<Outcome> {
    let mut wanted = wanted.iter().filter_map(|index| slots.get(index));
    let held = |slot: &&Slot| slot.wanted == Wanted::Held;
    if let Some(slot) = wanted.clone().find(held) {
        return Some(Err((slot.index, "was stopped meanwhile".to_owned())));
    }
    wanted.all(|slot| slot.wanted == Wanted::Down || good(slot)).then_some(Ok(()))
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

    fn is_wanted(&self) -> bool {
        self.wanted == Wanted::Up
    }
}
