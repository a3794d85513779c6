//! The control socket: HTTP and JSON over a unix socket.
//!
//! [`api`] is the vocabulary, [`server`] answers it inside the daemon, [`client`] asks from outside.
//! What a command does is the supervisor's business; how an answer looks is the command line's.

pub mod api;
pub mod client;
mod labels;
mod names;
pub mod server;

pub(crate) use labels::{is_label, spelled_out};
pub use names::nearest;
