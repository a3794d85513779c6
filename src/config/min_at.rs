//! The key `min_at`: times at which a pool has more workers than its min.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::run;
use super::settings::Count;
use super::table::Table;
use super::value::Value;
use super::wrong::{Parsed, Wrong};
use crate::model::CronTimes;

/// From each of these times on, for so long, the pool's min is at least this.
#[derive(Clone, Debug, PartialEq)]
pub struct MinAt {
    /// When it begins.
    pub times: CronTimes,
    /// By whose clock.
    pub zone: TimeZone,
    /// For how long.
    pub length: Duration,
    /// The min.
    pub min: u32,
}

/// Reads the key of a pool, or of the defaults.
pub(super) fn read(table: &Table<'_>, zone: &TimeZone) -> Vec<MinAt> {
    table.read("min_at", |value| entries(value, zone)).unwrap_or_default()
}

/// What is left of it in a pool of this count; what does not go together is reported.
pub(super) fn checked(entries: Vec<MinAt>, table: &Table<'_>, count: Count) -> Vec<MinAt> {
    if entries.is_empty() {
        return entries;
    }
    if count.is_fixed() {
        // What the defaults say is for pools that grow.
        if table.owns("min_at") {
            let wrong = Wrong::new("a fixed count has no min to raise");
            table.wrong_at("min_at", wrong.hint("write count = { min = 1, max = 8 }"));
        }
        return Vec::new();
    }
    if let Some(entry) = entries.iter().find(|entry| entry.min > count.max) {
        let wrong = Wrong::new(format!("min = {} is above max = {}", entry.min, count.max));
        table.wrong_at("min_at", wrong.hint("raise max or lower min"));
    }
    entries
}

fn entries(value: &Value<'_>, zone: &TimeZone) -> Parsed<Vec<MinAt>> {
    value.tables()?.iter().map(|table| entry(table, zone)).collect()
}

fn entry(table: &Table<'_>, zone: &TimeZone) -> Parsed<MinAt> {
    let times = table.read("cron", run::cron);
    let length = table.read("for", Value::duration).filter(|length| !length.is_zero());
    let min = table.read("min", Value::number);
    table.finish();
    let (Some(times), Some(length), Some(min)) = (times, length, min) else {
        return Err(Wrong::new("each entry has cron, for and min")
            .hint("write { cron = \"0 8 * * 1-5\", for = \"10h\", min = 8 }"));
    };
    Ok(MinAt { times, zone: zone.clone(), length, min })
}
