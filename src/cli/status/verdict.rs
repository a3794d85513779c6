//! What of a daemon is not as it is wanted.

use super::select::{is_meant_whole, spelled_out};
use crate::control::api::{Intent, PoolStatus, Status, WorkerStatus};

/// A sentence for each trouble of a status that these names selected; none when all is as wanted.
pub(super) fn troubles(status: &Status, names: &[String]) -> Vec<String> {
    let names = &spelled_out(status, names)[..];
    let mut troubles = Vec::new();
    if status.config.rejected.is_some() {
        troubles.push("the last edit of the file is not applied".to_owned());
    }
    if let Some(error) = status.broker.as_ref().and_then(|broker| broker.store_error.as_ref()) {
        troubles.push(format!("background jobs cannot be stored: {error}"));
    }
    for pool in &status.pools {
        troubles.extend(pool.workers.iter().filter_map(of_worker));
        if is_meant_whole(pool, names) {
            troubles.extend(of_canary(pool));
            troubles.extend(of_count(pool));
        }
    }
    troubles
}

fn of_worker(worker: &WorkerStatus) -> Option<String> {
    worker.failed.then(|| match worker.detail.as_str() {
        "" => format!("{} is {}", worker.name, worker.state),
        detail => format!("{} is {}: {detail}", worker.name, worker.state),
    })
}

/// A new program that is not in use.
fn of_canary(pool: &PoolStatus) -> Option<String> {
    let canary = pool.canary.as_ref()?;
    let reason = canary.failed.as_ref()?;
    Some(format!("{}: the canary failed, and the old workers serve on: {reason}", canary.worker))
}

/// A pool that is to be up and has fewer workers than it is to have, with none on their way.
fn of_count(pool: &PoolStatus) -> Option<String> {
    let is_coming = |worker: &&WorkerStatus| {
        // One that has done its work and rests is as wanted.
        !worker.outgoing && matches!(worker.state.as_str(), "RUNNING" | "STARTING" | "EXITED")
    };
    // These have been told of already.
    let is_told = |worker: &&WorkerStatus| worker.failed && worker.state != "EXITED";
    if pool.intent == Intent::Stopped {
        return None;
    }
    let counted = |filter: &dyn Fn(&&WorkerStatus) -> bool| {
        pool.workers.iter().filter(|worker| filter(worker)).count()
    };
    let (coming, told) = (counted(&is_coming), counted(&is_told));
    let missing = (pool.target as usize).saturating_sub(coming).saturating_sub(told);
    (missing > 0).then(|| format!("{} has {coming} of {} workers", pool.name, pool.target))
}
