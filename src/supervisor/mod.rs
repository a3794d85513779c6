//! Wiring: start, reload and stop as one path; the one place where broker, pools and scaler meet.

mod handle;

pub use handle::{
    Actor, Answer, Brief, CommandError, ConfigState, Progress, Rejected, ScaleTo, Snapshot,
    SupervisorCommand, SupervisorGone, SupervisorHandle,
};
