//! How the rest of the program talks to one pool's task.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use super::lifecycle::RestartMode;
use super::view::PoolView;
use crate::config::PoolSettings;
use crate::model::{NamePattern, WorkerId};

/// Which of a pool's slots a command means.
#[derive(Clone, Debug)]
pub enum Pick {
    /// All of them, and the pool itself.
    Pool,
    /// Those that match.
    Slots(NamePattern),
}

/// One command to a pool's task. Replies come when the effect has happened.
#[derive(Debug)]
pub enum PoolCommand {
    /// Run so many workers. More are started; fewer: idle ones go, at most the surplus, and busy
    /// ones are asked again when they end a job.
    SetTarget {
        /// The number.
        target: u32,
        /// Whether busy workers above it are drained too: true when the file or an operator
        /// lowered the count, false when demand did.
        drain_busy: bool,
    },
    /// The file changed: take these settings. Workers are rolled when the program differs.
    Configure {
        /// The new settings.
        settings: Arc<PoolSettings>,
        /// The new target.
        target: u32,
        /// Told when all of it is done, or why not all of it will be.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Start what is stopped, in backoff or fatal.
    Start {
        /// Which.
        pick: Pick,
        /// Told when all of it is ready, or with the reason why one is not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Drain and stop; stays stopped until `Start`.
    Stop {
        /// Which.
        pick: Pick,
        /// Told when nothing of it runs.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Replace each process by a new one.
    Restart {
        /// Which.
        pick: Pick,
        /// One after the other, or all at once.
        mode: RestartMode,
        /// Told when only new processes run.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// The files of the program changed: replace each process by a new one.
    Renew {
        /// Told when only new processes run.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Send a signal to the processes.
    Signal {
        /// Which.
        pick: Pick,
        /// What.
        signal: Signal,
        /// How many got it.
        reply: oneshot::Sender<usize>,
    },
    /// Kill the worker for the job in its hands; the job is charged.
    KillJob {
        /// The process.
        worker: WorkerId,
        /// Why.
        reason: String,
        /// Told when it has ended; dropped when there is no such process.
        reply: oneshot::Sender<()>,
    },
    /// The worker registered a function with the broker.
    Registered(WorkerId),
    /// The worker ended a job: if it is above the target it may go now, and a canary has proved
    /// itself if the job ended well.
    JobEnded {
        /// The process.
        worker: WorkerId,
        /// Whether the job has a result.
        well: bool,
    },
    /// Drain everything, kill what is left after `grace`, then end the task.
    Close {
        /// How long jobs in hand may take.
        grace: Duration,
        /// Told when no process is left.
        reply: oneshot::Sender<()>,
    },
    /// While closing: kill at once.
    Hurry,
}

/// The pool's task is no more: the pool was removed or the daemon stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool has been closed")]
pub struct PoolGone;

/// Sends commands to one pool's task and sees what it publishes.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    commands: mpsc::Sender<PoolCommand>,
    view: watch::Receiver<Arc<PoolView>>,
}

impl PoolHandle {
    /// Commands under way at most; a sender waits for room.
    pub const COMMANDS_MAX: usize = 256;

    /// A handle that sends to `commands` and reads `view`.
    #[must_use]
    pub fn new(commands: mpsc::Sender<PoolCommand>, view: watch::Receiver<Arc<PoolView>>) -> Self {
        Self { commands, view }
    }

    /// Sends a command.
    ///
    /// # Errors
    /// When the pool has been closed.
    pub async fn tell(&self, command: PoolCommand) -> Result<(), PoolGone> {
        self.commands.send(command).await.or(Err(PoolGone))
    }

    /// Sends a command that may be lost: a pool that is too busy to take it does without.
    pub fn hint(&self, command: PoolCommand) {
        if self.commands.try_send(command).is_err() {
            tracing::trace!("a pool was too busy for a hint");
        }
    }

    /// Sends a command that must not be lost, and does not wait: a task of its own does, while the
    /// pool is too busy to take it.
    pub fn post(&self, command: PoolCommand, tasks: &TaskTracker) {
        if let Err(TrySendError::Full(command)) = self.commands.try_send(command) {
            let pool = self.clone();
            tasks.spawn(async move {
                if pool.tell(command).await.is_err() {
                    tracing::trace!("a pool was closed before it heard what it was told");
                }
            });
        }
    }

    /// Sends a command and waits until its effect has happened.
    ///
    /// # Errors
    /// When the pool has been closed.
    pub async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> PoolCommand,
    ) -> Result<T, PoolGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.or(Err(PoolGone))
    }

    /// The pool as it was at most 20 ms ago.
    #[must_use]
    pub fn view(&self) -> Arc<PoolView> {
        Arc::clone(&self.view.borrow())
    }

    /// A receiver that wakes when the view changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<PoolView>> {
        self.view.clone()
    }
}
