//! The connections of a run: who submits, who waits, who works, who sleeps.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::gauge::{Gauge, Kind};
use super::{BenchError, BenchOptions, Uniques, Writes};
use crate::gearman::Connection;
use crate::model::{FunctionName, Priority, Unique};
use crate::protocol::{GrabStyle, Request, Response, Submission, SubmitMode, WorkReport};

/// Registrations of a worker in one turn; more would hold up who submits beside them, and the time
/// it waits for us would be taken for the server's.
const FUNCTIONS_IN_TURN: usize = 32;

/// The jobs of one kind of submitter.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) function: FunctionName,
    pub(super) priority: Priority,
    pub(super) payload: Bytes,
    pub(super) in_flight: usize,
    /// What every unique begins as; nothing when there are to be none.
    pub(super) uniques: Option<Uuid>,
    pub(super) writes: Writes,
}

/// A text as long and as different as the UUIDs that libgearman makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uuid([u8; 36]);

impl Load {
    pub(super) fn new(options: &BenchOptions, function: &FunctionName) -> Self {
        Self {
            function: function.clone(),
            priority: Priority::Normal,
            payload: vec![b'x'; options.payload_len].into(),
            in_flight: options.in_flight,
            uniques: (options.uniques == Uniques::Own).then(Uuid::of_process),
            writes: options.writes,
        }
    }

    /// A job; a background one that is the `number`th may have a unique of its own.
    fn job(&self, mode: SubmitMode, number: u64) -> Request {
        let uuid = self.uniques.filter(|_| mode == SubmitMode::Background);
        Request::Submit(Submission {
            function: self.function.clone(),
            unique: Unique(uuid.map_or_else(Bytes::new, |uuid| uuid.nth(number))),
            priority: self.priority,
            mode,
            payload: self.payload.clone(),
        })
    }
}

impl Uuid {
    fn of_process() -> Self {
        let mut text = [b'0'; 36];
        let own = format!("-0000-0000-8000-{:012x}", std::process::id());
        for (place, byte) in text.iter_mut().rev().zip(own.bytes().rev()) {
            *place = byte;
        }
        Self(text)
    }

    fn nth(mut self, number: u64) -> Bytes {
        // Neighbours differ all over, as they do in UUIDs: an odd factor loses nothing.
        let mut left = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for place in self.0.iter_mut().take(18).filter(|place| **place != b'-') {
            let digit = (left >> 60).to_le_bytes()[0];
            *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            left <<= 4;
        }
        Bytes::copy_from_slice(&self.0)
    }
}

/// Submits background jobs until the gauge has no more, or it is told to stop.
pub(super) async fn submit(
    mut connection: Connection,
    load: Load,
    gauge: Rc<Gauge>,
    stop: CancellationToken,
) -> Result<(), BenchError> {
    let mut open = VecDeque::new();
    loop {
        let (stopped, mut since) = (stop.is_cancelled(), Instant::now());
        while open.len() < load.in_flight && !stopped && gauge.take() {
            connection.queue(&load.job(SubmitMode::Background, gauge.number()));
            open.push_back(since);
            if load.writes == Writes::Single {
                connection.flush().await?;
                since = Instant::now();
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        let mut next = Some(connection.next().await?);
        let now = Instant::now();
        while let Some(response) = next {
            let Response::JobCreated(_) = response else { return Err(unexpected(&response)) };
            if let Some(since) = open.pop_front() {
                gauge.time(Kind::Submit, now.saturating_duration_since(since));
                gauge.count_submitted();
            }
            next = more(&mut connection, load.writes)?;
        }
    }
}

/// Submits jobs and waits for their results until the gauge has no more.
pub(super) async fn call(
    mut connection: Connection,
    load: Load,
    gauge: Rc<Gauge>,
) -> Result<(), BenchError> {
    let job = load.job(SubmitMode::Foreground, 0);
    let (mut asked, mut open) = (VecDeque::new(), HashMap::new());
    loop {
        while asked.len() + open.len() < load.in_flight && gauge.take() {
            connection.queue(&job);
            asked.push_back(Instant::now());
            send(&mut connection, load.writes).await?;
        }
        if asked.is_empty() && open.is_empty() {
            return Ok(());
        }
        let mut next = Some(connection.next().await?);
        while let Some(response) = next {
            match response {
                Response::JobCreated(handle) => {
                    if let Some(since) = asked.pop_front() {
                        open.insert(handle, since);
                    }
                }
                Response::Work { handle, report: WorkReport::Complete(_) } => {
                    if let Some(since) = open.remove(&handle) {
                        gauge.time(Kind::Roundtrip, since.elapsed());
                        gauge.count_submitted();
                    }
                }
                other => return Err(unexpected(&other)),
            }
            next = more(&mut connection, load.writes)?;
        }
    }
}

/// A worker of a run.
#[derive(Clone, Debug)]
pub(super) struct Performer {
    pub(super) functions: Vec<FunctionName>,
    pub(super) writes: Writes,
}

/// Does jobs, whose results are their payloads, until it is told to stop.
pub(super) async fn work(
    mut connection: Connection,
    performer: Performer,
    gauge: Rc<Gauge>,
    stop: CancellationToken,
) -> Result<(), BenchError> {
    for function in performer.functions {
        connection.queue(&Request::CanDo { function, timeout: None });
    }
    connection.queue(&Request::Grab(GrabStyle::All));
    let mut since = Instant::now();
    let mut stopped = pin!(stop.cancelled());
    loop {
        let response = tokio::select! {
            biased;
            () = &mut stopped => return Ok(()),
            response = connection.next() => response?,
        };
        match response {
            Response::JobAssign { handle, payload, .. } => {
                gauge.time(Kind::Grab, since.elapsed());
                let report = WorkReport::Complete(payload);
                connection.queue(&Request::Work { handle, report });
                send(&mut connection, performer.writes).await?;
                connection.queue(&Request::Grab(GrabStyle::All));
                since = Instant::now();
                gauge.count_performed();
            }
            Response::NoJob => {
                gauge.time(Kind::Grab, since.elapsed());
                connection.queue(&Request::PreSleep);
            }
            Response::Noop => {
                connection.queue(&Request::Grab(GrabStyle::All));
                since = Instant::now();
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// Sends what is queued, unless it is to share a write with what follows.
async fn send(connection: &mut Connection, writes: Writes) -> Result<(), BenchError> {
    match writes {
        Writes::Single => Ok(connection.flush().await?),
        Writes::Shared => Ok(()),
    }
}

/// A response that is here already, where all of them are to be taken before more is sent.
fn more(connection: &mut Connection, writes: Writes) -> Result<Option<Response>, BenchError> {
    match writes {
        Writes::Single => Ok(None),
        Writes::Shared => Ok(connection.received()?),
    }
}

/// Registers functions and goes to sleep; gives the connection back, to be kept open.
pub(super) async fn sleep(
    mut connection: Connection,
    functions: Vec<FunctionName>,
) -> Result<Connection, BenchError> {
    for (n, function) in functions.into_iter().enumerate() {
        connection.queue(&Request::CanDo { function, timeout: None });
        if n % FUNCTIONS_IN_TURN == FUNCTIONS_IN_TURN - 1 {
            tokio::task::yield_now().await;
        }
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
