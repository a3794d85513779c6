//! Workers that have registered nothing a while after their start: each is warned about once.
//!
//! Mostly they connect to another Gearman server than the one that they were given.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Pool, now};
use crate::model::{WorkerId, WorkerName};
use crate::pool::SlotState;

/// How long a worker may take until it registers a function.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// Who has not been heard of.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// In the order of their starts.
    waiting: VecDeque<(Instant, WorkerId, WorkerName)>,
    warned: HashSet<WorkerId>,
}

impl Unheard {
    pub(super) fn started(&mut self, worker: WorkerId, name: WorkerName) {
        self.waiting.push_back((now() + HEARD_WITHIN, worker, name));
    }

    /// A worker has ended.
    pub(super) fn gone(&mut self, worker: WorkerId) {
        self.forget(worker);
        self.warned.remove(&worker);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, ..)| *at)
    }

    fn forget(&mut self, worker: WorkerId) {
        self.waiting.retain(|(_, waiting, _)| *waiting != worker);
    }
}

impl Pool {
    /// A worker has registered a function.
    pub(super) fn heard_of(&mut self, worker: WorkerId) {
        self.unheard.forget(worker);
        if self.unheard.warned.remove(&worker) {
            info!(pool = %self.settings.name, %worker, "it has registered a function after all");
        }
    }

    /// Warns about those whose time is over, unless they are on their way out.
    pub(super) fn warn_of_unheard(&mut self) {
        while self.unheard.due().is_some_and(|at| at <= now()) {
            let Some((_, worker, name)) = self.unheard.waiting.pop_front() else { return };
            let serves = |state| matches!(state, SlotState::Starting | SlotState::Running);
            let found = self.roster.seats().find(|seat| seat.worker == Some(worker));
            if found.is_some_and(|seat| serves(seat.state)) {
                let up = HEARD_WITHIN.as_secs();
                warn!(
                    "{name} up {up} s, registered nothing here: does it connect to \
                     GEARMAN_HOST:GEARMAN_PORT of its environment?"
                );
                self.unheard.warned.insert(worker);
            }
        }
    }
}
