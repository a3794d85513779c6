//! Being asked to stop: at once while idle, after the job in hand otherwise.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::gearman::Closer;

/// Shared with the thread that hears signals.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: bool,
    /// The connection on which a job is waited for.
    idle: Option<Closer>,
}

impl Stop {
    /// Begins to hear SIGTERM and SIGINT.
    pub(super) fn listen() -> io::Result<Self> {
        let stop = Self(Arc::new(Shared::default()));
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let heard = stop.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                heard.ask();
            }
        });
        Ok(stop)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.lock().wanted
    }

    /// A job is waited for: the wait may be ended.
    pub(super) fn set_idle(&self, closer: Closer) {
        let mut state = self.lock();
        if state.wanted {
            closer.close();
        }
        state.idle = Some(closer);
    }

    pub(super) fn set_busy(&self) {
        self.lock().idle = None;
    }

    /// Waits, but not beyond the wish to stop.
    pub(super) fn wait(&self, pause: Duration) {
        let state = self.lock();
        let waited = self.0.asked.wait_timeout_while(state, pause, |state| !state.wanted);
        drop(waited);
    }

    fn ask(&self) {
        let mut state = self.lock();
        state.wanted = true;
        if let Some(closer) = &state.idle {
            closer.close();
        }
        self.0.asked.notify_all();
    }

    /// A flag and a handle are whole after any panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
