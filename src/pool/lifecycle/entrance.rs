//! Whether a pool may start at all: it may have to wait for others.
//!
//! The way in is closed while it is stopped, and opens once there is no hurdle. What then becomes of
//! the others is of no matter to what runs.

use super::roster::Roster;
use super::slot::{Failure, State, Turn, Wanted};
use crate::pool::{Hurdle, PoolIntent};

/// The way into a pool.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    hurdle: Option<Hurdle>,
    is_closed: bool,
    /// The hurdle was told of before the pool was to start: the others may be starting too.
    is_outdated: bool,
}

impl Entrance {
    /// Closed as long as there is a hurdle.
    pub(super) fn new(hurdle: Option<Hurdle>) -> Self {
        Self { is_closed: hurdle.is_some(), hurdle, is_outdated: false }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_closed
    }

    /// What it waits for.
    pub(super) fn hurdle(&self) -> Option<&Hurdle> {
        self.hurdle.as_ref().filter(|_| self.is_closed)
    }

    /// A stopped pool is to start: it has to wait again.
    pub(super) fn shut(&mut self) {
        self.is_closed = self.hurdle.is_some();
        self.is_outdated = true;
    }

    /// The others have changed.
    pub(super) fn set(&mut self, hurdle: Option<Hurdle>) {
        self.is_closed &= hurdle.is_some();
        self.hurdle = hurdle;
        self.is_outdated = false;
    }
}

impl Roster {
    /// Has the pool wait from the beginning.
    pub fn wait_for(&mut self, hurdle: Option<Hurdle>) {
        self.course.entrance = Entrance::new(hurdle);
    }

    /// What keeps the pool from starting, if it is to start.
    #[must_use]
    pub fn hurdle(&self) -> Option<&Hurdle> {
        let hurdle = self.course.entrance.hurdle();
        hurdle.filter(|_| self.intent == PoolIntent::Up && self.closing.is_none())
    }

    /// Whoever waits for a start is told when it will not come by itself.
    pub(super) fn tell_hopeless(&self, turn: &mut Turn) {
        let is_outdated = self.course.entrance.is_outdated;
        let hurdle = self.hurdle().filter(|hurdle| hurdle.needs_help && !is_outdated);
        let Some(hurdle) = hurdle else { return };
        for slot in self.slots.values() {
            if slot.wanted == Wanted::Up && matches!(slot.state, State::Stopped) {
                turn.failures.push(Failure::without_process(slot.index, hurdle.why.clone()));
            }
        }
    }
}
