//! Workers that run to their end: once, or whenever it is time.
//!
//! A run that is to begin is a slot that no longer rests. An edit of the program lets a run under way
//! come to its end: what it does may be half done.

use std::time::Instant;

use super::event::Effect;
use super::roster::Roster;
use super::slot::{Rest, Slot, State, Turn, Wanted};
use super::why::short;
use crate::config::Run;
use crate::pool::PoolIntent;

impl Roster {
    /// It is time for a run.
    pub(super) fn due(&mut self, turn: &mut Turn) {
        if let Some(why) = self.keeps_from_running(turn.now) {
            turn.effects.push(Effect::Skipped(why));
            return;
        }
        for slot in self.slots.values_mut().filter(|slot| slot.wanted == Wanted::Up) {
            slot.hasten(turn);
        }
    }

    /// Why no run can begin.
    fn keeps_from_running(&self, now: Instant) -> Option<String> {
        if self.closing.is_some() {
            return Some("its pool is being closed".to_owned());
        }
        if self.intent == PoolIntent::Stopped {
            return Some("it is stopped by an operator".to_owned());
        }
        if let Some(hurdle) = self.hurdle() {
            return Some(format!("it {}", hurdle.why));
        }
        if let Some(running) = self.slots.values().find(|slot| !slot.is_empty()) {
            let process = running.process().or(running.outgoing());
            let since = process.map(|process| now.saturating_duration_since(process.started));
            let worker = self.pool.worker(running.index);
            let since = short(since.unwrap_or_default());
            return Some(format!("{worker} has run for {since} and has not ended"));
        }
        let is_up = |slot: &Slot| slot.wanted == Wanted::Up;
        let none_is_wanted = !self.slots.values().any(is_up);
        none_is_wanted.then(|| "its count is 0, or its worker is stopped".to_owned())
    }
}

impl Slot {
    /// An empty slot that is to run does so when it is time, with [`Run::OnCall`].
    pub(super) fn await_time(&mut self, run: Run) {
        if run == Run::OnCall && matches!(self.state, State::Stopped) {
            self.state = State::Exited(Rest::NotYet);
        }
    }

    /// The program is another one.
    pub(super) fn renew(&mut self, run: Run, turn: &mut Turn) {
        self.wear = None;
        match run {
            Run::Serve => {
                self.forgive(turn);
                self.roll_wanted = self.process().is_some();
            }
            // One that runs is run again when it has ended.
            Run::Once => self.forgive(turn),
            Run::OnCall => {}
        }
    }
}
