//! A Gearman job server and the supervisor of the workers that serve it, in one program.
//!
//! ARCHITECTURE.md is the map of these rooms.

pub mod bench;
pub mod broker;
pub mod cli;
pub mod config;
pub mod control;
pub mod forward;
pub mod gearman;
pub mod gearmand;
pub mod host;
pub mod identity;
pub mod import;
pub mod logs;
pub mod model;
pub mod pool;
pub mod protocol;
pub mod scaler;
pub mod supervisor;
pub mod telemetry;
pub mod terminal;
pub mod work;
