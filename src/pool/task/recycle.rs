//! Workers that have done, held or waited enough: looked at each second, replaced one by one.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Pool, now};
use crate::model::{Tally, WorkerId};
use crate::pool::GateRequest;
use crate::pool::lifecycle::Event;
use crate::pool::process::resident;

/// Between two looks.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

impl Pool {
    /// When workers are to be looked at.
    pub(super) fn recycle_due(&self) -> Option<Instant> {
        let needs_looks = self.settings.upkeep.recycling.needs_looks();
        needs_looks.then(|| self.recycle_look.map_or_else(now, |last| last + LOOK_PERIOD))
    }

    /// Asks what each worker has done.
    pub(super) fn look_at_workers(&mut self) {
        self.recycle_look = Some(now());
        let tallies = self.tallies_in.clone();
        if !self.is_gated(&self.settings) {
            let idle =
                |worker: &WorkerId| Tally { worker: *worker, done: 0, is_busy: false, idle: None };
            // The channel is empty: one look at a time.
            tallies.try_send(self.pids.keys().map(idle).collect()).ok();
            return;
        }
        let (reply, answer) = oneshot::channel();
        let pool = self.settings.name.clone();
        self.gate.send(GateRequest::Tally { pool, reply });
        self.tracker.spawn(async move {
            if let Ok(tally) = answer.await
                && tallies.send(tally).await.is_err()
            {
                tracing::debug!("a pool ended while its workers were looked at");
            }
        });
    }

    /// Has worn workers replaced; busy ones only when no idle one is worn.
    pub(super) async fn judge_workers(&mut self, tallies: Vec<Tally>) {
        let worn: Vec<_> = tallies
            .into_iter()
            .filter_map(|tally| Some((tally.is_busy, tally.worker, self.wear(&tally)?)))
            .collect();
        let any_idle = worn.iter().any(|(is_busy, ..)| !is_busy);
        for (is_busy, worker, reason) in worn {
            if !(is_busy && any_idle) {
                self.pass(Event::Recycle { worker, reason }).await;
            }
        }
    }

    /// Why a worker is to be replaced, if it is.
    fn wear(&self, tally: &Tally) -> Option<String> {
        let recycling = &self.settings.upkeep.recycling;
        if let Some(max) = recycling.jobs_max.filter(|max| tally.done >= u64::from(*max)) {
            return Some(format!("has done {} jobs of max_jobs = {max}", tally.done));
        }
        let idle = tally.idle.zip(recycling.idle_max).filter(|(idle, max)| idle >= max);
        if let Some((idle, _)) = idle {
            let idle = humantime::format_duration(Duration::from_secs(idle.as_secs()));
            return Some(format!("has had no job for {idle}"));
        }
        let max = recycling.rss_max?;
        let rss = resident(*self.pids.get(&tally.worker)?);
        (rss > max).then(|| {
            let [rss, max] = [rss, max].map(bytesize::ByteSize::b);
            format!("holds {rss} of memory, above max_rss = {max}")
        })
    }
}
