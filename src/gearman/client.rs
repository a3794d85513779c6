//! Submitting jobs and hearing of them.

use bytes::Bytes;

use super::{ConnectError, Connection, ConnectionError, ServerAddress};
use crate::protocol::{JobStatus, Request, Response, Submission, SubmitMode, WorkReport};

/// The option that asks for WORK_EXCEPTION packets; without it they come as failures.
const EXCEPTIONS: &str = "exceptions";

/// A connection that submits jobs, one at a time.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    option: OptionAnswer,
    /// Submissions that the server has not answered; all but the last belong to dropped streams.
    unanswered: usize,
}

/// Whether the server has answered OPTION_REQ, which is sent ahead of the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OptionAnswer {
    Awaited,
    Received,
}

/// News of a job, in the order in which they happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// The server has the job; its handle. A background job has no later news.
    Created(Bytes),
    /// A part of the result.
    Data(Bytes),
    /// A remark of the worker.
    Warning(Bytes),
    /// How much of how much is done, as the worker wrote it.
    Status {
        /// How much is done.
        numerator: Bytes,
        /// Of how much.
        denominator: Bytes,
    },
    /// The job is done: the rest of the result. The last event.
    Complete(Bytes),
    /// The job failed. The last event.
    Fail,
    /// The job failed with this to say. The last event.
    Exception(Bytes),
}

/// The news of one submitted job.
#[derive(Debug)]
pub struct JobStream<'a> {
    client: &'a mut Client,
    mode: SubmitMode,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Submitted,
    Created(Bytes),
    Ended,
}

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no server to ask.
    #[error("no Gearman server is named")]
    NoServer,
    /// None of the servers can be reached; this is the last one's trouble.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended.
    #[error("lost the Gearman server")]
    Lost(#[from] ConnectionError),
    /// The server refused.
    #[error("the Gearman server refused: {code}: {text}")]
    Refused {
        /// One of the protocol's codes, such as `QUEUE_ERROR`.
        code: String,
        /// The server's sentence.
        text: String,
    },
}

impl Client {
    /// Connects to the first of the servers that can be reached.
    ///
    /// # Errors
    /// When none can.
    pub async fn connect(servers: &[ServerAddress]) -> Result<Self, ClientError> {
        let mut trouble = ClientError::NoServer;
        for server in servers {
            match Connection::open(server).await {
                Ok(connection) => return Ok(Self::over(connection)),
                Err(error) => trouble = error.into(),
            }
        }
        Err(trouble)
    }

    /// Submits over a connection that nothing was sent on yet.
    #[must_use]
    pub fn over(mut connection: Connection) -> Self {
        connection.queue(&Request::Option(Bytes::from_static(EXCEPTIONS.as_bytes())));
        Self { connection, option: OptionAnswer::Awaited, unanswered: 0 }
    }

    /// Submits a job; the stream tells what becomes of it. The job is sent with the stream's first
    /// `next`.
    pub fn submit(&mut self, job: Submission) -> JobStream<'_> {
        let mode = job.mode;
        self.connection.queue(&Request::Submit(job));
        self.unanswered += 1;
        JobStream { client: self, mode, stage: Stage::Submitted }
    }

    /// Submits a job that nobody waits for and gives its handle.
    ///
    /// # Errors
    /// When the server refuses it or is lost.
    pub async fn submit_background(&mut self, job: Submission) -> Result<Bytes, ClientError> {
        let mode = match job.mode {
            SubmitMode::Foreground | SubmitMode::Background => SubmitMode::Background,
            SubmitMode::At(epoch) => SubmitMode::At(epoch),
        };
        let mut stream = self.submit(Submission { mode, ..job });
        stream.created().await
    }

    /// Submits such a job with a reducer and gives its handle.
    ///
    /// # Errors
    /// When the server refuses it or is lost.
    pub async fn submit_reduce_background(
        &mut self,
        job: Submission,
        reducer: Bytes,
    ) -> Result<Bytes, ClientError> {
        let mode = SubmitMode::Background;
        let job = Submission { mode, ..job };
        self.connection.queue(&Request::SubmitReduce { job, reducer });
        self.unanswered += 1;
        JobStream { client: self, mode, stage: Stage::Submitted }.created().await
    }

    /// What the server knows of the job with this handle.
    ///
    /// # Errors
    /// When the server refuses to tell or is lost.
    pub async fn status(&mut self, handle: Bytes) -> Result<JobStatus, ClientError> {
        self.connection.queue(&Request::GetStatus(handle.clone()));
        loop {
            match self.next().await? {
                Response::Status { handle: of, status } if of == handle => return Ok(status),
                Response::JobCreated(_) | Response::Error { .. } if self.unanswered > 0 => {
                    self.unanswered -= 1;
                }
                Response::Error { code, text } => return Err(refused(&code, &text)),
                _ => {}
            }
        }
    }

    /// The next response that is no answer to OPTION_REQ.
    async fn next(&mut self) -> Result<Response, ClientError> {
        loop {
            let response = self.connection.next().await?;
            let is_option = match &response {
                Response::Option(_) => true,
                // Answers come in the order of requests, so the first refusal is the option's.
                Response::Error { code, .. } => &code[..] == b"UNKNOWN_OPTION",
                _ => false,
            };
            if self.option == OptionAnswer::Awaited && is_option {
                self.option = OptionAnswer::Received;
                continue;
            }
            return Ok(response);
        }
    }

    async fn report_of(&mut self, handle: &Bytes) -> Result<WorkReport, ClientError> {
        loop {
            match self.next().await? {
                Response::Work { handle: of, report } if of == *handle => return Ok(report),
                _ => {}
            }
        }
    }
}

impl JobStream<'_> {
    /// The next event; `None` after the last one. May be dropped at any time.
    ///
    /// # Errors
    /// When the server refuses the job or is lost.
    pub async fn next(&mut self) -> Result<Option<JobEvent>, ClientError> {
        match &self.stage {
            Stage::Submitted => Ok(Some(JobEvent::Created(self.created().await?))),
            Stage::Created(handle) => {
                let handle = handle.clone();
                let report = self.client.report_of(&handle).await?;
                if report.ends_job() {
                    self.stage = Stage::Ended;
                }
                Ok(Some(report.into()))
            }
            Stage::Ended => Ok(None),
        }
    }

    async fn created(&mut self) -> Result<Bytes, ClientError> {
        loop {
            match self.client.next().await? {
                Response::JobCreated(_) | Response::Error { .. } if self.client.unanswered > 1 => {
                    self.client.unanswered -= 1;
                }
                Response::JobCreated(handle) => {
                    self.client.unanswered = 0;
                    self.stage = match self.mode {
                        SubmitMode::Foreground => Stage::Created(handle.clone()),
                        SubmitMode::Background | SubmitMode::At(_) => Stage::Ended,
                    };
                    return Ok(handle);
                }
                Response::Error { code, text } => {
                    self.client.unanswered = 0;
                    self.stage = Stage::Ended;
                    return Err(refused(&code, &text));
                }
                // News of an earlier job whose stream was dropped.
                _ => {}
            }
        }
    }
}

impl From<WorkReport> for JobEvent {
    fn from(report: WorkReport) -> Self {
        match report {
            WorkReport::Data(data) => Self::Data(data),
            WorkReport::Warning(text) => Self::Warning(text),
            WorkReport::Status { numerator, denominator } => {
                Self::Status { numerator, denominator }
            }
            WorkReport::Complete(data) => Self::Complete(data),
            WorkReport::Fail => Self::Fail,
            WorkReport::Exception(text) => Self::Exception(text),
        }
    }
}

fn refused(code: &[u8], text: &[u8]) -> ClientError {
    let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
    ClientError::Refused { code: lossy(code), text: lossy(text) }
}

#[cfg(test)]
mod tests;
