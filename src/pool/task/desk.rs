//! The pool's side of the gate: sends without waiting, in order.

use std::collections::VecDeque;

use tokio::sync::mpsc::error::TrySendError;

use crate::pool::{Gate, GateRequest};

/// Requests to the gate. What it cannot take at once is kept: at most a handful for each process,
/// so the number of processes bounds it.
#[derive(Debug)]
pub(super) struct GateDesk {
    gate: Gate,
    waiting: VecDeque<GateRequest>,
}

impl GateDesk {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate, waiting: VecDeque::new() }
    }

    /// Sends a request now or, when the gate is full, from [`GateDesk::flush`]. When the gate is
    /// closed it is dropped, and a reply in it with it, which means that nobody hands out jobs.
    pub(super) fn send(&mut self, request: GateRequest) {
        if self.is_waiting() {
            return self.waiting.push_back(request);
        }
        match self.gate.try_send(request) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(request)) => self.waiting.push_back(request),
        }
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
