//! The file → checked [`Settings`], every mistake with its place; and the difference of two.
//!
//! `load` reads a file with its includes: `source` knows its places, `table` asks it for keys,
//! `values` turns texts into what they stand for, `daemon` and `pool` say which keys there are.
//! `diff` compares two settings and `watch` tells when the disk holds others than were read.
//! Nothing here knows what runs.

mod accounts;
mod cgroup;
mod command;
mod daemon;
mod deploys;
mod diff;
mod direct;
mod env_file;
mod error;
mod expand;
mod files;
mod function;
mod health;
mod last_good;
mod limits;
mod load;
mod log;
mod min_at;
mod order;
mod pool;
mod powers;
mod recycling;
mod replace;
mod rlimit;
mod run;
mod runner;
mod scaling;
mod settings;
mod source;
mod sources;
mod surroundings;
mod table;
mod trust;
mod upkeep;
mod value;
mod values;
mod watch;
mod wrong;

pub use cgroup::CgroupLimits;
pub use daemon::MEMORY_BUDGET;
pub use deploys::{Deploys, FilePattern, WorkerFiles};
pub use diff::{Changes, PoolChange, diff};
pub use error::{ConfigError, ConfigErrors, Place};
pub use function::{FunctionRule, FunctionRules};
pub use health::{Check, Liveness, LivenessOn, Ready, ReadyOn};
pub use last_good::{LastGood, keep_last_good, last_good};
pub use limits::{CpuList, IoPriority, Limits};
pub use load::{known_keys, load, load_text, socket_of};
pub use log::{Continuation, LogSettings, LogTarget};
pub use min_at::MinAt;
pub use order::Order;
pub use powers::{CgroupSight, Powers};
pub use recycling::{AgeMax, Recycling};
pub use replace::replace_file;
pub use rlimit::{Rlimit, RlimitKind};
pub use run::{Run, RunSettings, TimedAction, Timetable};
pub use settings::*;
pub use sources::{IncludePattern, Sources};
pub use surroundings::Surroundings;
pub use upkeep::{Restart, Strays, Upkeep};
pub use watch::{ProgramChanged, ProgramFiles, ProgramWatcher, WatchError, Watcher};
