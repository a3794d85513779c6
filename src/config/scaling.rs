//! The keys that say how a pool's count is found, and what of the host pools may take.

use std::time::Duration;

use super::settings::{HostSettings, MemoryReserve, ScalingMode, ScalingSettings};
use super::table::Table;
use super::value::Value;
use super::values::{self, one_of};
use super::wrong::{Parsed, Wrong};

/// Below it an objective is shorter than what the rules look at.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// Largest weight and priority: above them a number is a typing mistake.
const WEIGHT_MAX: u32 = 1000;
const PRIORITY_MAX: i32 = 100;

/// Reads the keys of a pool, or of `[defaults]`.
pub(super) fn pool(table: &Table<'_>) -> ScalingSettings {
    let unset = ScalingSettings::default();
    ScalingSettings {
        max_wait: table.read("max_wait", max_wait).unwrap_or(unset.max_wait),
        mode: table.read("mode", mode).unwrap_or(unset.mode),
        weight: table.read("weight", weight).unwrap_or(unset.weight),
        priority: table.read("scale_priority", priority).unwrap_or(unset.priority),
        reserve: table.read("reserve", Value::number).unwrap_or(unset.reserve),
        spare: table.read("spare", Value::number).unwrap_or(unset.spare),
        idle_ttl: table.read("idle_ttl", Value::duration).unwrap_or(unset.idle_ttl),
        zero_after: table.read("zero_after", Value::duration).unwrap_or(unset.zero_after),
        startup: table.read("startup", Value::duration),
    }
}

/// Reads `[host]`.
pub(super) fn host(table: &Table<'_>) -> HostSettings {
    let unset = HostSettings::default();
    HostSettings {
        workers_max: table.read("max_workers", workers_max),
        memory_reserve: table.read("reserve_memory", memory_reserve),
        load_max: table.read("max_load", above_zero).unwrap_or(unset.load_max),
        memory_pressure_max: table
            .read("max_psi_memory", percent_above_zero)
            .unwrap_or(unset.memory_pressure_max),
        cpu_pressure_max: table
            .read("max_psi_cpu", percent_above_zero)
            .unwrap_or(unset.cpu_pressure_max),
    }
}

fn max_wait(value: &Value<'_>) -> Parsed<Duration> {
    match value.duration()? {
        wait if wait < WAIT_MIN => {
            Err(Wrong::new("no count of workers keeps that").hint("write \"10ms\" or more"))
        }
        wait => Ok(wait),
    }
}

fn mode(value: &Value<'_>) -> Parsed<ScalingMode> {
    let modes = [
        ("latency", ScalingMode::Latency),
        ("balanced", ScalingMode::Balanced),
        ("economy", ScalingMode::Economy),
    ];
    value.parse(|text| one_of(text, &modes))
}

fn weight(value: &Value<'_>) -> Parsed<u32> {
    match value.number()? {
        weight @ 1..=WEIGHT_MAX => Ok(weight),
        weight => Err(Wrong::new(format!("{weight} is not a weight from 1 to {WEIGHT_MAX}"))
            .hint("write one, as in 4")),
    }
}

fn priority(value: &Value<'_>) -> Parsed<i32> {
    let number = value.decimal()?;
    let whole = (-PRIORITY_MAX..=PRIORITY_MAX).find(|n| (f64::from(*n) - number).abs() < 1e-9);
    whole.ok_or_else(|| {
        Wrong::new(format!("{number} is not a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}"))
            .hint("write one, as in 1")
    })
}

fn workers_max(value: &Value<'_>) -> Parsed<u32> {
    match value.number()? {
        0 => Err(Wrong::new("no worker could run").hint("write 1 or more, or remove the key")),
        max => Ok(max),
    }
}

/// `"512MiB"` or `"5%"`.
fn memory_reserve(value: &Value<'_>) -> Parsed<MemoryReserve> {
    if !value.is_text() {
        return value.size().map(MemoryReserve::Bytes);
    }
    value.parse(|text| match text.strip_suffix('%').map(|number| number.trim().parse::<f64>()) {
        None => values::size(text).map(MemoryReserve::Bytes),
        Some(Ok(percent)) if (0.0..100.0).contains(&percent) => Ok(MemoryReserve::Percent(percent)),
        Some(_) => Err(Wrong::new(format!("'{text}' is not a share of the memory"))
            .hint("write \"0%\" to below \"100%\", or a size")),
    })
}

fn above_zero(value: &Value<'_>) -> Parsed<f64> {
    match value.decimal()? {
        number if number > 0.0 => Ok(number),
        number => {
            Err(Wrong::new(format!("at {number} nothing could grow")).hint("write as in 2.0"))
        }
    }
}

fn percent_above_zero(value: &Value<'_>) -> Parsed<f64> {
    match above_zero(value)? {
        percent if percent <= 100.0 => Ok(percent),
        percent => Err(Wrong::new(format!("{percent} is above 100 percent")).hint("write less")),
    }
}
