//! How the rest of the program talks to the broker's thread.

use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::state::{Exported, Sweep};
use super::view::{DemandView, JobEnding, JobLoss, JobView, Overview};
use crate::config::BrokerRules;
use crate::model::{
    Drain, Exit, FunctionName, InHand, JobId, PoolName, SessionId, Tally, WorkerId, WorkerName,
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
    /// A worker that was busy when it was to be drained has ended a job. Others end theirs unheard:
    /// news for every job would cost more than the job.
    JobEnded {
        /// The process.
        worker: WorkerId,
        /// Whether the job has a result.
        well: bool,
    },
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
    /// A stored job ended because its payload is damaged or missing on disk.
    Lost(JobLoss),
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
    /// Tell when the process ends its next job.
    Await(WorkerId),
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
    /// Hear of every job that ends from now on.
    Record(oneshot::Sender<broadcast::Receiver<JobEnding>>),
    /// Ask for a [`DemandView`].
    Demand(oneshot::Sender<DemandView>),
    /// Ask for an [`Overview`].
    Overview(oneshot::Sender<Overview>),
    /// List jobs.
    Jobs {
        /// Which.
        query: JobsQuery,
        /// The answer.
        reply: oneshot::Sender<Vec<JobView>>,
    },
    /// Read a job's payload.
    Payload {
        /// The handle.
        handle: String,
        /// The answer; nothing when no job has the handle.
        reply: oneshot::Sender<Result<Option<Bytes>, Unread>>,
    },
    /// Do something to many jobs; answered with their handles when it is done.
    Sweep {
        /// What, and which jobs.
        sweep: Sweep,
        /// The answer.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Give out no jobs of functions of this name or pattern.
    Pause {
        /// Which.
        pattern: String,
        /// Answered when it is so.
        reply: oneshot::Sender<()>,
    },
    /// End the pauses that this name or pattern means.
    Resume {
        /// Which.
        pattern: String,
        /// The patterns whose pause has ended.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Background jobs that wait, a piece at a time.
    Export {
        /// Those behind this one.
        after: JobId,
        /// The answer.
        reply: oneshot::Sender<Result<Exported, Unread>>,
    },
    /// The pauses there are, by their patterns.
    Pauses(oneshot::Sender<Vec<String>>),
    /// The last lines of a worker that died with a job that is a dead letter now.
    Annotate {
        /// The job.
        handle: String,
        /// The lines.
        output: String,
    },
    /// What the file says may have changed.
    Configure(Arc<BrokerRules>),
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

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobsQuery {
    /// Only this function's.
    pub function: Option<FunctionName>,
    /// At most so many.
    pub limit: usize,
    /// Those that wait or run, or dead letters.
    pub of: JobsOf,
}

/// The jobs that a list is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobsOf {
    /// Those that wait, run or recur, the oldest first.
    #[default]
    Oldest,
    /// The same, the newest first.
    Newest,
    /// Dead letters, the oldest first.
    Dead,
}

/// The broker's thread is no more; only during shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker has stopped")]
pub struct BrokerGone;

/// What was asked for is on disk, and could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk with the stored jobs does not read just now; try again")]
pub struct Unread;

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

    /// Queues and workers at this moment, without their jobs.
    ///
    /// # Errors
    /// When the broker has stopped.
    pub async fn demand(&self) -> Result<DemandView, BrokerGone> {
        self.ask(Command::Demand).await
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
