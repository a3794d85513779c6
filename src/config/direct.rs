//! `[broker] direct`: workers that connect to Gearman servers by themselves, and what cannot be had
//! then, since nobody but the server knows which of them has which job.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::health::ReadyOn;
use super::settings::{Count, ServersWay, StopStep};
use super::table::Table;
use super::upkeep::Upkeep;
use super::value::Value;
use super::wrong::Wrong;

/// Reads the key.
pub(super) fn way(table: &Table<'_>, servers: &[String]) -> ServersWay {
    match table.read("direct", Value::flag) {
        Some(true) if servers.is_empty() => {
            let wrong = Wrong::new("without servers workers have nobody to connect to");
            table.wrong_at("direct", wrong.hint("set servers, or remove it"));
            ServersWay::Direct
        }
        Some(true) => ServersWay::Direct,
        Some(false) | None => ServersWay::Forward,
    }
}

/// Refuses keys of a pool with jobs that need to know who has which.
pub(super) fn check(table: &Table<'_>, count: Count, upkeep: &Upkeep) {
    let recycling = &upkeep.recycling;
    let refused = [
        ("count", !count.is_fixed(), "which worker is idle and may be stopped"),
        ("job_timeout", upkeep.job_timeout.is_some(), "which worker has which job"),
        ("max_jobs", recycling.jobs_max.is_some(), "how many jobs a worker has done"),
        ("idle_exit", recycling.idle_max.is_some(), "which worker is idle"),
        ("ready", upkeep.ready.on == ReadyOn::Registered, "what a worker has registered"),
    ];
    for (key, _, what) in refused.into_iter().filter(|(_, is_set, _)| *is_set) {
        let wrong = Wrong::new(format!("with [broker] direct = true nobody here knows {what}"));
        let instead = if key == "count" { "write one number" } else { "remove it" };
        table.wrong_at(key, wrong.hint(format!("{instead}, or remove direct = true")));
    }
}

/// How a worker is stopped whose job is not known: TERM, and no KILL behind it, since what does not
/// end at once may be at work.
pub(super) fn stop() -> Vec<StopStep> {
    vec![StopStep { signal: Signal::SIGTERM, wait: Duration::ZERO }]
}
