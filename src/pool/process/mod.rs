//! Starting, signalling and reaping processes; why it is asked is not known here.
//!
//! [`Processes`] is the table of the children that live, and one task reaps them: it looks at a
//! dead child without reaping it, kills the rest of its group while the leader is still a zombie,
//! so that the group's number cannot belong to anybody else, then reaps that child and tells its
//! exit. Nobody else waits for children, and no process id is used after it was reaped: starting,
//! signalling and reaping all happen under the table's lock. That lock is never held over an await.
//!
//! The daemon is not forked: a start is a `posix_spawn`, directly, or of the daemon's own binary as
//! a [`shim`] that changes the user and executes the program.
//!
//! A process that the daemon could not end, because it was killed itself, is found by the next
//! daemon through the [`ledger`].

mod cgroups;
mod grants;
mod launch;
mod ledger;
mod leftovers;
mod limits;
mod memory;
mod procfs;
mod reaper;
pub mod shim;
mod spawn;
mod strays;
mod table;
mod terminal;

pub use launch::{Launch, StartError};
pub use leftovers::Leftover;
pub use limits::{FileLimit, raise_file_limit};
pub use memory::resident;
pub use spawn::{Child, End, Ended, TerminalChild};
pub use strays::{MARK, mark};
pub use table::{OpenError, Processes, ProcessesOptions};
