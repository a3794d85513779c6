//! What the host can bear: load, memory, pressure, and what single processes use.

mod sample;

pub use sample::{HostSample, ProcessUsage};
