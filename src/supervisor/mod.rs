//! Wiring: start, reload and stop as one path; the one place where broker, pools and scaler meet.
//!
//! [`run`] opens everything and gives it to one task, the [`Supervisor`](task::Supervisor), which
//! owns the settings in force and a handle on every pool. The `carrier` beside it passes requests
//! of the pools to the broker and news of the broker to the pools, so that neither waits for a
//! reload. Rules live elsewhere: what an edit changes in `config::diff`, how many workers in
//! `scaler`, what a worker's states are in `pool::lifecycle`.

mod alarm;
mod boot;
mod carrier;
mod commands;
mod counts;
mod deploys;
mod descent;
mod entry;
mod fleet;
mod floor;
mod handle;
mod learned;
mod look;
mod plan;
mod reload;
mod scaling;
mod service;
mod settle;
mod source;
mod stop;
mod task;
mod timing;
mod usher;

pub use crate::pool::RestartMode;
pub use boot::{DaemonError, OnStart, RunOptions, run};
pub use counts::{CountChange, CountNews};
pub use handle::{
    Actor, Answer, Brief, CommandError, ConfigState, Occasion, Outlook, Progress, RaisedMin,
    Rejected, ScaleTo, Snapshot, SupervisorCommand, SupervisorGone, SupervisorHandle,
};
pub use plan::PlannedStep;
