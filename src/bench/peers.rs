//! The connections of a run: who submits, who waits, who works, who sleeps.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::gauge::{Gauge, Kind};
use super::{BenchError, BenchOptions};
use crate::gearman::Connection;
use crate::model::{FunctionName, Priority};
use crate::protocol::{GrabStyle, Request, Response, Submission, SubmitMode, WorkReport};

/// The jobs of one kind of submitter.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) function: FunctionName,
    pub(super) priority: Priority,
    pub(super) payload: Bytes,
    pub(super) in_flight: usize,
}

impl Load {
    pub(super) fn new(options: &BenchOptions, function: &FunctionName) -> Self {
        Self {
            function: function.clone(),
            priority: Priority::Normal,
            payload: vec![b'x'; options.payload_len].into(),
            in_flight: options.in_flight,
        }
    }

    fn job(&self, mode: SubmitMode) -> Request {
        Request::Submit(Submission {
            function: self.function.clone(),
            unique: "".into(),
            priority: self.priority,
            mode,
            payload: self.payload.clone(),
        })
    }
}

/// Submits background jobs until the gauge has no more, or it is told to stop.
pub(super) async fn submit(
    mut connection: Connection,
    load: Load,
    gauge: Rc<Gauge>,
    stop: CancellationToken,
) -> Result<(), BenchError> {
    let job = load.job(SubmitMode::Background);
    let mut open = VecDeque::new();
    loop {
        while open.len() < load.in_flight && !stop.is_cancelled() && gauge.take() {
            connection.queue(&job);
            open.push_back(Instant::now());
        }
        if open.is_empty() {
            return Ok(());
        }
        match connection.next().await? {
            Response::JobCreated(_) => {
                if let Some(since) = open.pop_front() {
                    gauge.time(Kind::Submit, since);
                    gauge.count_submitted();
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// Submits jobs and waits for their results until the gauge has no more.
pub(super) async fn call(
    mut connection: Connection,
    load: Load,
    gauge: Rc<Gauge>,
) -> Result<(), BenchError> {
    let job = load.job(SubmitMode::Foreground);
    let (mut asked, mut open) = (VecDeque::new(), HashMap::new());
    loop {
        while asked.len() + open.len() < load.in_flight && gauge.take() {
            connection.queue(&job);
            asked.push_back(Instant::now());
        }
        if asked.is_empty() && open.is_empty() {
            return Ok(());
        }
        match connection.next().await? {
            Response::JobCreated(handle) => {
                if let Some(since) = asked.pop_front() {
                    open.insert(handle, since);
                }
            }
            Response::Work { handle, report: WorkReport::Complete(_) } => {
                if let Some(since) = open.remove(&handle) {
                    gauge.time(Kind::Roundtrip, since);
                    gauge.count_submitted();
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// Does jobs, whose results are their payloads, until it is told to stop.
pub(super) async fn work(
    mut connection: Connection,
    functions: Vec<FunctionName>,
    gauge: Rc<Gauge>,
    stop: CancellationToken,
) -> Result<(), BenchError> {
    for function in functions {
        connection.queue(&Request::CanDo { function, timeout: None });
    }
    connection.queue(&Request::Grab(GrabStyle::Plain));
    let mut since = Instant::now();
    loop {
        let response = tokio::select! {
            response = connection.next() => response?,
            () = stop.cancelled() => return Ok(()),
        };
        match response {
            Response::JobAssign { handle, payload, .. } => {
                gauge.time(Kind::Grab, since);
                let report = WorkReport::Complete(payload);
                connection.queue(&Request::Work { handle, report });
                connection.queue(&Request::Grab(GrabStyle::Plain));
                since = Instant::now();
                gauge.count_performed();
            }
            Response::NoJob => {
                gauge.time(Kind::Grab, since);
                connection.queue(&Request::PreSleep);
            }
            Response::Noop => {
                connection.queue(&Request::Grab(GrabStyle::Plain));
                since = Instant::now();
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// Registers functions and goes to sleep; gives the connection back, to be kept open.
pub(super) async fn sleep(
    mut connection: Connection,
    functions: Vec<FunctionName>,
) -> Result<Connection, BenchError> {
    for function in functions {
        connection.queue(&Request::CanDo { function, timeout: None });
    }
    connection.queue(&Request::Grab(GrabStyle::Plain));
    match connection.next().await? {
        Response::NoJob => {}
        other => return Err(unexpected(&other)),
    }
    connection.queue(&Request::PreSleep);
    connection.queue(&Request::Echo(Bytes::from_static(b"asleep")));
    match connection.next().await? {
        Response::Echo(_) => Ok(connection),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(response: &Response) -> BenchError {
    match response {
        Response::Error { code, text } => BenchError::Refused {
            code: String::from_utf8_lossy(code).into_owned(),
            text: String::from_utf8_lossy(text).into_owned(),
        },
        other => {
            BenchError::Refused { code: "UNEXPECTED_PACKET".to_owned(), text: format!("{other:?}") }
        }
    }
}
