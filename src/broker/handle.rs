//! How the rest of the program talks to the broker's thread.

use std::net::TcpListener;

use tokio::sync::{mpsc, oneshot};

use super::view::{JobLoss, JobView, Overview};
use crate::model::{
    Drain, Exit, FunctionName, InHand, PoolName, SessionId, Tally, WorkerId, WorkerName,
};

/// What the broker tells without being asked.
///
/// The channel is bounded; when it is full an event is dropped and counted, so whoever listens
/// treats events as hints and reads an [`Overview`] for facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerEvent {
    /// A job waits and no idle worker takes it.
    Starved(FunctionName),
    /// A worker registered its first function: it can be given jobs.
    Registered(WorkerId),
    /// A worker ended a job.
    JobEnded(WorkerId),
    /// A performer came through a public listener; who is it? Answer with [`BrokerHandle::tie`].
    ///
    /// It is given no job until then, for 20 ms at most.
    Performer {
        /// The connection.
        session: SessionId,
        /// Where it comes from.
        peer: Peer,
    },
    /// The store failed (`Some`) or works again (`None`).
    Store(Option<String>),
    /// A job ended without a result: it cost too many attempts.
    GivenUp {
        /// The job.
        loss: JobLoss,
        /// The last worker that died with it; `None` when its time ran out instead.
        death: Option<(WorkerId, Exit)>,
    },
}

/// The far end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection: the peer's address and ours.
    Tcp {
        /// The peer's end.
        peer: std::net::SocketAddr,
        /// Our end.
        local: std::net::SocketAddr,
    },
    /// A unix connection; the kernel told the process at the other end.
    Unix {
        /// Its process id.
        pid: Option<i32>,
    },
}

/// One request to the broker's thread.
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
    /// A worker process ended: its jobs are charged, its listener closes, its ties go.
    Gone {
        /// The process.
        worker: WorkerId,
        /// How it ended.
        exit: Exit,
    },
    /// Stop assigning to the process if it holds no job, atomically with dispatch.
    DrainIfIdle {
        /// The process.
        worker: WorkerId,
        /// The answer.
        reply: oneshot::Sender<Drain>,
    },
    /// Stop assigning to the process; answered once it holds no job.
    Drain {
        /// The process.
        worker: WorkerId,
        /// Told when it is idle.
        reply: oneshot::Sender<()>,
    },
    /// The process is about to be killed for its job: that is charged, though it may drain.
    Charge(WorkerId),
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
    /// Wake a draining worker that sleeps in its library, after the stop signal was sent.
    Nudge(WorkerId),
    /// Most worker processes of the pool that may hold jobs at once.
    Limit {
        /// The pool.
        pool: PoolName,
        /// Its max.
        workers_max: usize,
    },
    /// The answer to [`BrokerEvent::Performer`].
    Tie {
        /// The connection.
        session: SessionId,
        /// Whose it is; `None` when it is no worker of ours.
        worker: Option<WorkerId>,
    },
    /// Ask for an [`Overview`].
    Overview(oneshot::Sender<Overview>),
    /// List jobs, the oldest first.
    Jobs {
        /// Only this function's.
        function: Option<FunctionName>,
        /// At most so many.
        limit: usize,
        /// The answer.
        reply: oneshot::Sender<Vec<JobView>>,
    },
    /// Look one job up by its handle.
    Job {
        /// The handle.
        handle: String,
        /// The answer.
        reply: oneshot::Sender<Option<JobView>>,
    },
    /// Cancel a job that waits; its clients are told that it failed.
    Cancel {
        /// The handle.
        handle: String,
        /// Whether such a job waited.
        reply: oneshot::Sender<bool>,
    },
    /// Change the listeners to these, keeping those that stay.
    Listen {
        /// Addresses as in the file.
        addresses: Vec<crate::config::ListenAddress>,
        /// The first failure leaves the rest as they were.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Commit what is open, close everything and end the thread.
    Shutdown(oneshot::Sender<()>),
}

/// The broker's thread is no more; only during shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker has stopped")]
pub struct BrokerGone;

/// Sends commands to the broker's thread.
#[derive(Clone, Debug)]
pub struct BrokerHandle {
    commands: mpsc::Sender<Command>,
}

impl BrokerHandle {
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
    /// When the broker has stopped.
    pub async fn tell(&self, command: Command) -> Result<(), BrokerGone> {
        self.commands.send(command).await.or(Err(BrokerGone))
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, BrokerGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.or(Err(BrokerGone))
    }

    /// The broker at this moment.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn overview(&self) -> Result<Overview, BrokerGone> {
        self.ask(Command::Overview).await
    }

    /// Answers [`BrokerEvent::Performer`].
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn tie(
        &self,
        session: SessionId,
        worker: Option<WorkerId>,
    ) -> Result<(), BrokerGone> {
        self.tell(Command::Tie { session, worker }).await
    }
}
