//! How a job can end, and reports on the way there.

use std::fmt;

use bytes::Bytes;

use super::{RESULT_LEN_MAX, tell, with_causes};
use crate::gearman::{Assignment, Worker};
use crate::model::Exit;
use crate::protocol::WorkReport;

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, with this (last part of the) result.
    Complete(Bytes),
    /// Failed; only the log is told why.
    Fail(Failure),
    /// Failed, and the client is told why.
    Exception(Bytes),
    /// Not now: somebody is to try again.
    GiveBack,
    /// The lines program died over it.
    Died(Exit),
}

/// Why a job failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The exec program's exit status.
    Exit(Exit),
    /// The lines program said so.
    Said,
    /// The result is too large for a packet.
    TooLarge,
    /// The lines program does not keep to the protocol.
    BadReply(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::Said => f.write_str("the program said so"),
            Self::TooLarge => write!(
                f,
                "its result is above {RESULT_LEN_MAX} bytes; send it in parts (exec: --stream, \
                 lines: \"data\")"
            ),
            Self::BadReply(why) => write!(f, "{why}; the program is restarted"),
        }
    }
}

/// Sends reports on one job; once the server is lost, it tells so and says no more.
#[derive(Debug)]
pub(super) struct Reporter<'a> {
    worker: &'a mut Worker,
    job: &'a Assignment,
    is_lost: bool,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(worker: &'a mut Worker, job: &'a Assignment) -> Self {
        Self { worker, job, is_lost: false }
    }

    pub(super) async fn data(&mut self, data: Bytes) {
        self.send(WorkReport::Data(data)).await;
    }

    pub(super) async fn warning(&mut self, text: Bytes) {
        self.send(WorkReport::Warning(text)).await;
    }

    pub(super) async fn progress(&mut self, done: u32, all: u32) {
        let (numerator, denominator) = (done.to_string().into(), all.to_string().into());
        self.send(WorkReport::Status { numerator, denominator }).await;
    }

    pub(super) async fn send(&mut self, report: WorkReport) {
        if self.is_lost {
            return;
        }
        if let Err(error) = self.worker.report(self.job, report).await {
            self.is_lost = true;
            tell(with_causes(&error));
        }
    }
}
