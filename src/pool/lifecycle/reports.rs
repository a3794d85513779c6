//! What is heard of a pool's processes.

use super::event::{Effect, ReadyUntil};
use super::roster::{Change, Roster};
use super::slot::{Asked, Slot, SlotEvent, Turn, Wanted};
use crate::model::WorkerId;

impl Roster {
    pub(super) fn started(&mut self, worker: WorkerId, turn: &mut Turn) -> Change {
        let Some(slot) = self.slot_of(worker) else { return Change::None };
        if slot.proof.is_some() && slot.is_current(worker) {
            turn.effects.push(Effect::Await(worker));
        }
        let ready_at = slot.note_start(worker, turn.now);
        // Nothing else changed, and there may be a thousand of these: only the deadline moves.
        self.next_deadline = [self.next_deadline, ready_at].into_iter().flatten().min();
        Change::None
    }

    pub(super) fn registered(&mut self, worker: WorkerId, turn: &mut Turn) -> Change {
        let process = self.current_slot_of(worker).and_then(|slot| slot.process());
        match process.map(|process| process.ready.until) {
            Some(ReadyUntil::Alive | ReadyUntil::Registered) => {
                self.tell(worker, SlotEvent::Ready, turn)
            }
            Some(ReadyUntil::Told) | None => Change::None,
        }
    }

    pub(super) fn recycle(&mut self, worker: WorkerId, reason: String) -> Change {
        match self.current_slot_of(worker).filter(|slot| slot.serves()) {
            Some(slot) => {
                slot.wear_out(reason);
                Change::Some
            }
            None => Change::None,
        }
    }

    pub(super) fn job_ended(&mut self, worker: WorkerId, well: bool, turn: &mut Turn) -> Change {
        let Some(slot) = self.current_slot_of(worker) else { return Change::None };
        let is_canary = slot.proof.is_some();
        if is_canary && well {
            slot.note_work();
        } else if is_canary {
            turn.effects.push(Effect::Await(worker));
        }
        match slot.asked {
            Asked::No if is_canary && well => Change::Some,
            Asked::No => Change::None,
            Asked::Waiting { .. } => {
                slot.asked = Asked::Waiting { again: true };
                Change::None
            }
            Asked::Busy => {
                slot.asked = Asked::No;
                Change::Some
            }
        }
    }

    pub(super) fn busy(&mut self, worker: WorkerId) -> Change {
        let Some(slot) = self.current_slot_of(worker) else { return Change::None };
        slot.asked = match slot.asked {
            Asked::Waiting { again: false } | Asked::Busy => Asked::Busy,
            Asked::Waiting { again: true } | Asked::No => Asked::No,
        };
        Change::Some
    }

    pub(super) fn drained(&mut self, worker: WorkerId, turn: &mut Turn) -> Change {
        self.let_go(worker);
        self.tell(worker, SlotEvent::Drained, turn)
    }

    pub(super) fn ended(&mut self, worker: WorkerId, event: SlotEvent<'_>, turn: &mut Turn) {
        self.let_go(worker);
        if self.tell(worker, event, turn) == Change::Some {
            self.by_worker.remove(&worker);
        }
    }

    /// A worker above the target that goes is not replaced.
    fn let_go(&mut self, worker: WorkerId) {
        let surplus = self.surplus() > 0;
        if let Some(slot) = self.current_slot_of(worker).filter(|_| surplus)
            && slot.wanted == Wanted::Up
            && slot.predecessor.is_none()
        {
            slot.wanted = Wanted::Down;
        }
    }

    /// Passes an event to the slot of a process.
    pub(super) fn tell(
        &mut self,
        worker: WorkerId,
        event: SlotEvent<'_>,
        turn: &mut Turn,
    ) -> Change {
        let slot = self.by_worker.get(&worker).and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot else { return Change::None };
        if slot.is_current(worker) {
            slot.handle(event, &mut self.course, turn);
        } else {
            slot.handle_predecessor(event, &self.course, turn);
        }
        Change::Some
    }

    fn slot_of(&mut self, worker: WorkerId) -> Option<&mut Slot> {
        self.slots.get_mut(self.by_worker.get(&worker)?)
    }

    /// The slot whose current process it is.
    fn current_slot_of(&mut self, worker: WorkerId) -> Option<&mut Slot> {
        self.slot_of(worker).filter(|slot| slot.is_current(worker))
    }
}
