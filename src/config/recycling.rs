//! The keys that have workers replaced in time: after so many jobs, so long, or so much memory.

use std::time::Duration;

use super::table::Table;
use super::value::Value;
use super::wrong::{Parsed, Wrong};

/// Part of `max_age` that is drawn at random on top, unless `variance` says otherwise.
const VARIANCE_PART: u32 = 10;

/// When a worker that is well is replaced all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recycling {
    /// After so many jobs.
    pub jobs_max: Option<u32>,
    /// After so long.
    pub age_max: Option<AgeMax>,
    /// Above so many resident bytes of it and what it started.
    pub rss_max: Option<u64>,
    /// After so long without a job.
    pub idle_max: Option<Duration>,
    /// At most so many of the pool at once.
    pub at_once: u32,
}

/// A greatest age, and how much later it may be, so that a pool does not grow old at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeMax {
    /// At the earliest.
    pub age: Duration,
    /// A random part of this is added.
    pub variance: Duration,
}

impl Default for Recycling {
    fn default() -> Self {
        Self { jobs_max: None, age_max: None, rss_max: None, idle_max: None, at_once: 1 }
    }
}

impl Recycling {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let at_once = table.read("max_recycling", |value| above_zero(value.number()));
        Self {
            jobs_max: table.read("max_jobs", |value| above_zero(value.number())),
            age_max: table.read("max_age", age_max),
            rss_max: table.read("max_rss", |value| above_zero(value.size())),
            idle_max: table.read("idle_exit", |value| above_zero(value.duration())),
            at_once: at_once.unwrap_or(Self::default().at_once),
        }
    }

    /// Whether the workers have to be looked at from time to time.
    #[must_use]
    pub fn needs_looks(&self) -> bool {
        self.jobs_max.is_some() || self.rss_max.is_some() || self.idle_max.is_some()
    }
}

fn age_max(value: &Value<'_>) -> Parsed<AgeMax> {
    let of = |age: Duration| AgeMax { age, variance: age / VARIANCE_PART };
    if !value.is_table() {
        return above_zero(value.duration()).map(of);
    }
    let table = value.table()?;
    let age = table.read("age", |age| above_zero(age.duration()));
    let variance = table.read("variance", Value::duration);
    let has_age = table.get("age").is_some();
    table.finish();
    match age {
        Some(age) => Ok(AgeMax { age, variance: variance.unwrap_or(age / VARIANCE_PART) }),
        // It has been reported at the key itself.
        None if has_age => Ok(of(Duration::MAX)),
        None => {
            Err(Wrong::new("age is missing").hint("write { age = \"12h\", variance = \"1h\" }"))
        }
    }
}

/// A worker that is replaced after nothing would be replaced for ever.
fn above_zero<T: Default + PartialEq>(read: Parsed<T>) -> Parsed<T> {
    match read? {
        number if number == T::default() => {
            Err(Wrong::new("must be above nothing").hint("write more, or leave the key out"))
        }
        number => Ok(number),
    }
}
