//! The keys of how a new program reaches a pool's workers.
//!
//! A change of these keys touches no worker; the next roll goes by them.

use std::time::Duration;

use super::table::{Table, Value};
use super::wrong::{Parsed, Wrong};

/// How long a canary lives that gets no job.
const ALIVE: Duration = Duration::from_secs(5);

/// The keys of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploys {
    /// How long the first new worker of a roll has to live, unless it does a job before; `None`:
    /// the others do not wait for it.
    pub canary: Option<Duration>,
}

impl Default for Deploys {
    fn default() -> Self {
        Self { canary: Some(ALIVE) }
    }
}

impl Deploys {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>) -> Self {
        let usual = Self::default();
        Self { canary: table.read("canary", canary).unwrap_or(usual.canary) }
    }

    /// The keys that differ.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let keys = [("canary", self.canary != other.canary)];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

/// `true`, `false`, `"10s"` or `{ alive = "10s" }`.
fn canary(value: &Value<'_>) -> Parsed<Option<Duration>> {
    if value.is_table() {
        let table = value.table()?;
        let alive = table.read("alive", Value::duration).unwrap_or(ALIVE);
        table.finish();
        return Ok(Some(alive));
    }
    match value.flag() {
        Ok(true) => Ok(Some(ALIVE)),
        Ok(false) => Ok(None),
        Err(_) => value.duration().map(Some).map_err(|wrong| {
            let problem = format!("{}, and neither true nor false", wrong.problem);
            Wrong::new(problem).hint("write canary = true, or { alive = \"10s\" }")
        }),
    }
}
