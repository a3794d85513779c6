//! How the rest of the program talks to the forwarding thread.

use std::net::TcpListener;

use tokio::sync::{mpsc, oneshot};

use super::view::ForwardView;
use crate::model::{Drain, InHand, PoolName, Tally, WorkerId, WorkerName};

/// What is told without being asked. The channel is bounded; what does not fit is dropped, but for
/// registrations, which wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardEvent {
    /// A worker registered its first function.
    Registered(WorkerId),
    /// A worker that somebody waits for has ended a job.
    JobEnded {
        /// The process.
        worker: WorkerId,
        /// Whether it completed the job.
        well: bool,
    },
    /// Jobs wait at a server.
    Waiting,
}

/// One request to the forwarding thread.
#[derive(Debug)]
pub enum Command {
    /// A worker process is about to start; connections to its private listener are its own.
    Admit {
        /// The process.
        worker: WorkerId,
        /// Its slot.
        name: WorkerName,
        /// Its private listener.
        listener: TcpListener,
    },
    /// A worker process ended: its listener closes.
    Gone(WorkerId),
    /// Pass no job to the process if it holds none; answered when no server has been asked for one.
    DrainIfIdle {
        /// The process.
        worker: WorkerId,
        /// The answer.
        reply: oneshot::Sender<Drain>,
    },
    /// Pass no further job to the process; answered once it holds none.
    Drain {
        /// The process.
        worker: WorkerId,
        /// Told when it is idle.
        reply: oneshot::Sender<()>,
    },
    /// Tell of the end of the process's next job.
    Await(WorkerId),
    /// Wake a draining worker that sleeps in its library, after the stop signal was sent.
    Nudge(WorkerId),
    /// Most worker processes of the pool that may hold jobs at once.
    Limit {
        /// The pool.
        pool: PoolName,
        /// Its max.
        workers_max: usize,
    },
    /// Who of a pool's workers holds which job, since when.
    InHand {
        /// The pool.
        pool: PoolName,
        /// The answer.
        reply: oneshot::Sender<Vec<InHand>>,
    },
    /// What a pool's workers have done.
    Tally {
        /// The pool.
        pool: PoolName,
        /// The answer.
        reply: oneshot::Sender<Vec<Tally>>,
    },
    /// Ask for a [`ForwardView`].
    View(oneshot::Sender<ForwardView>),
    /// Send what is owed to servers, close everything and end the thread.
    Shutdown(oneshot::Sender<()>),
}

/// The forwarding thread is no more; only during shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the forwarding to the Gearman servers has stopped")]
pub struct ForwardGone;

/// Sends commands to the forwarding thread.
#[derive(Clone, Debug)]
pub struct ForwardHandle {
    commands: mpsc::Sender<Command>,
}

impl ForwardHandle {
    /// Commands under way at most; a sender waits for room.
    pub const COMMANDS_MAX: usize = 1024;

    /// A handle that sends to `commands`.
    #[must_use]
    pub fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Sends a command that has no answer.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn tell(&self, command: Command) -> Result<(), ForwardGone> {
        self.commands.send(command).await.or(Err(ForwardGone))
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ForwardGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.or(Err(ForwardGone))
    }

    /// Servers, queues and workers at this moment.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn view(&self) -> Result<ForwardView, ForwardGone> {
        self.ask(Command::View).await
    }
}
