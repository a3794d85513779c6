//! The pool's side of the gate: sends without waiting, in order.

use std::collections::{HashSet, VecDeque};

use tokio::sync::mpsc::error::TrySendError;

use crate::model::WorkerId;
use crate::pool::{Gate, GateRequest};

/// Requests to the gate. What it cannot take at once is kept: at most a handful for each process,
/// so the number of processes bounds it.
#[derive(Debug)]
pub(super) struct GateDesk {
    gate: Gate,
    waiting: VecDeque<GateRequest>,
    /// Living processes that were told of.
    admitted: HashSet<WorkerId>,
}

impl GateDesk {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate, waiting: VecDeque::new(), admitted: HashSet::new() }
    }

    /// Sends a request now or, when the gate is full, from [`GateDesk::flush`]. When the gate is
    /// closed it is dropped, and a reply in it with it, which means that nobody hands out jobs.
    pub(super) fn send(&mut self, request: GateRequest) {
        if let GateRequest::Admit { worker, .. } = &request {
            self.admitted.insert(*worker);
        } else if let GateRequest::Gone { worker, .. } = &request {
            self.admitted.remove(worker);
        }
        if self.is_waiting() {
            return self.waiting.push_back(request);
        }
        match self.gate.try_send(request) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(request)) => self.waiting.push_back(request),
        }
    }

    /// Whether the process gets its jobs through the gate, whatever the settings say by now.
    pub(super) fn knows(&self, worker: WorkerId) -> bool {
        self.admitted.contains(&worker)
    }

    /// Whether requests wait for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits for room and sends what fits. Cancel safe.
    pub(super) async fn flush(&mut self) {
        match self.gate.reserve().await {
            Ok(permit) => {
                if let Some(request) = self.waiting.pop_front() {
                    permit.send(request);
                }
            }
            Err(_) => self.waiting.clear(),
        }
    }
}
