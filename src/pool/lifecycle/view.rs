//! What the table shows of itself.

use std::time::Instant;

use super::roster::Roster;
use super::slot::{Predecessor, Process, Rest, Slot, State, Wanted};
use super::why::short;
use crate::model::WorkerId;
use crate::pool::{LastExit, SlotRole, SlotState};

/// One process of a slot, or an empty slot.
#[derive(Clone, Debug)]
pub struct SeatView {
    /// The slot's number.
    pub index: u32,
    /// Whether this is the slot's present or its outgoing process.
    pub role: SlotRole,
    /// Its state.
    pub state: SlotState,
    /// The state in more words; may be empty.
    pub detail: String,
    /// The process, while there is one.
    pub worker: Option<WorkerId>,
    /// When the state was entered.
    pub since: Instant,
    /// When the process was started.
    pub started: Option<Instant>,
    /// Whether it is down against what is wanted.
    pub failed: bool,
    /// How often the slot's process was replaced after it had died by itself.
    pub restarts: u64,
    /// How the slot's previous process ended.
    pub last_exit: Option<LastExit>,
    /// True when it runs a program that is no longer the pool's.
    pub outdated: bool,
}

impl Roster {
    /// Every process and empty slot, by number; a predecessor after its successor.
    pub fn seats(&self) -> impl Iterator<Item = SeatView> {
        let generation = self.course.generation;
        let hurdle = self.hurdle().map_or("", |hurdle| &hurdle.why);
        self.slots.values().flat_map(move |slot| {
            [Some(current(slot, generation, hurdle)), predecessor(slot, generation)]
                .into_iter()
                .flatten()
        })
    }
}

fn current(slot: &Slot, generation: u32, hurdle: &str) -> SeatView {
    let detail = match &slot.state {
        State::Stopped if slot.wanted == Wanted::Up => hurdle.to_owned(),
        State::Stopped | State::Running(_) => String::new(),
        State::Backoff { until } => pause_detail(slot, *until),
        State::Starting(_) => slot.trouble.clone(),
        State::Stopping(leaving) => leaving.detail(),
        State::Exited(Rest::NotYet) => "waits for its time".to_owned(),
        State::Exited(Rest::Done) => "has done its work".to_owned(),
        State::Exited(Rest::Failed) => "failed, and is not started again".to_owned(),
    };
    let shown = (slot.state.shown(), detail, slot.since);
    seat(slot, SlotRole::Current, slot.process(), generation, shown)
}

fn predecessor(slot: &Slot, generation: u32) -> Option<SeatView> {
    let process = slot.outgoing();
    let (state, detail) = match slot.predecessor.as_ref()? {
        Predecessor::Serving(_) => {
            (SlotState::Running, "serves until its successor is ready".to_owned())
        }
        Predecessor::Leaving(leaving) => (SlotState::Stopping, leaving.detail()),
    };
    let shown = (state, detail, slot.predecessor_since);
    Some(seat(slot, SlotRole::Predecessor, process, generation, shown))
}

fn seat(
    slot: &Slot,
    role: SlotRole,
    process: Option<Process>,
    generation: u32,
    (state, detail, since): (SlotState, String, Instant),
) -> SeatView {
    SeatView {
        index: slot.index,
        role,
        state,
        detail,
        worker: process.map(|process| process.worker),
        since,
        started: process.filter(|process| process.is_started).map(|process| process.started),
        failed: role == SlotRole::Current && slot.is_failed(),
        restarts: slot.restarts,
        last_exit: slot.last_exit.clone(),
        outdated: process.is_some_and(|process| process.generation != generation),
    }
}

/// `exit 1 after 0.02 s, before it was ready; 2 in a row, next try 1.20 s later`.
fn pause_detail(slot: &Slot, until: Option<Instant>) -> String {
    let next = match until {
        Some(until) => {
            format!("next try {} later", short(until.duration_since(slot.since)))
        }
        None => "one worker of the pool is tried at a time".to_owned(),
    };
    match slot.failures {
        0 => next,
        failures => format!("{}; {failures} in a row, {next}", slot.trouble),
    }
}
