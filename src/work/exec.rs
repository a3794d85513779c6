//! exec: a process per job.
//!
//! The job ends with its process. What strays of it would still write is not waited for. Output
//! beyond [`RESULT_LEN_MAX`] ends the process and fails the job, unless it is streamed.

use std::ffi::OsString;
use std::future::pending;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::child::{Child, Fd3, left_in};
use super::outcome::{Failure, Outcome, Reporter};
use super::progress::{ProgressReader, Read};
use super::{Output, RESULT_LEN_MAX, WorkError, tell};
use crate::gearman::Assignment;
use crate::model::Exit;

/// The exit status that asks for another try (`EX_TEMPFAIL` of sysexits.h).
const EXIT_TRY_AGAIN: i32 = 75;
/// Bytes of output read at a time: what a pipe holds.
const READ_LEN: usize = 64 << 10;

/// Runs a program for each job.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) command: Vec<OsString>,
    pub(super) output: Output,
}

/// What has come of one job so far.
struct Collected<'a, 'b> {
    output: Output,
    result: BytesMut,
    is_too_large: bool,
    progress: ProgressReader,
    garbage_told: bool,
    reporter: &'a mut Reporter<'b>,
}

impl Exec {
    /// Performs one job from its start to its end.
    pub(super) async fn perform(
        &self,
        job: &Assignment,
        reporter: &mut Reporter<'_>,
    ) -> Result<Outcome, WorkError> {
        let variables: [(&str, &[u8]); 3] = [
            ("GEAR_HANDLE", &job.handle),
            ("GEAR_UNIQUE", &job.unique.0),
            ("GEAR_FUNCTION", &job.function.0),
        ];
        let child = Child::spawn(&self.command, &variables, Fd3::Progress).await?;
        let mut collected = Collected {
            output: self.output,
            result: BytesMut::new(),
            is_too_large: false,
            progress: ProgressReader::default(),
            garbage_told: false,
            reporter,
        };
        let exit =
            run(child, job.payload.clone(), &mut collected).await.map_err(WorkError::Pipe)?;
        Ok(collected.outcome(exit))
    }
}

/// Feeds the process and takes what it says, until it ends.
async fn run(
    child: Child,
    mut payload: Bytes,
    collected: &mut Collected<'_, '_>,
) -> io::Result<Exit> {
    let Child { mut process, stdin, stdout, progress } = child;
    let (mut stdin, mut stdout, mut progress) = (Some(stdin), Some(stdout), progress);
    let (mut output, mut lines) = (BytesMut::new(), BytesMut::new());
    let exit = loop {
        tokio::select! {
            is_done = feed(stdin.as_mut(), &mut payload) => if is_done { stdin = None },
            read = read(stdout.as_mut(), &mut output) => {
                if read? == 0 { stdout = None }
                collected.output(output.split().freeze()).await;
                if collected.is_too_large { process.kill() }
            }
            read = read(progress.as_mut(), &mut lines) => {
                if read? == 0 { progress = None }
                collected.progress(&lines.split()).await;
            }
            exit = process.wait() => break exit?,
        }
    };
    if let Some(progress) = progress {
        collected.progress(&left_in(progress)?).await;
    }
    collected.progress_end().await;
    if let Some(stdout) = stdout {
        collected.output(left_in(stdout)?.freeze()).await;
    }
    Ok(exit)
}

/// Writes on; true when everything is written, or the process does not want it.
async fn feed(stdin: Option<&mut Sender>, payload: &mut Bytes) -> bool {
    let Some(stdin) = stdin else { return pending().await };
    if payload.is_empty() {
        return true;
    }
    // The only way to fail is that nobody reads, which is the program's right.
    stdin.write_buf(payload).await.is_err()
}

async fn read(pipe: Option<&mut Receiver>, into: &mut BytesMut) -> io::Result<usize> {
    let Some(pipe) = pipe else { return pending().await };
    into.reserve(READ_LEN);
    pipe.read_buf(into).await
}

impl Collected<'_, '_> {
    async fn output(&mut self, bytes: Bytes) {
        match self.output {
            Output::Streamed if bytes.is_empty() => {}
            Output::Streamed => self.reporter.data(bytes).await,
            Output::Whole if self.result.len() + bytes.len() > RESULT_LEN_MAX => {
                self.is_too_large = true;
            }
            Output::Whole => self.result.extend_from_slice(&bytes),
        }
    }

    async fn progress(&mut self, bytes: &[u8]) {
        let read = self.progress.feed(bytes);
        self.tell_progress(read).await;
    }

    async fn progress_end(&mut self) {
        let read = self.progress.finish();
        self.tell_progress(read).await;
    }

    async fn tell_progress(&mut self, read: Read) {
        if let Some(line) = read.garbage
            && !self.garbage_told
        {
            self.garbage_told = true;
            tell(format_args!("'{line}' on fd 3 is no progress; write N/M"));
        }
        if let Some((done, all)) = read.progress {
            self.reporter.progress(done, all).await;
        }
    }

    fn outcome(self, exit: Exit) -> Outcome {
        match exit {
            _ if self.is_too_large => Outcome::Fail(Failure::TooLarge),
            Exit::Code(0) => Outcome::Complete(self.result.freeze()),
            Exit::Code(EXIT_TRY_AGAIN) => Outcome::GiveBack,
            exit => Outcome::Fail(Failure::Exit(exit)),
        }
    }
}
