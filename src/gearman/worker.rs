//! Taking jobs from Gearman servers, one at a time, and reporting on them.
//!
//! A worker keeps a lane to each of its servers. All lanes that are up sleep (PRE_SLEEP) until a
//! NOOP; then one of them, in turn, is asked for a job (GRAB_JOB_UNIQ). Only one is asked at a
//! time, since two answers could both be jobs. A lost server is tried again with growing pauses
//! while the others go on; [`WorkerEvent`]s tell of it.

mod lane;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::{Backoff, ConnectError, ConnectionError, ServerAddress};
use crate::model::{FunctionName, Unique};
use crate::protocol::WorkReport;
use lane::{Lane, Registration};

/// Pauses of a worker that gives one job back after the other, so that a job which nobody can do
/// now does not keep a server and a worker busy.
const GIVEN_BACK_PAUSE_FIRST: Duration = Duration::from_millis(100);
const GIVEN_BACK_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A worker of one or several Gearman servers.
#[derive(Debug)]
pub struct Worker {
    registration: Registration,
    lanes: Vec<Lane>,
    /// The lane that is asked first the next time.
    turn: usize,
    given_back: Backoff,
}

/// What happens to a worker.
#[derive(Debug)]
pub enum WorkerEvent {
    /// A job is in hand; it is to be ended by [`Worker::report`] or [`Worker::give_back`].
    Job(Assignment),
    /// A server is connected and knows what is served.
    Connected(ServerAddress),
    /// A server cannot be reached; it is tried again.
    Unreachable {
        /// Why.
        error: ConnectError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A server was lost, and with it the job that it had given; it is tried again.
    Lost {
        /// Which.
        server: ServerAddress,
        /// Why.
        error: ConnectionError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A server did not take a report, for instance because it had taken the job back.
    Refused {
        /// Which.
        server: ServerAddress,
        /// Its code and sentence.
        text: String,
    },
}

/// A job in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The job's handle.
    pub handle: Bytes,
    /// What to run.
    pub function: FunctionName,
    /// What makes it the same job as another.
    pub unique: Unique,
    /// The workload.
    pub payload: Bytes,
    lane: usize,
}

/// A report that its server cannot have: it was lost, and takes the job for given back.
#[derive(Debug, thiserror::Error)]
#[error("job {handle} cannot be reported to {server}, which takes it for given back")]
pub struct Undelivered {
    /// The job.
    pub handle: String,
    /// The server that gave it.
    pub server: ServerAddress,
    /// Why; `None` when the connection had ended before.
    #[source]
    pub source: Option<ConnectionError>,
}

#[cfg(test)]
impl Assignment {
    /// A job that no server gave.
    pub(crate) fn for_test(handle: &'static str, function: &str, payload: &'static [u8]) -> Self {
        let (handle, payload) = (handle.into(), payload.into());
        Self { handle, function: function.into(), unique: "u".into(), payload, lane: 0 }
    }
}

impl Worker {
    /// A worker that serves `functions` at all of `servers`. It connects when its events are asked
    /// for.
    #[must_use]
    pub fn new(servers: Vec<ServerAddress>, functions: Vec<FunctionName>) -> Self {
        Self {
            registration: Registration { functions, client_id: None },
            lanes: servers.into_iter().map(Lane::new).collect(),
            turn: 0,
            given_back: Backoff::new(GIVEN_BACK_PAUSE_FIRST, GIVEN_BACK_PAUSE_MAX),
        }
    }

    /// Sets the name under which servers list it.
    #[must_use]
    pub fn with_client_id(mut self, id: impl Into<Bytes>) -> Self {
        self.registration.client_id = Some(id.into());
        self
    }

    /// The next event; it waits for ever where there is no server. May be dropped at any time.
    pub async fn next_event(&mut self) -> WorkerEvent {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Reports on a job in hand. Complete, Fail and Exception end it.
    ///
    /// # Errors
    /// When the server that gave the job was lost; the job is then no longer in hand.
    pub async fn report(
        &mut self,
        job: &Assignment,
        report: WorkReport,
    ) -> Result<(), Undelivered> {
        let Some(lane) = self.lanes.get_mut(job.lane) else { return Ok(()) };
        if report.ends_job() {
            self.given_back.reset();
        }
        lane.report(&job.handle, report).await.map_err(|source| Undelivered {
            handle: String::from_utf8_lossy(&job.handle).into_owned(),
            server: lane.server().clone(),
            source,
        })
    }

    /// Gives a job back for another try: its connection is closed without an answer, and opened
    /// again after a pause that grows until a job has been ended.
    pub fn give_back(&mut self, job: &Assignment) {
        if let Some(lane) = self.lanes.get_mut(job.lane) {
            lane.hang_up(self.given_back.pause());
        }
    }

    /// Closes all connections: no server has this worker any more. Events open them again.
    pub fn hang_up(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.hang_up(Duration::ZERO));
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<WorkerEvent> {
        loop {
            for (at, lane) in self.lanes.iter_mut().enumerate() {
                if let Poll::Ready(news) = lane.poll_news(&self.registration, at, cx) {
                    return Poll::Ready(news);
                }
            }
            if !self.ask_one() {
                return Poll::Pending;
            }
        }
    }

    /// Asks one lane for a job; false when none may have one, or one is asked or busy already.
    fn ask_one(&mut self) -> bool {
        if self.lanes.iter().any(Lane::is_asked_or_busy) {
            return false;
        }
        let count = self.lanes.len();
        for at in (0..count).map(|step| (self.turn + step) % count) {
            if self.lanes.get_mut(at).is_some_and(Lane::ask) {
                self.turn = (at + 1) % count;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
