//! What every task of the forwarding thread shares.

use std::cell::RefCell;
use std::rc::Rc;

use tokio_util::task::TaskTracker;

use super::core::Core;
use super::lane;

/// The core, borrowed for a turn and never over an await, and the tasks.
#[derive(Debug)]
pub(super) struct Shell {
    core: RefCell<Core>,
    pub(super) tasks: TaskTracker,
}

impl Shell {
    pub(super) fn new(core: Core) -> Rc<Self> {
        Rc::new(Self { core: RefCell::new(core), tasks: TaskTracker::new() })
    }

    /// Has the core do something, carries out what follows, and starts the tasks that it wants.
    pub(super) fn act<T>(self: &Rc<Self>, act: impl FnOnce(&mut Core) -> T) -> T {
        let (result, opens) = {
            let mut core = self.core.borrow_mut();
            let result = act(&mut core);
            core.deliver();
            (result, std::mem::take(&mut core.opens))
        };
        for (session, server) in opens {
            lane::start(self, session, server);
        }
        result
    }

    /// Looks something up.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Core) -> T) -> T {
        look(&mut self.core.borrow_mut())
    }
}
