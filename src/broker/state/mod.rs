//! Every rule about jobs, queues and sessions, as a value that is driven from outside.
//!
//! [`State::handle`] takes one input and the time, and appends what is to be done to [`Effects`].
//! It knows sessions and workers by their ids only: no sockets, no files, no clock, no tokio.

mod effects;
mod input;

pub use effects::{Effects, Outgoing};
pub use input::Input;
