//! Sockets: workers' on one side, servers' on the other.
//!
//! All of it is one thread with a current-thread runtime: a task per connection, one per private
//! listener, one per server that asks for its queues, and the main task. They share the [`core`],
//! borrow it for one turn and never over an await. What a turn has to say is written in that turn;
//! tasks write only what the kernel had no room for.
//!
//! Bounds: while a mebibyte waits to be sent to one side, the other side of the same session is
//! read no further, and a packet is taken whole before it is passed on. So a slow server slows
//! the workers that talk to it and nobody else.

mod accept;
mod core;
mod deliver;
mod lane;
mod outbox;
mod poll;
mod shell;
mod start;
mod wire;

pub use start::{Forward, ForwardOptions, ForwardPanicked, ForwardStartError, ForwardThread};
