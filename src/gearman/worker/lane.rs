//! A worker's way to one server.
//!
//! ```text
//! Waiting ──pause over──▶ Connecting ──▶ Up: Willing ──asked──▶ Asked ──NO_JOB──▶ Asleep
//!    ▲                        │              ▲  ▲                 │ JOB_ASSIGN      │
//!    └───────any trouble──────┴──────────────┼──┼────NOOP─────────┼─────────────────┘
//!                                            └──┴──reported── Busy ◀┘
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use super::{Assignment, WorkerEvent};
use crate::gearman::{Backoff, ConnectError, Connection, ConnectionError, ServerAddress};
use crate::model::{FunctionName, Unique};
use crate::protocol::{GrabStyle, Kind, Request, Response, WorkReport};

/// Pauses before a lost server is tried again.
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a server may take to answer GRAB_JOB; while it is asked, the others are not.
const GRAB_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server is told of the worker at each connect.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) functions: Vec<FunctionName>,
    pub(super) client_id: Option<Bytes>,
}

/// One server and what there is of a connection to it.
#[derive(Debug)]
pub(super) struct Lane {
    server: ServerAddress,
    backoff: Backoff,
    state: State,
}

enum State {
    /// To be opened.
    Closed,
    /// Until the next try.
    Waiting(Pin<Box<Sleep>>),
    Connecting(Connecting),
    Up(Connection, Stage),
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

#[derive(Debug)]
enum Stage {
    /// It may have a job and was not asked.
    Willing,
    /// GRAB_JOB is on its way; the sleep is the patience with it.
    Asked(Pin<Box<Sleep>>),
    /// It had no job; NOOP will tell.
    Asleep,
    /// It gave this job.
    Busy(Bytes),
}

impl Lane {
    pub(super) fn new(server: ServerAddress) -> Self {
        let backoff = Backoff::new(RETRY_PAUSE_FIRST, RETRY_PAUSE_MAX);
        Self { server, backoff, state: State::Closed }
    }

    pub(super) fn server(&self) -> &ServerAddress {
        &self.server
    }

    pub(super) fn is_asked_or_busy(&self) -> bool {
        matches!(self.state, State::Up(_, Stage::Asked(_) | Stage::Busy(_)))
    }

    /// Moves on as far as it can go; `at` is the lane's place, which assignments remember.
    pub(super) fn poll_news(
        &mut self,
        registration: &Registration,
        at: usize,
        cx: &mut Context<'_>,
    ) -> Poll<WorkerEvent> {
        loop {
            match &mut self.state {
                State::Closed => self.state = State::Connecting(dial(self.server.clone())),
                State::Waiting(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    self.state = State::Closed;
                }
                State::Connecting(dialled) => {
                    let dialled = ready!(dialled.as_mut().poll(cx));
                    return Poll::Ready(self.dialled(dialled, registration));
                }
                State::Up(connection, stage) => {
                    if let Stage::Asked(patience) = stage
                        && patience.as_mut().poll(cx).is_ready()
                    {
                        return Poll::Ready(self.lose(ConnectionError::Silent(GRAB_TIMEOUT)));
                    }
                    let received = ready!(connection.poll_next(cx));
                    let news = match received {
                        Ok(response) => self.handle(response, at),
                        Err(error) => Some(self.lose(error)),
                    };
                    if let Some(news) = news {
                        return Poll::Ready(news);
                    }
                }
            }
        }
    }

    /// Asks the server for a job if it may have one; false otherwise.
    pub(super) fn ask(&mut self) -> bool {
        let State::Up(connection, stage @ Stage::Willing) = &mut self.state else { return false };
        connection.queue(&Request::Grab(GrabStyle::Unique));
        *stage = Stage::Asked(Box::pin(sleep(GRAB_TIMEOUT)));
        true
    }

    /// Sends a report of the job with this handle; an error without a cause when the connection
    /// that gave the job is no more.
    pub(super) async fn report(
        &mut self,
        handle: &Bytes,
        report: WorkReport,
    ) -> Result<(), Option<ConnectionError>> {
        let State::Up(connection, stage) = &mut self.state else { return Err(None) };
        if !matches!(stage, Stage::Busy(held) if held == handle) {
            return Err(None);
        }
        let is_last = report.ends_job();
        connection.queue(&Request::Work { handle: handle.clone(), report });
        if let Err(error) = connection.flush().await {
            self.wait();
            return Err(Some(error));
        }
        if is_last {
            *stage = Stage::Willing;
        }
        Ok(())
    }

    /// Closes the connection; it is opened again after the pause.
    pub(super) fn hang_up(&mut self, pause: Duration) {
        self.state =
            if pause.is_zero() { State::Closed } else { State::Waiting(Box::pin(sleep(pause))) };
    }

    fn dialled(
        &mut self,
        dialled: Result<Connection, ConnectError>,
        registration: &Registration,
    ) -> WorkerEvent {
        match dialled {
            Ok(mut connection) => {
                registration.queue(&mut connection);
                self.state = State::Up(connection, Stage::Willing);
                WorkerEvent::Connected(self.server.clone())
            }
            Err(error) => WorkerEvent::Unreachable { error, retry_in: self.wait() },
        }
    }

    fn handle(&mut self, response: Response, at: usize) -> Option<WorkerEvent> {
        let State::Up(connection, stage) = &mut self.state else { return None };
        match (response, &*stage) {
            (Response::NoJob, Stage::Asked(_)) => {
                // Not at the connect: a server that accepts and hangs up must be left in peace too.
                self.backoff.reset();
                connection.queue(&Request::PreSleep);
                *stage = Stage::Asleep;
                None
            }
            (Response::JobAssign { handle, function, unique, payload, .. }, Stage::Asked(_)) => {
                self.backoff.reset();
                *stage = Stage::Busy(handle.clone());
                let unique = unique.unwrap_or_else(|| Unique(Bytes::new()));
                Some(WorkerEvent::Job(Assignment { handle, function, unique, payload, lane: at }))
            }
            (Response::JobAssign { .. }, _) => {
                Some(self.lose(ConnectionError::Unexpected(Kind::JobAssign)))
            }
            (Response::Noop, Stage::Asleep) => {
                *stage = Stage::Willing;
                None
            }
            (Response::Error { code, text }, _) => {
                let text = format!("{}: {}", code.escape_ascii(), text.escape_ascii());
                Some(WorkerEvent::Refused { server: self.server.clone(), text })
            }
            // A NOOP that crossed our GRAB_JOB, and answers to what was never asked.
            (_, _) => None,
        }
    }

    fn lose(&mut self, error: ConnectionError) -> WorkerEvent {
        let retry_in = self.wait();
        WorkerEvent::Lost { server: self.server.clone(), error, retry_in }
    }

    fn wait(&mut self) -> Duration {
        let pause = self.backoff.pause();
        self.state = State::Waiting(Box::pin(sleep(pause)));
        pause
    }
}

impl Registration {
    fn queue(&self, connection: &mut Connection) {
        if let Some(id) = &self.client_id {
            connection.queue(&Request::SetClientId(id.clone()));
        }
        for function in &self.functions {
            connection.queue(&Request::CanDo { function: function.clone(), timeout: None });
        }
    }
}

fn dial(server: ServerAddress) -> Connecting {
    Box::pin(async move { Connection::open(&server).await })
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Waiting(_) => f.write_str("Waiting"),
            Self::Connecting(_) => f.write_str("Connecting"),
            Self::Up(_, stage) => f.debug_tuple("Up").field(stage).finish(),
        }
    }
}
