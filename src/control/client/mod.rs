//! The outside end of the control socket: one typed function for each route.
//!
//! Every request has a connection of its own, so a log that is followed holds up nothing else.

mod error;
mod logs;
mod terminal;
mod wire;

use std::path::{Path, PathBuf};

use hyper::Method;
use hyper::body::Bytes;
use tokio_util::task::TaskTracker;

pub use error::ClientError;
pub use logs::{LogQuery, LogReader, RecordReader};
pub use terminal::{KeyboardQuery, TerminalQuery};

use wire::{Call, escape};

use super::api::{
    Done, EventRecord, Explanation, ExportedJob, Functions, JobStatus, Names, QueueDone,
    QueueRequest, ReloadRequest, RestartRequest, ScaleRequest, SendRequest, SignalRequest, Status,
    TraceRecord,
};

/// Asks the daemon whose socket is at one path.
#[derive(Clone, Debug)]
pub struct ControlClient {
    path: PathBuf,
    tasks: TaskTracker,
}

/// A change that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start pools or workers.
    Start(Names),
    /// Drain and stop them.
    Stop(Names),
    /// Replace their processes one by one.
    Restart(RestartRequest),
    /// Send a signal to them.
    Signal(SignalRequest),
    /// Type a line into their terminals.
    Send(SendRequest),
    /// Hold pools at a count, or release them.
    Scale(ScaleRequest),
    /// Read the file again and apply it.
    Reload(ReloadRequest),
    /// Drain everything and end.
    Shutdown,
}

/// Whether a command's answer comes when its effect has happened or at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// When it has happened.
    ForEffect,
    /// When the daemon has taken it on.
    No,
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobsOf {
    /// Those that wait, run or recur, the oldest first.
    Oldest,
    /// The same, the newest first.
    Newest,
    /// Dead letters.
    Dead,
}

/// What may be done to many jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueAction {
    /// Withdraw jobs that wait.
    Cancel,
    /// Put dead letters back into their queues.
    Retry,
    /// Drop dead letters.
    Purge,
}

impl ControlClient {
    /// A client of the daemon at this socket; connections go on `tasks`.
    #[must_use]
    pub fn new(path: PathBuf, tasks: TaskTracker) -> Self {
        Self { path, tasks }
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole daemon.
    ///
    /// # Errors
    /// When nobody answers, or with a refusal.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Call::new(Method::GET, "/v1/status")).await
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// When nobody answers, or it was not carried out.
    pub async fn command(&self, command: &Command, wait: Wait) -> Result<Done, ClientError> {
        let (route, call) = match command {
            Command::Start(names) => ("start", Call::json(names)),
            Command::Stop(names) => ("stop", Call::json(names)),
            Command::Restart(request) => ("restart", Call::json(request)),
            Command::Signal(request) => ("signal", Call::json(request)),
            Command::Send(request) => ("send", Call::json(request)),
            Command::Scale(request) => ("scale", Call::json(request)),
            Command::Reload(request) => ("reload", Call::json(request)),
            Command::Shutdown => ("shutdown", Ok(Call::new(Method::POST, ""))),
        };
        let call = call.map_err(|source| self.unreadable(source))?;
        let query = match wait {
            Wait::ForEffect => "",
            Wait::No => "?wait=false",
        };
        self.ask(call.to(format!("/v1/{route}{query}"))).await
    }

    /// Jobs that wait or run, or dead letters.
    ///
    /// # Errors
    /// When nobody answers, or with a refusal.
    pub async fn jobs(
        &self,
        function: Option<&str>,
        limit: usize,
        of: JobsOf,
    ) -> Result<Vec<JobStatus>, ClientError> {
        let only = function.map(|name| format!("&function={}", escape(name))).unwrap_or_default();
        let of = match of {
            JobsOf::Oldest => "oldest",
            JobsOf::Newest => "newest",
            JobsOf::Dead => "dead",
        };
        self.ask(Call::new(Method::GET, format!("/v1/jobs?of={of}&limit={limit}{only}"))).await
    }

    /// One job that waits, runs or recurs, or a dead letter.
    ///
    /// # Errors
    /// When nobody answers, or no such job is known.
    pub async fn job(&self, handle: &str) -> Result<JobStatus, ClientError> {
        self.ask(Call::new(Method::GET, format!("/v1/jobs/{}", escape(handle)))).await
    }

    /// Withdraws a job that waits.
    ///
    /// # Errors
    /// When nobody answers, or no such job waits.
    pub async fn cancel(&self, handle: &str) -> Result<Done, ClientError> {
        self.ask(Call::new(Method::DELETE, format!("/v1/jobs/{}", escape(handle)))).await
    }

    /// The payload of a job as it is.
    ///
    /// # Errors
    /// When nobody answers, or no such job is known.
    pub async fn payload(&self, handle: &str) -> Result<Bytes, ClientError> {
        self.bytes(Call::new(Method::GET, format!("/v1/jobs/{}/payload", escape(handle)))).await
    }

    /// Every background job that waits.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn export(&self) -> Result<RecordReader<ExportedJob>, ClientError> {
        let body = self.open(Call::new(Method::GET, "/v1/queue/export")).await?;
        Ok(RecordReader::new(self.path.clone(), body))
    }

    /// Has functions paused.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn pause(&self, functions: &Functions) -> Result<Done, ClientError> {
        let call = Call::json(functions).map_err(|source| self.unreadable(source))?;
        self.ask(call.to("/v1/pause".to_owned())).await
    }

    /// Has functions go on.
    ///
    /// # Errors
    /// When nobody answers, or they are not paused.
    pub async fn resume(&self, functions: &Functions) -> Result<Done, ClientError> {
        let call = Call::json(functions).map_err(|source| self.unreadable(source))?;
        self.ask(call.to("/v1/resume".to_owned())).await
    }

    /// Does something to many jobs.
    ///
    /// # Errors
    /// When nobody answers, or a handle that is named is no such job's.
    pub async fn queue(
        &self,
        action: QueueAction,
        request: &QueueRequest,
    ) -> Result<QueueDone, ClientError> {
        let action = match action {
            QueueAction::Cancel => "cancel",
            QueueAction::Retry => "retry",
            QueueAction::Purge => "purge",
        };
        let call = Call::json(request).map_err(|source| self.unreadable(source))?;
        self.ask(call.to(format!("/v1/queue/{action}"))).await
    }

    /// Kills the worker that holds a job.
    ///
    /// # Errors
    /// When nobody answers, or no worker of the daemon holds such a job.
    pub async fn kill(&self, handle: &str) -> Result<Done, ClientError> {
        let route = format!("/v1/jobs/{}/kill", escape(handle));
        self.ask(Call::new(Method::POST, route)).await
    }

    /// Why a pool has the count it has.
    ///
    /// # Errors
    /// When nobody answers, or no such pool is known.
    pub async fn explain(&self, name: &str) -> Result<Explanation, ClientError> {
        self.ask(Call::new(Method::GET, format!("/v1/explain/{}", escape(name)))).await
    }

    /// Every change of a worker's state or a pool's count from now on.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn events(&self) -> Result<RecordReader<EventRecord>, ClientError> {
        let body = self.open(Call::new(Method::GET, "/v1/events")).await?;
        Ok(RecordReader::new(self.path.clone(), body))
    }

    /// Every job that ends from now on.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn trace(&self) -> Result<RecordReader<TraceRecord>, ClientError> {
        let body = self.open(Call::new(Method::GET, "/v1/trace")).await?;
        Ok(RecordReader::new(self.path.clone(), body))
    }

    /// Recent lines of workers' output, and those to come if the query says so.
    ///
    /// # Errors
    /// When nobody answers, or nothing has one of the names.
    pub async fn logs(&self, query: &LogQuery) -> Result<LogReader, ClientError> {
        let body = self.open(Call::new(Method::GET, query.route())).await?;
        Ok(LogReader::new(self.path.clone(), body))
    }
}
