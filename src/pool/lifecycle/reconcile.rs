//! Moves a pool toward its target: raises, lowers, retries and rolls.

use std::time::{Duration, Instant};

use super::event::Effect;
use super::roster::Roster;
use super::slot::{Asked, Slot, SlotEvent, State, Turn, Wanted};
use super::why::{Cause, Why};
use crate::pool::PoolIntent;

/// Busy workers above the target are asked again when they end a job. The news of that may be
/// lost when the broker is flooded, so they are also asked after this time.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Roster {
    /// Does what the present state asks for.
    pub(super) fn reconcile(&mut self, turn: &mut Turn) {
        self.raise(turn.now);
        self.lower(turn);
        self.begin_wanted(turn);
        self.retry(turn);
        self.suspend(turn);
        self.try_canary(turn);
        self.roll(turn);
        self.drop_empty();
    }

    /// Slots that are wanted beyond what is needed.
    pub(super) fn surplus(&self) -> usize {
        self.count(Wanted::Up).saturating_sub(self.needed())
    }

    /// Makes as many slots wanted as are needed: first those that exist, then the lowest free
    /// numbers.
    pub(super) fn raise(&mut self, now: Instant) {
        let mut lacking = self.needed().saturating_sub(self.count(Wanted::Up));
        for slot in self.slots.values_mut().filter(|slot| slot.wanted == Wanted::Down) {
            if lacking == 0 {
                return;
            }
            slot.wanted = Wanted::Up;
            slot.await_time(self.course.rules.run);
            lacking -= 1;
        }
        let mut index = 1;
        while lacking > 0 {
            if let std::collections::btree_map::Entry::Vacant(free) = self.slots.entry(index) {
                let slot = free.insert(Slot::new(index, now));
                slot.wanted = Wanted::Up;
                slot.await_time(self.course.rules.run);
                lacking -= 1;
            }
            index += 1;
        }
    }

    /// Forgets who was busy.
    pub(super) fn ask_all_again(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| slot.asked == Asked::Busy) {
            slot.asked = Asked::No;
        }
    }

    fn count(&self, wanted: Wanted) -> usize {
        self.slots.values().filter(|slot| slot.wanted == wanted).count()
    }

    /// How many slots are to run. What an operator stopped is missing from the pool's most.
    fn needed(&self) -> usize {
        if self.closing.is_some() || self.intent == PoolIntent::Stopped {
            return 0;
        }
        let target = self.target as usize;
        let most = target.max(self.course.rules.count_max as usize);
        target.min(most.saturating_sub(self.count(Wanted::Held)))
    }

    /// Lets go what is above the target, the highest numbers first: what has no process, then
    /// what is idle, then, if so wanted, what is busy.
    fn lower(&mut self, turn: &mut Turn) {
        let mut surplus = self.surplus();
        if surplus == 0 {
            self.ask_again_at = None;
            self.ask_all_again();
            return;
        }
        for slot in self.slots.values_mut().rev() {
            if surplus > 0 && slot.wanted == Wanted::Up && slot.is_idle_seat() {
                slot.wanted = Wanted::Down;
                slot.handle(SlotEvent::Down(Cause::Surplus), &mut self.course, turn);
                surplus -= 1;
            }
        }
        let waiting = |slot: &&Slot| matches!(slot.asked, Asked::Waiting { .. });
        surplus = surplus.saturating_sub(self.slots.values().filter(waiting).count());
        for slot in self.slots.values_mut().rev() {
            let Some(process) = slot.askable() else { continue };
            if surplus > 0 {
                slot.asked = Asked::Waiting { again: false };
                turn.effects.push(Effect::Ask(process.worker));
                surplus -= 1;
            }
        }
        surplus = self.lower_busy(surplus, turn);
        let again_at = turn.now + ASK_AGAIN_AFTER;
        self.ask_again_at = (surplus > 0).then(|| self.ask_again_at.unwrap_or(again_at));
    }

    /// Drains workers that cannot be asked or are busy; returns how many are still too many.
    fn lower_busy(&mut self, mut surplus: usize, turn: &mut Turn) -> usize {
        for slot in self.slots.values_mut().rev() {
            let rolls = slot.predecessor.is_some();
            let goes = rolls || (self.drain_busy && slot.asked == Asked::Busy);
            if surplus > 0 && slot.wanted == Wanted::Up && goes {
                slot.wanted = Wanted::Down;
                slot.handle_both(SlotEvent::Down(Cause::Surplus), &mut self.course, turn);
                surplus -= 1;
            }
        }
        surplus
    }

    fn begin_wanted(&mut self, turn: &mut Turn) {
        if !self.course.entrance.is_open() {
            return;
        }
        for slot in self.slots.values_mut().filter(|slot| slot.wanted == Wanted::Up) {
            if matches!(slot.state, State::Stopped | State::Stopping(_)) {
                slot.handle(SlotEvent::Up, &mut self.course, turn);
            }
        }
    }

    /// Ends the pauses that are over, the longest first: while one is tried at a time each slot
    /// comes to its turn.
    fn retry(&mut self, turn: &mut Turn) {
        let paused = self.slots.values().filter_map(|slot| match slot.state {
            State::Backoff { until } => Some((slot.since, slot.index, until)),
            _ => None,
        });
        let mut paused: Vec<_> = paused.collect();
        paused.sort_unstable();
        for (_, index, until) in paused {
            if self.course.pacing.permits(until, turn.now)
                && let Some(slot) = self.slots.get_mut(&index)
            {
                slot.handle(SlotEvent::Retry, &mut self.course, turn);
            }
        }
    }

    /// While the pool's starts fail no pause of its own brings a slot back.
    fn suspend(&mut self, turn: &mut Turn) {
        if self.course.pacing.is_open() {
            return;
        }
        for slot in self.slots.values_mut() {
            if matches!(slot.state, State::Backoff { until: Some(_) }) {
                slot.enter(State::Backoff { until: None }, Why::Broken, turn);
            }
        }
    }

    /// Replaces the next processes that are to be replaced, as many at once as the rules let.
    fn roll(&mut self, turn: &mut Turn) {
        let mut rolling = self.slots.values().filter(|slot| slot.rolling).count();
        let (worn_max, rolled_max) =
            (self.course.rules.recycling_max, self.course.rules.rolling_max);
        let waits = self.course.trial.is_open();
        for slot in self.slots.values_mut() {
            let most = match &slot.wear {
                Some(_) => worn_max,
                // The canary comes first.
                None if waits => 0,
                None => rolled_max,
            };
            if slot.can_roll() && rolling < most as usize {
                slot.handle(SlotEvent::Roll, &mut self.course, turn);
                rolling += 1;
            }
        }
        self.note_failed_trial(turn);
        self.rest_at_proven();
    }

    /// A pool that an operator stopped begins again with the program of the file.
    fn rest_at_proven(&mut self) {
        let is_stopped = self.intent == PoolIntent::Stopped;
        if is_stopped && self.slots.values().all(Slot::is_empty) {
            self.prove();
        }
    }

    /// Frees the numbers of slots that are no longer needed. A stopped pool keeps those that it
    /// will have again.
    fn drop_empty(&mut self) {
        self.slots.retain(|_, slot| slot.wanted != Wanted::Down || !slot.is_empty());
        if self.intent == PoolIntent::Stopped {
            let mut surplus = self.slots.len().saturating_sub(self.target as usize);
            while surplus > 0 && self.slots.last_entry().is_some_and(|last| last.get().is_empty()) {
                self.slots.pop_last();
                surplus -= 1;
            }
        }
    }
}
