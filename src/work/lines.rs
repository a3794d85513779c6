//! lines: one long-lived program that is handed a JSON line per job.
//!
//! ```text
//! Down ──start──▶ Up ──anything unasked, or its death──▶ Down
//!                  ╰──a job: request line ▶ replies ▶ the last one──╯
//! ```
//! A program that does not keep to the protocol cannot be trusted with another job, since a late
//! reply would be taken for that job's: it is killed and started anew.

mod message;

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::timeout;

use super::child::{Child, Process, SpawnError, left_in};
use super::outcome::{Failure, Outcome, Reporter};
use super::{RESULT_LEN_MAX, WorkError};
use crate::gearman::Assignment;
use crate::model::Exit;
use message::{Base64, Reply, True};

/// Longest reply, in bytes: a result of the largest size in base64, or in JSON that escapes a lot.
const LINE_LEN_MAX: usize = 2 * RESULT_LEN_MAX;
/// Bytes read at a time: what a pipe holds.
const READ_LEN: usize = 64 << 10;
/// How long a program may take to end once its stdin is closed.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// A program that is handed jobs by lines.
#[derive(Debug)]
pub(super) struct Lines {
    command: Vec<OsString>,
    program: Option<Program>,
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
        Self { command, program: None }
    }

    /// Whether the program runs, and may be handed a job.
    pub(super) fn is_up(&self) -> bool {
        self.program.is_some()
    }

    /// Starts the program.
    pub(super) async fn start(&mut self) -> Result<(), SpawnError> {
        let Child { process, stdin, stdout, .. } = Child::spawn(&self.command, &[]).await?;
        let replies = LineReader { pipe: Some(stdout), buffer: BytesMut::new(), searched: 0 };
        self.program = Some(Program { process, stdin, replies });
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
        self.program = None;
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
            self.program = None;
        }
        Ok(outcome)
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

/// Cuts a program's stdout into lines.
#[derive(Debug)]
struct LineReader {
    /// `None` once everything was read.
    pipe: Option<Receiver>,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
}

enum LineRead {
    Line(Bytes),
    TooLong,
    End,
}

impl LineReader {
    /// The next line without its end. May be dropped at any time.
    async fn next(&mut self) -> io::Result<LineRead> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(LineRead::Line(line));
            }
            if self.buffer.len() > LINE_LEN_MAX {
                return Ok(LineRead::TooLong);
            }
            let Some(pipe) = &mut self.pipe else { return Ok(LineRead::End) };
            self.buffer.reserve(READ_LEN);
            if pipe.read_buf(&mut self.buffer).await? == 0 {
                self.pipe = None;
            }
        }
    }

    /// Takes what is left when nothing more can come.
    fn finish(&mut self) -> io::Result<()> {
        if let Some(pipe) = self.pipe.take() {
            self.buffer.unsplit(left_in(pipe)?);
        }
        Ok(())
    }

    fn cut(&mut self) -> Option<Bytes> {
        let unsearched = self.buffer.get(self.searched..)?;
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at);
        self.buffer.advance(1);
        self.searched = 0;
        Some(line.freeze())
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
