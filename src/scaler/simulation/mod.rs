//! A virtual clock, jobs and workers that drive the scaler: what `simulate` and the gates run on.
//!
//! A [`Trace`] says which jobs come when and how long they take, a [`Stage`] which pools and which
//! host there are. [`run`] lets a [`Policy`] see the [`World`] and set the pools' counts, and
//! returns an [`Outcome`]. The same trace under the same policy gives the same outcome: nothing
//! reads a clock, and chance comes from [`Chance`] with a seed.

mod chance;
mod crew;
mod happening;
mod hosts;
mod outcome;
mod plot;
mod policy;
mod recording;
mod stage;
mod trace;
mod world;

pub use chance::Chance;
pub use crew::CrewView;
pub use happening::Happening;
pub use hosts::{Hosts, Knows};
pub use outcome::{Moment, Outcome, PoolOutcome};
pub use plot::plot;
pub use policy::{Autoscaler, Policy, Shrink};
pub use recording::{EndLine, Head, JobLine, PoolLine, Recording, RecordingError, VERSION};
pub use stage::{Stage, StagePool};
pub use trace::{Trace, TraceJob};
pub use world::{QueueView, World, run};
