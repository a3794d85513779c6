//! A pool's workers as a pure table: which process is to be started, drained, signalled or killed
//! next, and which request is answered.
//!
//! ```text
//!              up                ready
//!   Stopped ───────▶ Starting ─────────▶ Running ──▶ (dies) Starting, at once, or Exited
//!      ▲               │    ▲               │
//!      │          dies │    │ pause over    │ down, or idle and above the target
//!      │               ▼    │               ▼
//!      ├──── down ─── Backoff            Stopping: draining ▶ stop steps ▶ killed
//!      └─────────────────── ended ──────────┘
//!
//! What waits for its turn while the pool's starts fail shows as FATAL, and is tried again all the
//! same. A start that is not ready in time goes through Stopping to Backoff.
//! ```
//! A [`Slot`](slot::Slot) is one of these, and in a roll a second process beside it: the predecessor, which
//! serves until the successor is ready and then leaves. The first successor of a roll is its canary
//! (`trial`). Wanted is kept apart from the state:
//! commands change what is wanted, and [`Roster::handle`] moves the states toward it.
//!
//! `commands` is what is asked of a pool and `requests` when that is answered, `reports` what is heard of
//! its processes, `reconcile` what follows for all slots. Of one slot `states` has the table, `starting`
//! and `ending` what its entries do, `moves` how a change is made and told.
//!
//! Nothing here knows a clock, a process id or a broker: inputs are [`Event`]s with the time and a
//! random number, outputs are [`Effect`]s.

mod commands;
mod deaths;
mod ending;
mod entrance;
mod event;
mod leaving;
mod moves;
mod pacing;
mod reconcile;
mod reports;
mod requests;
mod roster;
mod runs;
mod slot;
mod starting;
mod states;
#[cfg(test)]
mod tests;
mod trial;
mod view;
mod wear;
mod why;

pub use event::{
    DeployStep, Edition, Effect, Event, Move, ProgramChange, ReadyRule, ReadyUntil, RequestId,
    RestartMode, Rules, Successor,
};
pub use roster::Roster;
pub use view::SeatView;
pub use why::{Cause, Next, Why};
