//! What an operator is told: in the daemon's log, in the stream of events, and as marks in the
//! workers' own logs.

use std::time::SystemTime;

use tracing::{debug, error, info, warn};

use super::Pool;
use crate::config::Run;
use crate::logs::LogsRequest;
use crate::model::{Exit, WorkerId, WorkerName};
use crate::pool::lifecycle::{Move, Why};
use crate::pool::{LastTime, PoolEvent, PoolFailure};

impl Pool {
    /// Tells that a process was started.
    pub(super) async fn tell_start(&self, worker: &WorkerName, pid: i32) {
        info!(pool = %worker.pool, %worker, pid, "started");
        self.mark(worker, format!("started pid {pid}")).await;
    }

    /// Tells of a change of state.
    pub(super) async fn tell(&self, moved: Move) {
        let Move { index, role, worker: process, from, to, why } = moved;
        let worker = self.settings.name.worker(index);
        let pid = process.and_then(|process| self.pids.get(&process).copied());
        let (pool, before, state) = (&worker.pool, from.as_str(), to.as_str());
        if why.is_trouble() {
            warn!(%pool, %worker, pid, before, state, "{why}");
        } else if matches!(why, Why::Wanted | Why::Again) {
            debug!(%pool, %worker, before, state, "{why}");
        } else {
            info!(%pool, %worker, pid, before, state, "{why}");
        }
        let why = why.to_string();
        self.mark(&worker, format!("{before} → {state}: {why}")).await;
        let at = SystemTime::now();
        self.news.moved(PoolEvent { at, worker, role, pid, from, to, why });
    }

    /// Tells that it was time for a run, and none was begun.
    pub(super) async fn tell_skip(&mut self, why: String) {
        let pool = &self.settings.name;
        info!(%pool, "run skipped: {why}");
        self.mark(&pool.worker(1), format!("run skipped: {why}")).await;
        let said = format!("skipped: {why}");
        self.remember_last(said.clone());
        self.past = Some((SystemTime::now(), said));
        self.publisher.touch();
    }

    /// Remembers how a run ended.
    pub(super) fn remember_run(&self, worker: WorkerId, exit: Exit) {
        if self.settings.run.run != Run::OnCall {
            return;
        }
        let exits = self.roster.seats().filter_map(|seat| seat.last_exit);
        let last = { exits }.find(|last| last.worker == worker);
        // In a pool that is being closed its slot has gone with it.
        self.remember_last(last.map_or_else(|| format!("{exit}, as asked"), |it| it.sentence()));
    }

    fn remember_last(&self, said: String) {
        let last = LastTime::now(said, String::new());
        self.memory.change(|memory| memory.last = Some(last));
    }

    /// Tells that no worker runs and none can be started.
    pub(super) fn tell_failure(&self, reason: String) {
        let pool = self.settings.name.clone();
        if self.settings.upkeep.essential {
            error!(%pool, reason, "an essential pool has failed");
            self.news.failed(PoolFailure { pool, reason });
        } else {
            error!(%pool, reason, "no worker runs, and none can be started; it is tried again");
        }
    }

    async fn mark(&self, worker: &WorkerName, text: String) {
        let mark = LogsRequest::Mark { worker: worker.clone(), text };
        if let Err(error) = self.logs.tell(mark).await {
            debug!(%worker, %error, "a mark was lost");
        }
    }
}
