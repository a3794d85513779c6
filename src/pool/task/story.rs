//! What an operator is told: in the daemon's log and as marks in the workers' own.

use tracing::{debug, info, warn};

use super::Pool;
use crate::logs::LogsRequest;
use crate::model::{WorkerId, WorkerName};
use crate::pool::lifecycle::{Next, Note};

impl Pool {
    /// Tells that a process was started.
    pub(super) async fn tell_start(&self, worker: &WorkerName, pid: i32) {
        info!(pool = %worker.pool, %worker, pid, "started");
        self.mark(worker, format!("started pid {pid}")).await;
    }

    /// Tells what happened to a process.
    pub(super) async fn tell(&self, worker: &WorkerName, process: WorkerId, note: Note) {
        let pool = &worker.pool;
        let pid = self.pids.get(&process).copied().unwrap_or_default();
        match note {
            Note::Ready { after } => debug!(%pool, %worker, pid, ?after, "ready"),
            Note::Stopped(exit) => {
                info!(%pool, %worker, pid, %exit, "stopped");
                self.mark(worker, format!("stopped: {exit}")).await;
            }
            Note::Died { exit, after, next } => {
                let after = format!("{:.2} s", after.as_secs_f64());
                let next = told(next);
                if exit.is_success() {
                    info!(%pool, %worker, pid, %exit, after, next, "exited");
                } else {
                    warn!(%pool, %worker, pid, %exit, after, next, "exited");
                }
                self.mark(worker, format!("exited: {exit} after {after}; {next}")).await;
            }
            Note::NotStarted { reason, next } => {
                let next = told(next);
                warn!(%pool, %worker, next, "{reason}");
                self.mark(worker, format!("{reason}; {next}")).await;
            }
        }
    }

    async fn mark(&self, worker: &WorkerName, text: String) {
        let mark = LogsRequest::Mark { worker: worker.clone(), text };
        if let Err(error) = self.logs.tell(mark).await {
            debug!(%worker, %error, "a mark was lost");
        }
    }
}

fn told(next: Next) -> String {
    match next {
        Next::Replaced => "replaced at once".to_owned(),
        Next::Pause(pause) => format!("next try in {:.2} s", pause.as_secs_f64()),
        Next::Turn => "its pool tries one worker at a time".to_owned(),
        Next::Nothing => "not replaced".to_owned(),
    }
}
