//! Grabbing jobs and reporting on them.

use std::io;

use bytes::Bytes;

use super::{Closer, Connection, ConnectionError, ServerAddress};
use crate::model::{FunctionName, Unique};
use crate::protocol::{GrabStyle, Request, Response, WorkReport};

/// A job in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its handle.
    pub handle: Bytes,
    /// What to run.
    pub function: FunctionName,
    /// Its unique; may be empty.
    pub unique: Unique,
    /// The workload.
    pub payload: Bytes,
}

/// A connection that performs functions.
#[derive(Debug)]
pub struct Worker {
    connection: Connection,
}

impl Worker {
    /// Connects and registers.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn open(
        address: &ServerAddress,
        client_id: &str,
        functions: &[String],
    ) -> Result<Self, ConnectionError> {
        let mut connection = Connection::open(address)?;
        let id = Request::SetClientId(Bytes::copy_from_slice(client_id.as_bytes()));
        let abilities = functions
            .iter()
            .map(|name| Request::CanDo { function: name.as_str().into(), timeout: None });
        let requests: Vec<_> = std::iter::once(id).chain(abilities).collect();
        connection.send(&requests)?;
        Ok(Self { connection })
    }

    /// Waits for the next job.
    ///
    /// # Errors
    /// When the connection breaks or is closed.
    pub fn grab(&mut self) -> Result<Assignment, ConnectionError> {
        let grab = Request::Grab(GrabStyle::Unique);
        self.connection.send(std::slice::from_ref(&grab))?;
        loop {
            match self.connection.receive()? {
                Response::JobAssign { handle, function, unique, payload } => {
                    let unique = unique.unwrap_or_else(|| Unique::from(""));
                    return Ok(Assignment { handle, function, unique, payload });
                }
                Response::NoJob => self.connection.send(&[Request::PreSleep])?,
                Response::Noop => self.connection.send(std::slice::from_ref(&grab))?,
                // The server wants this worker to stop.
                Response::Error { code, .. } if &code[..] == b"SHUTDOWN" => {
                    return Err(ConnectionError::Closed);
                }
                _ => {}
            }
        }
    }

    /// Reports on the job in hand.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn report(&mut self, handle: &Bytes, report: WorkReport) -> Result<(), ConnectionError> {
        self.connection.send(&[Request::Work { handle: handle.clone(), report }])
    }

    /// A handle to end the wait for a job from another thread.
    ///
    /// # Errors
    /// When file descriptors run out.
    pub fn closer(&self) -> io::Result<Closer> {
        self.connection.closer()
    }
}
