//! Submitting one job and hearing what becomes of it.

use bytes::Bytes;

use super::{Connection, ConnectionError, ServerAddress};
use crate::protocol::{Request, Response, Submission, WorkReport};

/// A client with one job under way.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    handle: Option<Bytes>,
}

impl Client {
    /// Connects, and asks for exceptions rather than bare failures.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn open(address: &ServerAddress) -> Result<Self, ConnectionError> {
        let mut connection = Connection::open(address)?;
        connection.send(&[Request::Option(Bytes::from_static(b"exceptions"))])?;
        Ok(Self { connection, handle: None })
    }

    /// Submits a job and waits until the server has it; gives its handle.
    ///
    /// # Errors
    /// When the server refuses it or the connection breaks.
    pub fn submit(&mut self, job: Submission) -> Result<String, ConnectionError> {
        self.connection.send(&[Request::Submit(job)])?;
        loop {
            match self.connection.receive()? {
                Response::JobCreated(handle) => {
                    let text = String::from_utf8_lossy(&handle).into_owned();
                    self.handle = Some(handle);
                    return Ok(text);
                }
                // A server that knows no exceptions says so, and sends failures instead.
                Response::Error { code, .. } if &code[..] == b"UNKNOWN_OPTION" => {}
                Response::Error { code, text } => {
                    return Err(ConnectionError::refused(&code, &text));
                }
                _ => {}
            }
        }
    }

    /// The next news of the job.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn news(&mut self) -> Result<WorkReport, ConnectionError> {
        loop {
            match self.connection.receive()? {
                Response::Work { handle, report } if Some(&handle) == self.handle.as_ref() => {
                    return Ok(report);
                }
                Response::Error { code, text } => {
                    return Err(ConnectionError::refused(&code, &text));
                }
                _ => {}
            }
        }
    }
}
