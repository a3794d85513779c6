//! Whether a worker is ready and well, asked from outside or told by itself.
//!
//! A [`Vigil`] is the task beside one process that has something to be waited for: it ends with
//! the process, and what it finds out it tells the pool's task as a [`Sign`].

mod check;
mod notify;
mod vigil;

pub(super) use check::Prober;
pub(super) use notify::NotifySocket;
pub(super) use vigil::Vigil;

use crate::model::WorkerId;

/// Signs under way at most; a vigil waits for room.
pub(super) const SIGNS_MAX: usize = 256;

/// What was found out about a process.
#[derive(Debug)]
pub(super) struct Sign {
    /// Which.
    pub(super) worker: WorkerId,
    /// What.
    pub(super) news: News,
}

/// The news of a [`Sign`].
#[derive(Debug)]
pub(super) enum News {
    /// It is ready.
    Ready,
    /// It is no longer well.
    Unhealthy(String),
    /// What it says of itself.
    Status(String),
    /// Its last lines, read after its end.
    LastLines(Vec<String>),
}
