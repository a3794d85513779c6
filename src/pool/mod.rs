//! Pools of worker processes: one task per pool owns its slots and their processes.
//!
//! `lifecycle` is the pure table of a slot's states; `process` starts, signals and reaps. Why a
//! pool has the target it has, and which jobs its workers hold, is not known here: before a worker
//! is stopped the [`Gate`] is asked whether it may go.

pub mod environment;
mod gate;
mod handle;
mod health;
mod ids;
mod intents;
pub mod lifecycle;
mod news;
pub mod process;
mod task;
mod view;

pub use gate::{Gate, GateRequest};
pub use handle::{Hurdle, Pick, PoolCommand, PoolGone, PoolHandle};
pub use ids::WorkerIds;
pub use intents::{HoldMind, Intents, LastMind, PoolMind, ServesMind};
pub use lifecycle::RestartMode;
pub use news::{DeployEvent, EditEvent, PoolEvent, PoolFailure, PoolNews, PoolNewsItem};
pub use task::{Pool, PoolOptions, Servers};
pub use view::{DeployView, LastExit, PoolIntent, PoolView, SlotRole, SlotState, SlotView};
