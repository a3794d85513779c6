//! Signals, and the end: pools drain while the broker still serves, each before those that it comes
//! after.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::entry::Entry;
use super::handle::Answer;
use super::task::Supervisor;
use super::usher::unneeded;
use crate::logs::LogsRequest;
use crate::model::PoolName;
use crate::pool::{PoolCommand, PoolHandle};

/// What a pool has to end in though those that needed it took all the time.
const LAST_GRACE: Duration = Duration::from_secs(5);

/// Every signal that means something to the daemon, but SIGCHLD.
pub(super) fn signals() -> io::Result<Signals> {
    Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])
}

/// The daemon is on its way out.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    closing: FuturesUnordered<BoxFuture<'static, Option<PoolName>>>,
    /// Pools that are not closed, with those that they need; some of them are being closed.
    open: BTreeMap<PoolName, Vec<PoolName>>,
    /// Those that were told to close.
    told: BTreeSet<PoolName>,
    /// When jobs in hand have had their time.
    deadline: Option<Instant>,
    answers: Vec<Answer>,
    over: bool,
}

impl Stopping {
    /// Closes a pool, in the place of its name unless it has left that already.
    async fn close(&mut self, pool: &PoolHandle, name: Option<PoolName>, grace: Duration) {
        let (reply, closed) = oneshot::channel();
        let is_gone = pool.tell(PoolCommand::Close { grace, reply }).await.is_err();
        self.closing.push(Box::pin(async move {
            if !is_gone {
                // Dropped unanswered: it has ended in another way.
                closed.await.unwrap_or_default();
            }
            name
        }));
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Waits for one more pool to close; with none left it is over.
    pub(super) async fn next_closed(&mut self) {
        if let Some(closed) = self.closing.next().await {
            self.open.retain(|name, _| Some(name) != closed.as_ref());
        } else {
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
        stopping.deadline = Instant::now().checked_add(grace);
        let pools = self.pools.iter();
        let needs = pools.map(|(name, entry)| (name.clone(), entry.settings.order.after.clone()));
        stopping.open = needs.collect();
        for pool in &self.leaving {
            stopping.close(pool, None, grace).await;
        }
        self.stopping = Some(stopping);
        self.close_unneeded().await;
    }

    /// Closes the pools that no other one needs any more.
    pub(super) async fn close_unneeded(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        let left = stopping.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // Those that come last have time for a signal even if the others took all there was.
        let grace = left.map_or(Duration::MAX, |left| left.max(LAST_GRACE));
        let is_later = !stopping.told.is_empty();
        let mut told = Vec::new();
        for name in unneeded(&stopping.open) {
            if stopping.told.insert(name.clone())
                && let Some(entry) = self.pools.get(&name)
            {
                told.push(name.to_string());
                stopping.close(&entry.handle, Some(name), grace).await;
            }
        }
        if is_later && !told.is_empty() {
            // The service manager is to wait for these, too.
            let said = format!("stopping {}, which others needed", told.join(", "));
            info!("{said}");
            self.service.stopping(&said, grace);
        }
    }

    async fn hurry(&mut self) {
        info!("killing what still runs");
        if let Some(stopping) = &mut self.stopping {
            for (name, entry) in &self.pools {
                if stopping.told.insert(name.clone()) {
                    stopping.close(&entry.handle, Some(name.clone()), Duration::ZERO).await;
                }
            }
        }
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
