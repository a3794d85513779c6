//! Newtypes that every room shares: names, ids, priorities and how a process ended.
//!
//! Parsed once at the edge and trusted afterwards. No behaviour beyond parsing and printing, and
//! no wire or file shapes: those belong to `protocol`, `config` and `control::api`.

mod busy;
mod cron;
mod exit;
mod ids;
mod in_hand;
mod job;
mod names;
mod network;
mod tally;

pub use busy::BusyClock;
pub use cron::{CronTimes, InvalidCron};
pub use exit::{Drain, Exit};
pub use ids::{JobId, SessionId, WorkerId};
pub use in_hand::InHand;
pub use job::{FunctionName, Priority, Unique};
pub use names::{InvalidName, NamePattern, PoolName, WorkerName};
pub use network::{InvalidNetwork, Network};
pub use tally::Tally;
