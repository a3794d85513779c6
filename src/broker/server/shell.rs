//! What every task of the broker's thread shares.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::accept::Reserve;
use super::core::Core;
use super::door::Door;
use super::signals::Signals;

/// The core, borrowed for a turn and never over an await, and what tasks wait for.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) core: RefCell<Core>,
    pub(super) signals: Rc<Signals>,
    pub(super) tasks: TaskTracker,
    pub(super) reserve: Reserve,
    pub(super) door: Door,
    /// Held by a connection whose last turn was cut, for the next one: those take turns one at a
    /// time, in the order of asking, so that whoever sends little waits for one and not for all.
    /// It is never closed.
    pub(super) cut: Semaphore,
}

impl Shell {
    pub(super) fn new(core: Core) -> Self {
        Self {
            signals: Rc::clone(&core.signals),
            core: RefCell::new(core),
            tasks: TaskTracker::new(),
            reserve: Reserve::new(),
            door: Door::new(),
            cut: Semaphore::new(1),
        }
    }
}
