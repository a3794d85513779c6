//! What a command waits for, on a line of the terminal that comes and goes.

use std::time::Duration;

use super::format;
use super::output;
use super::status::spelled_out;
use crate::control::api::{Status, WorkerStatus};
use crate::control::client::ControlClient;
use crate::model::{NamePattern, WorkerName};

/// Before the first word: a command that ends sooner needs none.
const QUIET: Duration = Duration::from_millis(400);
/// Between two looks at the daemon.
const INTERVAL: Duration = Duration::from_millis(250);
/// Names that are told before the rest is only counted.
const NAMES_SHOWN: usize = 3;
/// Turns once a second.
const SPINNER: [&str; 4] = ["-", "\\", "|", "/"];

/// The line; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct ProgressLine {
    is_shown: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { is_shown: false }
    }

    /// Shows what the workers of these names are waited for, for ever; nothing without a terminal.
    pub(super) async fn follow(
        &mut self,
        client: &ControlClient,
        names: &[String],
    ) -> std::convert::Infallible {
        if !output::stderr_is_terminal() {
            return std::future::pending().await;
        }
        tokio::time::sleep(QUIET).await;
        for spinner in SPINNER.iter().cycle() {
            // Whatever keeps the daemon from telling is for the command itself to report.
            let status = client.status().await.ok();
            let waits = status.and_then(|status| {
                let names = spelled_out(&status, names);
                let patterns: Vec<_> = names.iter().map(|name| NamePattern::new(name)).collect();
                waits_for(&status, &patterns)
            });
            self.show(&format!("{spinner} {}", waits.unwrap_or_else(|| "working".to_owned())));
            tokio::time::sleep(INTERVAL).await;
        }
        std::future::pending().await
    }

    /// Replaces the line.
    pub(super) fn show(&mut self, text: &str) {
        self.is_shown = true;
        output::to_stderr(format!("\r\x1b[K{text}").as_bytes());
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.is_shown {
            output::to_stderr(b"\r\x1b[K");
            self.is_shown = false;
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `waiting for slow:1 (job H:x:12, 4.0 s) and slow:2 (STARTING)`; `None` when all are at rest.
fn waits_for(status: &Status, patterns: &[NamePattern]) -> Option<String> {
    let workers = status.pools.iter().flat_map(|pool| &pool.workers);
    let moving: Vec<String> = workers
        .filter(|worker| is_meant(&worker.name, patterns) && is_moving(worker))
        .map(describe)
        .collect();
    let more = moving.len().saturating_sub(NAMES_SHOWN);
    let shown: Vec<_> = moving.into_iter().take(NAMES_SHOWN).collect();
    if shown.is_empty() {
        return None;
    }
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("waiting for {}{rest}", shown.join(", ")))
}

fn is_meant(name: &str, patterns: &[NamePattern]) -> bool {
    let name: Result<WorkerName, _> = name.parse();
    name.is_ok_and(|name| patterns.iter().any(|pattern| pattern.matches_worker(&name)))
}

fn is_moving(worker: &WorkerStatus) -> bool {
    worker.outgoing
        || worker.outdated
        || matches!(worker.state.as_str(), "STARTING" | "STOPPING" | "BACKOFF")
}

fn describe(worker: &WorkerStatus) -> String {
    let name = &worker.name;
    match worker.jobs.first() {
        Some(job) => {
            let running = job.running.map(|running| format!(", {}", format::duration(running)));
            format!("{name} (job {}{})", job.handle, running.unwrap_or_default())
        }
        None if worker.detail.is_empty() => format!("{name} ({})", worker.state),
        None => format!("{name} ({}: {})", worker.state, worker.detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::scene;

    #[test]
    fn a_wait_names_the_workers_and_the_jobs_in_their_hands() {
        let mut status = scene::status();
        let waits = |status: &Status, name| waits_for(status, &[NamePattern::new(name)]);
        assert_eq!(waits(&status, "wordcount"), None);
        let slow = "waiting for slow:1 (BACKOFF: next try in 1.2 s)";
        assert_eq!(waits(&status, "all").as_deref(), Some(slow));
        status.pools[0].workers[1].state = "STOPPING".to_owned();
        let busy = "waiting for slow:2 (job H:x:3, 4.0 s)";
        assert_eq!(waits(&status, "slow:2").as_deref(), Some(busy));
    }
}
