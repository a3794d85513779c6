//! Which process holds which connection.
//!
//! Nobody tells a server over TCP who its peer is, but on one host the kernel knows: the peer's
//! socket has an inode number ([`sockets`]), and a process that holds the socket has a link to it
//! among its open files ([`links`]). A process counts as a worker's when it is the worker's leader
//! or belongs to it by group, session or parents ([`processes`]), so a wrapper shell's child is the
//! worker too. All of this reads /proc, which can take milliseconds, so it has a thread of its own.
//!
//! A look-up that fails gives `None`: the connection then belongs to nobody we know.

mod handle;
mod links;
mod processes;
mod search;
mod sockets;

pub use handle::{Candidate, Connection, Identity, IdentityHandle, IdentityStartError};
