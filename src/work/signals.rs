//! The signals that an adapter listens to.

use std::fmt;
use std::future::pending;
use std::io;

use futures_util::StreamExt;
use nix::libc::c_int;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGQUIT, SIGTERM};
use signal_hook_tokio::Signals;

/// Signals of one purpose; they are caught from `open` on.
pub(super) struct Listener(Signals);

impl Listener {
    /// Requests to stop: from a supervisor, or Ctrl-C on a terminal.
    pub(super) fn open_stop() -> io::Result<Self> {
        Self::open(&[SIGTERM, SIGINT, SIGQUIT])
    }

    /// Ends of children.
    pub(super) fn open_child() -> io::Result<Self> {
        Self::open(&[SIGCHLD])
    }

    fn open(signals: &[c_int]) -> io::Result<Self> {
        Signals::new(signals).map(Self)
    }

    /// Waits for the next of the signals; several that come together may be one.
    pub(super) async fn next(&mut self) {
        if self.0.next().await.is_none() {
            // The stream ends only when its handle is closed, which nobody does.
            pending::<()>().await;
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").finish_non_exhaustive()
    }
}
