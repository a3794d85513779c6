//! What the file and operators ask of a pool: what is wanted changes, and the states follow.

use std::time::Duration;

use super::event::{Effect, ProgramChange, RequestId, RestartMode, Rules};
use super::pacing::Pacing;
use super::requests::Goal;
use super::roster::{Closing, Roster};
use super::slot::{SlotEvent, Turn, Wanted};
use super::why::Cause;
use crate::config::Run;
use crate::pool::{Pick, PoolIntent};

impl Roster {
    pub(super) fn set_target(&mut self, target: u32, drain_busy: bool) {
        self.target = target;
        self.drain_busy = drain_busy;
        self.ask_all_again();
    }

    pub(super) fn configure(
        &mut self,
        rules: Rules,
        program: ProgramChange,
        target: u32,
        turn: &mut Turn,
    ) {
        let was_on_call = self.course.rules.run == Run::OnCall;
        self.course.rules = rules;
        let run = self.course.rules.run;
        // The file lowered the count: what is busy goes after its job.
        self.set_target(target, self.drain_busy || target < self.target);
        match program {
            ProgramChange::Same => {}
            ProgramChange::New => {
                self.course.generation += 1;
                self.roll_all(turn);
            }
            ProgramChange::Back => {
                self.abandon_trial(turn);
                self.requests.refuse_rolls("the file took the new program back", turn);
                self.course.generation = self.course.proven;
                let generation = self.course.generation;
                for slot in self.slots.values_mut() {
                    slot.roll_wanted =
                        slot.process().is_some_and(|process| process.generation != generation);
                }
            }
        }
        if was_on_call && run != Run::OnCall {
            for slot in self.slots.values_mut() {
                slot.hasten(turn);
            }
        }
    }

    pub(super) fn renew(&mut self, request: RequestId, turn: &mut Turn) {
        let was_proven = self.is_proven();
        self.course.generation += 1;
        if was_proven {
            // What is started meanwhile runs the changed files in any case.
            self.course.proven = self.course.generation;
        }
        self.roll_all(turn);
        self.requests.open(request, Goal::Settled, None);
    }

    /// Has every process replaced by one of the present program.
    fn roll_all(&mut self, turn: &mut Turn) {
        self.course.pacing = Pacing::new();
        let run = self.course.rules.run;
        for slot in self.slots.values_mut() {
            slot.renew(run, turn);
        }
        self.begin_trial(turn);
    }

    pub(super) fn start(&mut self, pick: &Pick, request: RequestId, turn: &mut Turn) {
        if self.refuses(pick, request, turn) {
            return;
        }
        self.raise_picked(pick, turn);
        self.requests.open(request, Goal::Up, Some(self.picked_up(pick)));
    }

    pub(super) fn stop(&mut self, pick: &Pick, request: RequestId, turn: &mut Turn) {
        if self.refuses(pick, request, turn) {
            return;
        }
        if matches!(pick, Pick::Pool) {
            self.intent = PoolIntent::Stopped;
        }
        let picked = self.picked(pick);
        for index in &picked {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.wanted = Wanted::Held;
                slot.handle_both(SlotEvent::Down(Cause::Stop), &mut self.course, turn);
            }
        }
        self.requests.open(request, Goal::Gone, Some(picked));
    }

    pub(super) fn restart(
        &mut self,
        pick: &Pick,
        mode: RestartMode,
        request: RequestId,
        turn: &mut Turn,
    ) {
        if self.refuses(pick, request, turn) {
            return;
        }
        self.raise_picked(pick, turn);
        let slots = self.picked_up(pick);
        match mode {
            RestartMode::Roll => {
                for index in &slots {
                    if let Some(slot) = self.slots.get_mut(index) {
                        slot.roll_wanted = slot.process().is_some();
                        slot.wear = None;
                    }
                }
                // Behind a single worker nothing follows.
                if matches!(pick, Pick::Pool) || slots.len() > 1 {
                    self.begin_trial(turn);
                }
            }
            RestartMode::Now => self.restart_now(pick, &slots, turn),
        }
        let after = self.course.ids.last();
        self.requests.open(request, Goal::Rolled { after }, Some(slots));
    }

    fn restart_now(&mut self, pick: &Pick, slots: &[u32], turn: &mut Turn) {
        if matches!(pick, Pick::Pool) {
            self.abandon_trial(turn);
            self.prove();
        }
        for index in slots {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.roll_wanted = false;
                slot.wear = None;
                slot.handle_both(SlotEvent::Down(Cause::Restarted), &mut self.course, turn);
            }
        }
    }

    pub(super) fn close(&mut self, grace: Duration, request: RequestId, turn: &mut Turn) {
        self.requests.refuse_starts("the pool is being closed", turn);
        self.closing = Some(Closing { kill_at: turn.now.checked_add(grace), finished: false });
        for slot in self.slots.values_mut() {
            slot.wanted = Wanted::Down;
            slot.handle_both(SlotEvent::Down(Cause::Close), &mut self.course, turn);
        }
        self.requests.open(request, Goal::Gone, Some(self.slots.keys().copied().collect()));
    }

    pub(super) fn hurry(&mut self, turn: &mut Turn) {
        if let Some(closing) = &mut self.closing {
            closing.kill_at = None;
            for slot in self.slots.values_mut() {
                slot.handle_both(SlotEvent::Kill, &mut self.course, turn);
            }
        }
    }
}

/// Which slots a request means.
impl Roster {
    pub(super) fn is_picked(&self, pick: &Pick, index: u32) -> bool {
        match pick {
            Pick::Pool => true,
            Pick::Slots(pattern) => pattern.matches_worker(&self.pool.worker(index)),
        }
    }

    fn picked(&self, pick: &Pick) -> Vec<u32> {
        self.slots.keys().copied().filter(|index| self.is_picked(pick, *index)).collect()
    }

    /// The picked slots that are to run.
    fn picked_up(&self, pick: &Pick) -> Vec<u32> {
        let up = |index: &u32| self.slots.get(index).is_some_and(|slot| slot.wanted == Wanted::Up);
        self.picked(pick).into_iter().filter(up).collect()
    }

    /// Answers a request that cannot be carried out.
    fn refuses(&self, pick: &Pick, request: RequestId, turn: &mut Turn) -> bool {
        let reason = match pick {
            _ if self.closing.is_some() => "the pool is being closed".to_owned(),
            Pick::Slots(pattern) if self.picked(pick).is_empty() => {
                format!("pool {} has no worker '{pattern}'", self.pool)
            }
            Pick::Pool | Pick::Slots(_) => return false,
        };
        turn.effects.push(Effect::Answer(request, Err(reason)));
        true
    }

    /// Makes the picked slots wanted and ends their pauses.
    fn raise_picked(&mut self, pick: &Pick, turn: &mut Turn) {
        let now = turn.now;
        if self.intent == PoolIntent::Stopped {
            self.course.entrance.shut();
        }
        self.intent = PoolIntent::Up;
        self.course.pacing.hasten(now);
        let whole = matches!(pick, Pick::Pool);
        for index in self.picked(pick) {
            let Some(slot) = self.slots.get_mut(&index) else { continue };
            if slot.wanted == Wanted::Held {
                slot.wanted = if whole { Wanted::Down } else { Wanted::Up };
            }
        }
        if whole {
            self.raise(now);
        }
        for index in self.picked(pick) {
            if let Some(slot) = self.slots.get_mut(&index) {
                slot.hasten(turn);
            }
        }
    }
}
