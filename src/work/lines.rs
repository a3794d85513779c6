//! lines: one long-lived program that is handed a JSON line per job.
//!
//! ```text
//! Down ──start──▶ Up ──anything unasked, or its death──▶ Down
//!                  ╰──a job: request line ▶ replies ▶ the last one──╯
//! ```
//! A program that does not keep to the protocol cannot be trusted with another job, since a late
//! reply would be taken for that job's: it is killed and started anew.

mod message;
mod reader;

use std::ffi::OsString;
use std::fmt;
use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::time::timeout;

use super::child::{Child, Fd3, Process, SpawnError};
use super::outcome::{Failure, Outcome, Reporter};
use super::{RESULT_LEN_MAX, WorkError, tell};
use crate::gearman::Assignment;
use crate::model::Exit;
use message::{Base64, Reply, True};
use reader::{LineRead, LineReader};

/// Longest reply, in bytes: a result of the largest size in base64, or in JSON that escapes a lot.
const LINE_LEN_MAX: usize = 2 * RESULT_LEN_MAX;
/// How long a program may take to end once its stdin is closed.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// A program that is handed jobs by lines.
#[derive(Debug)]
pub(super) struct Lines {
    command: Vec<OsString>,
    program: Option<Program>,
    /// A program in trouble that was told to die, and is to be waited for.
    fallen: Option<Process>,
}

/// The program while it runs.
#[derive(Debug)]
struct Program {
    process: Process,
    stdin: Sender,
    replies: LineReader,
}

/// What a program did that ended its time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It died.
    Died(Exit),
    /// It closed its stdout and lives on.
    ClosedOutput,
    /// It wrote a line without being asked.
    Unasked(String),
    /// It wrote a line without an end.
    EndlessLine,
}

/// What comes from a program.
enum Said {
    Line(Bytes),
    Nothing(Trouble),
}

impl Lines {
    pub(super) fn new(command: Vec<OsString>) -> Self {
        Self { command, program: None, fallen: None }
    }

    /// Whether the program runs, and may be handed a job.
    pub(super) fn is_up(&self) -> bool {
        self.program.is_some()
    }

    /// Starts the program, once the one before it is gone.
    pub(super) async fn start(&mut self) -> Result<(), SpawnError> {
        if let Some(mut fallen) = self.fallen.take()
            && let Err(error) = fallen.wait().await
        {
            tell(format_args!("cannot wait for the program's end: {error}"));
        }
        let child = Child::spawn(&self.command, &[], Fd3::Closed).await?;
        let replies = LineReader::new(child.stdout, LINE_LEN_MAX);
        self.program = Some(Program { process: child.process, stdin: child.stdin, replies });
        Ok(())
    }

    /// Waits, between two jobs, for what must not be; afterwards the program is down. May be
    /// dropped at any time.
    pub(super) async fn trouble(&mut self) -> Result<Trouble, WorkError> {
        let Some(program) = &mut self.program else { return pending().await };
        let trouble = match program.listen().await.map_err(WorkError::Pipe)? {
            Said::Line(line) => Trouble::Unasked(message::shown(&line)),
            Said::Nothing(trouble) => trouble,
        };
        self.put_down();
        Ok(trouble)
    }

    /// Performs one job; afterwards the program may be down.
    pub(super) async fn perform(
        &mut self,
        job: &Assignment,
        reporter: &mut Reporter<'_>,
    ) -> Result<Outcome, WorkError> {
        let Some(program) = &mut self.program else { return Ok(Outcome::GiveBack) };
        let outcome = program.perform(job, reporter).await.map_err(WorkError::Pipe)?;
        if matches!(outcome, Outcome::Fail(Failure::BadReply(_)) | Outcome::Died(_)) {
            self.put_down();
        }
        Ok(outcome)
    }

    fn put_down(&mut self) {
        self.fallen = self.program.take().map(|program| program.process);
        if let Some(fallen) = &self.fallen {
            fallen.kill();
        }
    }

    /// Closes the program's stdin and lets it end by itself for [`EXIT_GRACE`].
    pub(super) async fn end(&mut self) {
        let Some(Program { mut process, stdin, replies: _open }) = self.program.take() else {
            return;
        };
        drop(stdin);
        if timeout(EXIT_GRACE, process.wait()).await.is_err() {
            process.kill();
        }
    }
}

impl Program {
    async fn perform(
        &mut self,
        job: &Assignment,
        reporter: &mut Reporter<'_>,
    ) -> io::Result<Outcome> {
        let mut request = Bytes::from(message::request(job)?);
        loop {
            let (process, stdin) = (&mut self.process, &mut self.stdin);
            let said = tokio::select! {
                said = listen(process, &mut self.replies) => said?,
                written = stdin.write_buf(&mut request), if !request.is_empty() => {
                    if written.is_err() {
                        // Dead or deaf; the first keeps its own exit status in spite of this.
                        self.process.kill();
                        request.clear();
                    }
                    continue;
                }
            };
            let line = match said {
                Said::Line(line) => line,
                Said::Nothing(Trouble::Died(exit)) => return Ok(Outcome::Died(exit)),
                Said::Nothing(trouble) => return Ok(bad_reply(trouble.to_string())),
            };
            match message::reply(&line) {
                Ok(reply) => {
                    if let Some(outcome) = take(reply, reporter).await {
                        let is_early = request.has_remaining();
                        let early = "the program answered before it had read the request";
                        return Ok(if is_early { bad_reply(early.to_owned()) } else { outcome });
                    }
                }
                Err(why) => return Ok(bad_reply(why)),
            }
        }
    }

    async fn listen(&mut self) -> io::Result<Said> {
        listen(&mut self.process, &mut self.replies).await
    }
}

/// The next line, or why there is none. May be dropped at any time.
async fn listen(process: &mut Process, replies: &mut LineReader) -> io::Result<Said> {
    loop {
        tokio::select! {
            // What it said before it died comes first.
            biased;
            read = replies.next() => return match read? {
                LineRead::Line(line) => Ok(Said::Line(line)),
                LineRead::TooLong => Ok(Said::Nothing(Trouble::EndlessLine)),
                LineRead::End => match timeout(EXIT_GRACE, process.wait()).await {
                    Ok(exit) => Ok(Said::Nothing(Trouble::Died(exit?))),
                    Err(_) => Ok(Said::Nothing(Trouble::ClosedOutput)),
                },
            },
            exit = process.wait() => {
                exit?;
                replies.finish()?;
            }
        }
    }
}

/// Passes a reply on; the last one of a job is its outcome.
async fn take(reply: Reply, reporter: &mut Reporter<'_>) -> Option<Outcome> {
    match reply {
        Reply::Data(text) => reporter.data(text.into()).await,
        Reply::Warning(text) => reporter.warning(text.into()).await,
        Reply::Status(done, all) => reporter.progress(done, all).await,
        Reply::Result(text) => return Some(complete(text.into())),
        Reply::ResultBase64(Base64(bytes)) => return Some(complete(bytes.into())),
        Reply::Fail(True) => return Some(Outcome::Fail(Failure::Said)),
        Reply::Exception(text) => return Some(Outcome::Exception(text.into())),
    }
    None
}

fn complete(result: Bytes) -> Outcome {
    if result.len() > RESULT_LEN_MAX {
        return Outcome::Fail(Failure::TooLarge);
    }
    Outcome::Complete(result)
}

fn bad_reply(why: String) -> Outcome {
    Outcome::Fail(Failure::BadReply(why))
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Died(exit) => write!(f, "the program ended ({exit})"),
            Self::ClosedOutput => f.write_str("the program closed its stdout"),
            Self::EndlessLine => {
                write!(f, "the program wrote a line of more than {LINE_LEN_MAX} bytes")
            }
            Self::Unasked(line) => write!(
                f,
                "the program wrote '{line}' without being asked; stdout is for replies, stderr for \
                 everything else"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
