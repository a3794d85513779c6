//! The way from our workers to Gearman servers outside, packet by packet.
//!
//! Each worker process gets a private port here, as it would of the broker. So it is known which
//! process holds which job, a worker that is to stop is given no further one, and nobody is stopped
//! with a job in hand. One connection of a worker stands for one to each of the servers: GRAB_JOB
//! goes to one after the other, and a server that is lost is tried again while the others serve,
//! without the worker seeing it. Jobs that a worker submits go to the first server that is there.
//!
//! [`state`] holds the rules, [`server`] the sockets, on a thread of its own. Pools and the scaler
//! are told and asked through [`ForwardHandle`], which the supervisor carries.

mod handle;
pub mod server;
pub mod state;
mod view;

pub use handle::{Command, ForwardEvent, ForwardGone, ForwardHandle};
pub use view::{ForwardView, FunctionDepth, HeldJob, ProcessView, ServerView};
