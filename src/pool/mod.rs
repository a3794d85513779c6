//! Pools of worker processes: one task per pool owns its slots and their processes.
//!
//! `lifecycle` is the pure table of a slot's states; `process` starts, signals and reaps. Why a
//! pool has the target it has, and which jobs its workers hold, is not known here: before a worker
//! is stopped the [`Gate`] is asked whether it may go.

mod book;
pub mod environment;
mod gate;
mod handle;
mod health;
mod ids;
mod intents;
pub mod lifecycle;
mod memory;
mod news;
pub mod process;
mod task;
mod view;

pub use book::{Book, Page};
pub use gate::{Gate, GateRequest};
pub use handle::{Hurdle, Pick, PoolCommand, PoolGone, PoolHandle};
pub use ids::WorkerIds;
pub use intents::{HoldIntent, Intents};
pub use lifecycle::RestartMode;
pub use memory::{LastTime, Memory, Served};
pub use news::{DeployEvent, EditEvent, PoolEvent, PoolFailure, PoolNews, PoolNewsItem};
pub use task::{Pool, PoolOptions, Servers};
pub use view::{DeployView, LastExit, PoolIntent, PoolView, SlotRole, SlotState, SlotView};
