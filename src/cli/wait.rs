//! `wait`: until workers are RUNNING.

use std::time::Duration;

use super::args::WaitArgs;
use super::commands::deadline;
use super::exit::{CliError, Exit};
use super::format;
use super::status::select;
use crate::control::api::{Intent, PoolStatus, Status, WorkerStatus};
use crate::control::client::{ClientError, ControlClient};
use crate::model::NamePattern;

/// Between two looks at the daemon.
const INTERVAL: Duration = Duration::from_millis(200);

/// How far the workers are.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    /// All are RUNNING, or have done their work.
    Ready,
    /// Not yet: this is missing.
    Missing(String),
    /// They will not be without help.
    Hopeless(String),
}

/// Waits until all that is named is RUNNING.
pub(super) async fn run(client: &ControlClient, args: &WaitArgs) -> Result<Exit, CliError> {
    let mut missing = "no daemon answers yet".to_owned();
    let watching = watch(client, args, &mut missing);
    let after = tokio::select! {
        ended = watching => return ended,
        after = deadline(args.timeout) => format::duration(after.as_secs_f64()),
    };
    Err(CliError::new(Exit::TimedOut, format!("not ready after {after}: {missing}")))
}

async fn watch(
    client: &ControlClient,
    args: &WaitArgs,
    missing: &mut String,
) -> Result<Exit, CliError> {
    loop {
        match client.status().await {
            Ok(status) => match readiness(&status, &args.names)? {
                Readiness::Ready => return Ok(Exit::Done),
                Readiness::Missing(what) => *missing = what,
                Readiness::Hopeless(why) => return Err(CliError::new(Exit::NotAsWanted, why)),
            },
            // A deadline says that the daemon may still be on its way up.
            Err(ClientError::NoDaemon { .. }) if args.timeout.is_some() => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn readiness(status: &Status, names: &[String]) -> Result<Readiness, CliError> {
    let meant = select(status, names)?;
    let mut missing = None;
    for pool in &meant.pools {
        if pool.intent == Intent::Stopped {
            let name = &pool.name;
            return Ok(Readiness::Hopeless(format!(
                "{name} is stopped; start it with gear-supervisor start {name}"
            )));
        }
        if let Some(waits) = pool.waits.as_ref().filter(|_| pool.stuck) {
            return Ok(Readiness::Hopeless(format!("{} {waits}", pool.name)));
        }
        let is_hopeless = |worker: &&WorkerStatus| {
            worker.state == "FATAL" || (worker.state == "EXITED" && worker.failed)
        };
        if let Some(fatal) = pool.workers.iter().find(is_hopeless) {
            return Ok(Readiness::Hopeless(describe(fatal)));
        }
        let single = names.iter().all(|name| !NamePattern::new(name).is_pool());
        missing = missing.or_else(|| missing_of(pool, single));
    }
    Ok(missing.map_or(Readiness::Ready, Readiness::Missing))
}

fn missing_of(pool: &PoolStatus, single_workers: bool) -> Option<String> {
    if pool.runs_at_times() {
        return None;
    }
    // One that has done its work is waited for as one that runs.
    let is_ready = |worker: &&WorkerStatus| {
        let is_up = match worker.state.as_str() {
            "RUNNING" => !pool.oneshot,
            state => state == "EXITED",
        };
        !worker.outgoing && is_up
    };
    let laggard = pool.workers.iter().find(|worker| !worker.outgoing && !is_ready(worker));
    let ready = pool.workers.iter().filter(is_ready).count();
    if let (true, Some(worker)) = (single_workers, laggard) {
        return Some(describe(worker));
    }
    let is_short = !single_workers && ready < pool.target as usize;
    is_short.then(|| {
        let counts = format!("{} has {ready} of {} workers RUNNING", pool.name, pool.target);
        laggard.map_or(counts.clone(), |worker| format!("{counts}; {}", describe(worker)))
    })
}

fn describe(worker: &WorkerStatus) -> String {
    if worker.detail.is_empty() {
        return format!("{} is {}", worker.name, worker.state);
    }
    format!("{} is {}: {}", worker.name, worker.state, worker.detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::scene;

    fn look(change: impl FnOnce(&mut Status), name: &str) -> Readiness {
        let mut status = scene::status();
        change(&mut status);
        readiness(&status, &[name.to_owned()]).unwrap()
    }

    #[test]
    fn ready_is_when_as_many_run_as_are_wanted() {
        assert_eq!(look(|_| (), "wordcount"), Readiness::Ready);
        assert_eq!(look(|_| (), "slow:2"), Readiness::Ready);
        let missing = "slow has 1 of 2 workers RUNNING; slow:1 is BACKOFF: next try in 1.2 s";
        for name in ["slow", "all"] {
            assert_eq!(look(|_| (), name), Readiness::Missing(missing.to_owned()));
        }
        let one = "slow:1 is BACKOFF: next try in 1.2 s".to_owned();
        assert_eq!(look(|_| (), "slow:1"), Readiness::Missing(one));
    }

    #[test]
    fn what_never_comes_by_itself_is_not_waited_for() {
        let fatal = |status: &mut Status| status.pools[0].workers[0].state = "FATAL".to_owned();
        let why = "slow:1 is FATAL: next try in 1.2 s".to_owned();
        assert_eq!(look(fatal, "slow"), Readiness::Hopeless(why));
        let stopped = |status: &mut Status| status.pools[0].intent = Intent::Stopped;
        assert!(matches!(look(stopped, "all"), Readiness::Hopeless(_)));
    }

    #[test]
    fn a_wrong_name_ends_the_wait() {
        let error = readiness(&scene::status(), &["slwo".to_owned()]).unwrap_err();
        assert_eq!(error.exit(), Exit::NoSuchName);
    }
}
