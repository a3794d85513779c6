//! Sockets: reads connections, feeds the state, groups the commits, writes what the state sends.
//!
//! All of it is one thread with a current-thread runtime: a task per connection, one per listener,
//! and the main task ([`Broker`]). They share the `core`, borrow it for one turn and never over
//! an await. Rules about jobs are `state`'s; which process a connection belongs to is told by the
//! supervisor, or by the private listener it came through.
//!
//! It fails softly: a connection that sends garbage, claims too much or never reads is closed, a
//! store that cannot commit refuses background jobs, and with no file descriptor left connections
//! are refused one by one.

mod accept;
mod broker;
mod commands;
mod connection;
mod core;
mod deliver;
mod door;
mod holder;
mod intake;
mod job_list;
mod ledger;
mod listen;
mod listeners;
mod load;
mod news;
mod seldom;
mod session;
mod shell;
mod show;
mod signals;
mod start;
mod stream;
mod tape;
#[cfg(test)]
mod tests;

pub use broker::Broker;
pub use listen::{ListenError, SocketOptions};
pub use start::{BrokerOptions, BrokerPanicked, BrokerStartError, BrokerThread};
