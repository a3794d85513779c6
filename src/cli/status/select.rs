//! The part of a status that names mean.

use crate::cli::exit::{CliError, Exit};
use crate::control::api::{PoolStatus, Status};
use crate::control::{self, nearest};
use crate::model::{NamePattern, PoolName, WorkerName};

/// The status with only those pools and workers that a name means; all of them without names.
pub(in crate::cli) fn select(status: &Status, names: &[String]) -> Result<Status, CliError> {
    let mut meant = status.clone();
    if names.is_empty() {
        return Ok(meant);
    }
    let names = &spelled_out(status, names)[..];
    let patterns = patterns(names);
    for pattern in &patterns {
        if !status.pools.iter().any(|pool| is_meant(pool, pattern)) {
            return Err(no_such_name(status, &pattern.to_string()));
        }
    }
    meant.pools.retain_mut(|pool| {
        let is_whole = is_meant_whole(pool, names);
        if !is_whole {
            pool.workers
                .retain(|worker| patterns.iter().any(|pattern| is_worker(&worker.name, pattern)));
        }
        is_whole || !pool.workers.is_empty()
    });
    Ok(meant)
}

/// The names with labels replaced by the pools that have them.
pub(in crate::cli) fn spelled_out(status: &Status, names: &[String]) -> Vec<String> {
    let pools: Vec<_> =
        status.pools.iter().map(|pool| (pool.name.as_str(), pool.labels.as_slice())).collect();
    control::spelled_out(names, &pools)
}

/// True when the names mean the pool as such, not only some of its workers.
pub(super) fn is_meant_whole(pool: &PoolStatus, names: &[String]) -> bool {
    names.is_empty() || patterns(names).iter().any(|pattern| is_whole(pool, pattern))
}

fn patterns(names: &[String]) -> Vec<NamePattern> {
    names.iter().map(|name| NamePattern::new(name)).collect()
}

fn is_meant(pool: &PoolStatus, pattern: &NamePattern) -> bool {
    is_whole(pool, pattern) || pool.workers.iter().any(|worker| is_worker(&worker.name, pattern))
}

fn is_whole(pool: &PoolStatus, pattern: &NamePattern) -> bool {
    let name: Result<PoolName, _> = pool.name.parse();
    pattern.is_pool() && name.is_ok_and(|name| pattern.matches_pool(&name))
}

fn is_worker(name: &str, pattern: &NamePattern) -> bool {
    let name: Result<WorkerName, _> = name.parse();
    name.is_ok_and(|name| pattern.matches_worker(&name))
}

fn no_such_name(status: &Status, name: &str) -> CliError {
    let pools = status.pools.iter().map(|pool| pool.name.clone());
    let workers = status.pools.iter().flat_map(|pool| &pool.workers);
    let labels = status.pools.iter().flat_map(|pool| &pool.labels);
    let labels = labels.map(|label| format!("@{label}"));
    let known = pools.chain(workers.map(|worker| worker.name.clone())).chain(labels);
    let error = CliError::new(Exit::NoSuchName, format!("no pool or worker is called '{name}'"));
    match nearest(name, known) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error.with_hint("gear-supervisor status lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::scene;

    fn selected(names: &[&str]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let status = select(&scene::status(), &names).unwrap();
        status.pools.into_iter().flat_map(|pool| pool.workers).map(|w| w.name).collect()
    }

    #[test]
    fn names_and_patterns_pick_pools_and_workers() {
        let all = ["slow:1", "slow:2", "wordcount:1"];
        assert_eq!(selected(&[]), all);
        assert_eq!(selected(&["all"]), all);
        assert_eq!(selected(&["slow"]), ["slow:1", "slow:2"]);
        assert_eq!(selected(&["*:1"]), ["slow:1", "wordcount:1"]);
        assert_eq!(selected(&["slow:2", "word*"]), ["slow:2", "wordcount:1"]);
    }

    #[test]
    fn a_name_that_nothing_has_is_refused_with_the_nearest_one() {
        let error = select(&scene::status(), &["wordcuont".to_owned()]).unwrap_err();
        let want = CliError::new(Exit::NoSuchName, "no pool or worker is called 'wordcuont'")
            .with_hint("did you mean 'wordcount'?");
        assert_eq!(error, want);
    }
}
