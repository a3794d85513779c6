//! A Gearman job server and the supervisor of the workers that serve it, in one program.
//!
//! ARCHITECTURE.md is the map of these rooms.

pub mod model;
pub mod protocol;
