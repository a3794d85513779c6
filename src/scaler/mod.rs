//! How many workers each pool should have, and the sentence why.
//!
//! [`decide`] is pure: a [`Look`] goes in, a [`Plan`] comes out; no clock, no I/O, and no knowledge
//! of how workers are started or stopped. `estimate` (functions), `load` and `window` (pools) keep
//! the history, `need` says what a pool would have alone, `gate` what the host bears, `budget` who
//! gets the room, `fleet` how hosts at the same servers divide a need, `published` what they tell
//! each other. A target never builds on the present count, and starting workers count as capacity; a
//! scaler that breaks either rule overshoots at a cold start.

mod budget;
mod decide;
mod decision;
mod estimate;
mod fleet;
mod gate;
mod load;
mod need;
mod published;
mod sample;
pub mod simulation;
mod window;

pub use budget::Limit;
pub use decide::{FRESH, Plan, ScalerState, decide};
pub use decision::{Decision, Take};
pub use fleet::{Fleet, Peer, PeerPool, Strangers};
pub use gate::HostLimit;
pub use need::Inputs;
pub use published::{HOST_LEN_MAX, publish, published};
pub use sample::{FunctionSample, Look, PoolSample};
