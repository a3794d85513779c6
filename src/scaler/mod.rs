//! How many workers a pool should have, and the sentence why.
//!
//! [`decide`] is pure: numbers in, a [`Decision`] out; no clock, no I/O, and no knowledge of how
//! workers are started or stopped. The rules are the backlog rule (grow at once to what drains the
//! queue within the objective) and the shrink rule (fall to what the busiest recent minute
//! needed), both on one measure of the load: the time workers were busy. The absolute target never
//! builds on the present count, and starting workers count as capacity; a scaler that breaks
//! either rule overshoots at a cold start.

mod decide;
mod estimate;
mod gate;

pub use decide::{Decision, HostRoom, Limit, Samples, ScalerSettings, decide};
pub use estimate::PoolState;
pub use gate::{HostGate, HostLimit};
