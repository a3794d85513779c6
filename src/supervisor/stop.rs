//! Signals, and the end: pools drain while the broker still serves.

use std::io;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::entry::Entry;
use super::handle::Answer;
use super::task::Supervisor;
use crate::logs::LogsRequest;
use crate::pool::{PoolCommand, PoolHandle};

/// Every signal that means something to the daemon, but SIGCHLD.
pub(super) fn signals() -> io::Result<Signals> {
    Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])
}

/// The daemon is on its way out.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    closing: FuturesUnordered<oneshot::Receiver<()>>,
    answers: Vec<Answer>,
    over: bool,
}

impl Stopping {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Waits for one more pool to close; with none left it is over.
    pub(super) async fn next_closed(&mut self) {
        if self.closing.next().await.is_none() {
            for answer in self.answers.drain(..) {
                if answer.send(Ok(vec!["stopped".to_owned()])).is_err() {
                    info!("whoever asked for the stop has gone");
                }
            }
            self.over = true;
        }
    }
}

impl Supervisor {
    pub(super) async fn signalled(&mut self, signal: i32) {
        match signal {
            SIGHUP if self.stopping.is_some() => info!("not reading the file: stopping"),
            SIGHUP => self.reload_and_log("SIGHUP").await,
            SIGUSR1 | SIGUSR2 => {
                self.tell_logs(LogsRequest::Reopen).await;
            }
            _ if self.stopping.is_some() => self.hurry().await,
            _ => self.stop(None).await,
        }
    }

    /// Begins to stop; a second call kills what still runs.
    pub(super) async fn stop(&mut self, answer: Option<Answer>) {
        if let Some(stopping) = &mut self.stopping {
            stopping.answers.extend(answer);
            return;
        }
        let jobs = self.jobs_in_hand().await;
        let said = match jobs {
            0 => "stopping".to_owned(),
            1 => "1 job in hand, finishing (again = kill)".to_owned(),
            n => format!("{n} jobs in hand, finishing (again = kill)"),
        };
        info!("{said}");
        let mut stopping = Stopping::default();
        stopping.answers.extend(answer);
        let grace = self.settings.supervisor.shutdown_grace;
        self.service.stopping(&said, grace);
        let handles: Vec<_> = self.every_pool().cloned().collect();
        for pool in handles {
            let (reply, closed) = oneshot::channel();
            if pool.tell(PoolCommand::Close { grace, reply }).await.is_ok() {
                stopping.closing.push(closed);
            }
        }
        self.stopping = Some(stopping);
    }

    async fn hurry(&mut self) {
        info!("killing what still runs");
        let handles: Vec<_> = self.every_pool().cloned().collect();
        for pool in handles {
            if pool.tell(PoolCommand::Hurry).await.is_err() {
                warn!("a pool had closed before");
            }
        }
    }

    fn every_pool(&self) -> impl Iterator<Item = &PoolHandle> {
        self.pools.values().map(|entry: &Entry| &entry.handle).chain(&self.leaving)
    }

    async fn jobs_in_hand(&self) -> usize {
        let Some((overview, _)) = self.rooms.source.overview().await else { return 0 };
        overview.workers.values().map(|worker| worker.jobs.len()).sum()
    }
}
