//! The thread that looks connections up, and how to ask it.

use std::io;
use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};
use tracing::trace;

use super::search::Search;
use crate::model::WorkerId;

/// Questions that wait at most; an asker waits for room.
const QUESTIONS_MAX: usize = 1024;
/// Questions answered by one look through the processes.
const BATCH_MAX: usize = 256;

/// A process whose connections may be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The worker.
    pub worker: WorkerId,
    /// The process that we started: the leader of its process group.
    pub pid: i32,
}

/// A connection as its server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// TCP.
    Tcp {
        /// The peer's end.
        peer: SocketAddr,
        /// The server's end.
        local: SocketAddr,
    },
    /// A unix socket, whose peer the kernel told.
    Unix {
        /// The process that connected.
        pid: i32,
    },
}

/// Starts the thread.
#[derive(Debug)]
pub struct Identity;

/// Asks the thread, which ends with its last handle.
#[derive(Clone, Debug)]
pub struct IdentityHandle {
    questions: mpsc::Sender<Question>,
}

/// The thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the thread that ties connections to workers could not be started")]
pub struct IdentityStartError(#[from] io::Error);

/// One connection to be looked up.
#[derive(Debug)]
pub(super) struct Question {
    /// Which.
    pub(super) connection: Connection,
    /// Whose it may be.
    pub(super) candidates: Vec<Candidate>,
    reply: oneshot::Sender<Option<WorkerId>>,
}

impl Identity {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start() -> Result<IdentityHandle, IdentityStartError> {
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        std::thread::Builder::new().name("identity".into()).spawn(move || run(questions))?;
        Ok(IdentityHandle { questions: sender })
    }
}

impl IdentityHandle {
    /// Which of the candidates holds the connection's far end.
    pub async fn who(
        &self,
        connection: Connection,
        candidates: Vec<Candidate>,
    ) -> Option<WorkerId> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(Question { connection, candidates, reply }).await.ok()?;
        answer.await.ok().flatten()
    }
}

/// Answers questions together that came together: when a pool starts, its workers connect at once.
fn run(mut questions: mpsc::Receiver<Question>) {
    let search = Search::new();
    let mut batch = Vec::new();
    while let Some(first) = questions.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH_MAX
            && let Ok(next) = questions.try_recv()
        {
            batch.push(next);
        }
        let answers = search.answer(&batch);
        for (question, answer) in batch.drain(..).zip(answers) {
            if question.reply.send(answer).is_err() {
                trace!(connection = ?question.connection, "nobody waits for the answer any more");
            }
        }
    }
}

#[cfg(test)]
mod tests;
