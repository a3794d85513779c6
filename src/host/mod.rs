//! What the host can bear: load, memory, pressure, and what single processes use.
//!
//! Both readers block on /proc for some tens of microseconds and read only when they are asked.
//! What the kernel does not tell is left out of the sample, never an error.

mod cgroup;
mod delegation;
mod oom;
mod process;
mod reader;
mod sample;

pub use delegation::{ControlGroup, LEAF, NotDelegated};
pub use oom::{OomCount, oom_kills};
pub use process::ProcessReader;
pub use reader::HostReader;
pub use sample::{HostSample, ProcessUsage};
