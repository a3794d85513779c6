//! The Gearman job server: rules in [`state`], durability in `store`, sockets in `server`.
//!
//! It runs on one thread of its own with a current-thread runtime, so a packet costs no lock and
//! no cross-thread wake-up. The rest of the program talks to it through [`BrokerHandle`] and hears
//! of it through [`BrokerEvent`]s. It knows worker processes only as [`WorkerId`]s that sessions
//! are tied to; pools, processes and scaling are other rooms' business.
//!
//! [`WorkerId`]: crate::model::WorkerId

mod handle;
pub mod record;
pub mod server;
pub mod state;
pub mod store;
mod view;

pub use handle::{BrokerEvent, BrokerGone, BrokerHandle, Command, JobsOf, JobsQuery, Peer, Unread};
pub use view::{
    DemandView, FunctionDemand, FunctionView, JobEnding, JobLoss, JobView, LossOutcome, Overview,
    WorkerDemand, WorkerView,
};
