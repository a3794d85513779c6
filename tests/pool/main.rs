//! Pools and processes with real children: `sh`, `sleep` and the program itself as the shim.
//!
//! One table of processes and one runtime serve all tests here: the reaper waits for every child
//! of this process, so a second one would take the children of the first.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy allows this in tests, but not in what they share"
)]

mod ledger;
mod limits;
mod process;
mod support;
mod task;
