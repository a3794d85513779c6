//! What a pool asks of whoever hands out jobs; the supervisor carries it to the broker.

use std::net::TcpListener;

use tokio::sync::{mpsc, oneshot};

use crate::model::{Drain, Exit, InHand, PoolName, Tally, WorkerId, WorkerName};

/// One request of a pool.
#[derive(Debug)]
pub enum GateRequest {
    /// A process is about to start; what connects to its listener is its own.
    Admit {
        /// The process.
        worker: WorkerId,
        /// Its slot.
        name: WorkerName,
        /// Its private listener.
        listener: TcpListener,
    },
    /// Let the process go if it holds no job.
    DrainIfIdle {
        /// The process.
        worker: WorkerId,
        /// The answer.
        reply: oneshot::Sender<Drain>,
    },
    /// Give the process no further job; answered once it holds none.
    Drain {
        /// The process.
        worker: WorkerId,
        /// Told when it is idle.
        reply: oneshot::Sender<()>,
    },
    /// Jobs that the process holds when it ends are charged, though it drains.
    Charge(WorkerId),
    /// Tell by [`PoolCommand::JobEnded`] when the process ends its next job.
    ///
    /// [`PoolCommand::JobEnded`]: super::PoolCommand::JobEnded
    Await(WorkerId),
    /// Who of the pool holds which job, since when.
    InHand {
        /// The pool.
        pool: PoolName,
        /// The answer.
        reply: oneshot::Sender<Vec<InHand>>,
    },
    /// What the pool's workers have done.
    Tally {
        /// The pool.
        pool: PoolName,
        /// The answer.
        reply: oneshot::Sender<Vec<Tally>>,
    },
    /// The stop signal was sent: wake the process if it sleeps in its library.
    Nudge(WorkerId),
    /// The process ended.
    Gone {
        /// The process.
        worker: WorkerId,
        /// How.
        exit: Exit,
    },
    /// Most processes of the pool that may hold jobs at once.
    Limit {
        /// The pool.
        pool: PoolName,
        /// Its max.
        workers_max: usize,
    },
}

/// Where a pool sends its requests. A request whose reply is dropped unanswered means that nobody
/// hands out jobs any more: the pool then takes the worker as idle.
pub type Gate = mpsc::Sender<GateRequest>;
