//! The task beside one process: waits until it is ready, and then that it stays well.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::check::Prober;
use super::notify::{NotifyReader, NotifySocket};
use super::{News, Sign};
use crate::config::{Check, Liveness, LivenessOn, ReadyOn};
use crate::model::WorkerId;

/// Between two looks whether a process is ready.
const READY_PERIOD: Duration = Duration::from_millis(250);
/// How long one look whether it is ready may take.
const READY_CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What is waited for beside one process.
#[derive(Debug)]
pub(in crate::pool) struct Vigil {
    pub(in crate::pool) worker: WorkerId,
    pub(in crate::pool) ready: ReadyOn,
    pub(in crate::pool) liveness: Option<Liveness>,
    pub(in crate::pool) prober: Prober,
    pub(in crate::pool) notify: Option<NotifySocket>,
    /// Told by the logs when the line was written.
    pub(in crate::pool) line: Option<oneshot::Receiver<()>>,
    /// Told by the pool when the process has become ready.
    pub(in crate::pool) is_ready: oneshot::Receiver<()>,
    pub(in crate::pool) signs: mpsc::Sender<Sign>,
}

impl Vigil {
    /// Runs until it is cancelled, or nothing is left to be waited for.
    pub(in crate::pool) async fn run(mut self) {
        let reader = self.notify.take().map(NotifySocket::reader).transpose();
        match reader {
            Ok(Some(reader)) => {
                let told = self.line.take();
                let is_ready = std::mem::replace(&mut self.is_ready, oneshot::channel().1);
                tokio::join!(self.listen(&reader), self.watch(told, is_ready));
            }
            Ok(None) => {
                let told = self.line.take();
                let is_ready = std::mem::replace(&mut self.is_ready, oneshot::channel().1);
                self.watch(told, is_ready).await;
            }
            Err(error) => tracing::warn!(%error, "a worker's notifications cannot be read"),
        }
    }

    /// Waits for readiness by a line or a check, then checks that it stays well.
    async fn watch(&self, line: Option<oneshot::Receiver<()>>, is_ready: oneshot::Receiver<()>) {
        if let Some(line) = line
            && line.await.is_ok()
        {
            self.tell(News::Ready).await;
        }
        if let ReadyOn::Check(check) = &self.ready {
            while let Err(reason) = self.prober.check(check, READY_CHECK_TIMEOUT).await {
                tracing::debug!(worker = %self.prober.name, reason, "not ready yet");
                sleep(READY_PERIOD).await;
            }
            self.tell(News::Ready).await;
        }
        if let Some(liveness) = &self.liveness
            && let LivenessOn::Check(check) = &liveness.on
            && is_ready.await.is_ok()
        {
            self.tell(News::Unhealthy(self.until_sick(liveness, check).await)).await;
        }
    }

    async fn until_sick(&self, liveness: &Liveness, check: &Check) -> String {
        let mut failures = 0;
        loop {
            sleep(liveness.period).await;
            match self.prober.check(check, liveness.timeout).await {
                Ok(()) => failures = 0,
                Err(reason) => {
                    failures += 1;
                    tracing::debug!(worker = %self.prober.name, reason, failures, "not well");
                    if failures >= liveness.failures {
                        return format!("{failures} liveness checks failed, the last: {reason}");
                    }
                }
            }
        }
    }

    /// Hears what the process says of itself.
    async fn listen(&self, reader: &NotifyReader) {
        let silence = match &self.liveness {
            Some(Liveness { on: LivenessOn::Notify, period, .. }) => Some(*period),
            Some(_) | None => None,
        };
        let mut due: Option<Instant> = None;
        loop {
            let message = tokio::select! {
                message = reader.next() => message,
                () = until(due) => {
                    let silence = silence.unwrap_or_default();
                    let reason = format!("it has not said WATCHDOG=1 for {silence:?}");
                    return self.tell(News::Unhealthy(reason)).await;
                }
            };
            let Ok(lines) = message else { return };
            for (key, value) in lines {
                match (key.as_str(), value.as_str()) {
                    ("READY", "1") => {
                        due = silence.map(|silence| Instant::now() + silence);
                        if self.ready == ReadyOn::Notify {
                            self.tell(News::Ready).await;
                        }
                    }
                    ("WATCHDOG", "1") => due = silence.map(|silence| Instant::now() + silence),
                    ("WATCHDOG", "trigger") => {
                        let reason = "it said WATCHDOG=trigger".to_owned();
                        self.tell(News::Unhealthy(reason)).await;
                    }
                    ("STATUS", _) => self.tell(News::Status(value)).await,
                    _ => {}
                }
            }
        }
    }

    async fn tell(&self, news: News) {
        if self.signs.send(Sign { worker: self.worker, news }).await.is_err() {
            tracing::debug!("a sign came after its pool's end");
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
