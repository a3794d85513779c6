//! What wakes the broker's tasks, beside sockets and commands.

use tokio::sync::Notify;

/// Shared by the tasks of the broker's thread.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The next deadline came nearer.
    pub(super) alarm: Notify,
    /// Reading, which the store had stopped by falling behind, goes on.
    pub(super) thaw: Notify,
    /// A connection's output was written out, or the connection ended; for the shutdown.
    pub(super) drained: Notify,
}
