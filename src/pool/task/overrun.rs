//! Jobs that take too long: who holds one, since when, and when to look again.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Pool, now};
use crate::model::{InHand, WorkerId};
use crate::pool::GateRequest;
use crate::pool::lifecycle::Event;

/// Two looks are at least so far apart: what was killed takes a moment to die.
const LOOK_PERIOD_MIN: Duration = Duration::from_millis(100);

/// When jobs are looked at, and who waits for workers that were killed for theirs.
#[derive(Debug, Default)]
pub(super) struct Overruns {
    due: Option<Instant>,
    killed: Vec<(WorkerId, oneshot::Sender<()>)>,
}

impl Pool {
    /// When jobs are to be looked at.
    pub(super) fn overrun_due(&self) -> Option<Instant> {
        self.settings.upkeep.job_timeout.filter(|_| self.is_gated(&self.settings))?;
        // At once after a start or when the key came.
        Some(self.overruns.due.unwrap_or_else(now))
    }

    /// Another time is allowed: when the next look is due was reckoned with the old one.
    pub(super) fn look_at_jobs_anew(&mut self) {
        self.overruns.due = None;
    }

    /// Asks who holds which job. A job that begins later is not due before the next look.
    pub(super) fn look_at_jobs(&mut self) {
        let Some(timeout) = self.settings.upkeep.job_timeout else { return };
        self.overruns.due = Some(now() + timeout.max(LOOK_PERIOD_MIN));
        let (reply, answer) = oneshot::channel();
        let pool = self.settings.name.clone();
        self.gate.send(GateRequest::InHand { pool, reply });
        let answers = self.in_hand.clone();
        self.tracker.spawn(async move {
            if let Ok(jobs) = answer.await
                && answers.send(jobs).await.is_err()
            {
                tracing::debug!("a pool ended while its jobs were looked at");
            }
        });
    }

    /// Ends the workers whose jobs are overdue.
    pub(super) async fn judge_jobs(&mut self, jobs: Vec<InHand>) {
        let Some(timeout) = self.settings.upkeep.job_timeout else { return };
        for InHand { worker, handle, running } in jobs {
            if running >= timeout {
                let limit = humantime::format_duration(timeout);
                let reason = format!("job {handle} took longer than {limit}");
                self.pass(Event::Overrun { worker, reason }).await;
            } else {
                let due = now() + timeout.saturating_sub(running).max(LOOK_PERIOD_MIN);
                self.overruns.due = Some(self.overruns.due.map_or(due, |before| before.min(due)));
            }
        }
    }

    /// Kills a worker for the job in its hands; tells when it has ended.
    pub(super) async fn kill_job(
        &mut self,
        worker: WorkerId,
        reason: String,
        reply: oneshot::Sender<()>,
    ) {
        // One that has ended already is dropped with its reply.
        if self.pids.contains_key(&worker) {
            self.overruns.killed.push((worker, reply));
            self.pass(Event::Overrun { worker, reason }).await;
        }
    }

    /// A worker has ended.
    pub(super) fn tell_killed(&mut self, worker: WorkerId) {
        if self.overruns.killed.iter().any(|(killed, _)| *killed == worker) {
            self.publish();
        }
        for (_, reply) in self.overruns.killed.extract_if(.., |(killed, _)| *killed == worker) {
            if reply.send(()).is_err() {
                tracing::debug!("whoever killed a job did not wait");
            }
        }
    }
}
