//! What every task of the broker's thread shares.

use std::cell::RefCell;
use std::rc::Rc;

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
}

impl Shell {
    pub(super) fn new(core: Core) -> Self {
        Self {
            signals: Rc::clone(&core.signals),
            core: RefCell::new(core),
            tasks: TaskTracker::new(),
            reserve: Reserve::new(),
            door: Door::new(),
        }
    }
}
