//! One job by one process.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use bytes::Bytes;

use super::WorkOptions;
use crate::gearman::{Assignment, ConnectionError, Worker};
use crate::protocol::WorkReport;

/// Exit code by which a program gives its job back for another try (EX_TEMPFAIL of sysexits.h).
const GIVE_BACK: i32 = 75;
/// Largest result that is held, in bytes; a larger one belongs into a stream.
const RESULT_LEN_MAX: usize = 1 << 30;
const READ_LEN: usize = 64 * 1024;

/// What became of a job.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This is to be reported.
    Report(WorkReport),
    /// Somebody else is to try.
    GiveBack,
}

/// Runs the program for one job; parts of the result go out as they come when that is asked for.
pub(super) fn run_job(
    options: &WorkOptions,
    job: &Assignment,
    worker: &mut Worker,
) -> Result<Outcome, ConnectionError> {
    let failed = |what: &str, error: &io::Error| {
        eprintln!("gear-supervisor work: {what}: {error}");
        Ok(Outcome::Report(WorkReport::Fail))
    };
    let mut child = match start(options, job) {
        Ok(child) => child,
        Err(error) => return failed("the program cannot be started", &error),
    };
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let result = std::thread::scope(|scope| {
        // Beside the reading: a program may write before it has read everything.
        scope.spawn(|| feed(stdin, &job.payload));
        let Some(stdout) = stdout else { return Ok(Ok(Vec::new())) };
        collect(stdout, |part| {
            if options.stream {
                worker.report(&job.handle, WorkReport::Data(part)).map(|()| None)
            } else {
                Ok(Some(part))
            }
        })
    });
    let status = child.wait();
    let result = match result? {
        Ok(result) => result,
        Err(error) => return failed("the result cannot be read", &error),
    };
    let status = match status {
        Ok(status) => status,
        Err(error) => return failed("the program was lost", &error),
    };
    Ok(match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Report(WorkReport::Complete(result.into())),
        (Some(GIVE_BACK), _) => Outcome::GiveBack,
        (Some(code), _) => {
            eprintln!("gear-supervisor work: the program ended with exit code {code}");
            Outcome::Report(WorkReport::Fail)
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            eprintln!("gear-supervisor work: the program was killed by signal {signal}");
            Outcome::Report(WorkReport::Fail)
        }
    })
}

fn start(options: &WorkOptions, job: &Assignment) -> io::Result<Child> {
    let (program, arguments) =
        options.command.split_first().ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
    let text = |bytes: &Bytes| std::ffi::OsStr::from_bytes(bytes).to_owned();
    Command::new(program)
        .args(arguments)
        .env("GEAR_HANDLE", text(&job.handle))
        .env("GEAR_FUNCTION", text(&job.function.0))
        .env("GEAR_UNIQUE", text(&job.unique.0))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// A program need not read its payload.
fn feed(stdin: Option<ChildStdin>, payload: &[u8]) {
    if let Some(mut stdin) = stdin
        && let Err(error) = stdin.write_all(payload)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("gear-supervisor work: the payload cannot be passed on: {error}");
    }
}

/// Reads to the end; `keep` passes parts on or gives them back to be held.
fn collect(
    mut from: impl Read,
    mut keep: impl FnMut(Bytes) -> Result<Option<Bytes>, ConnectionError>,
) -> Result<io::Result<Vec<u8>>, ConnectionError> {
    let mut held = Vec::new();
    let mut chunk = vec![0; READ_LEN];
    loop {
        let len = match from.read(&mut chunk) {
            Ok(0) => return Ok(Ok(held)),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(error)),
        };
        let part = Bytes::copy_from_slice(chunk.get(..len).unwrap_or_default());
        if let Some(part) = keep(part)? {
            held.extend_from_slice(&part);
        }
        if held.len() > RESULT_LEN_MAX {
            let why = "more than 1 GiB; send it in parts with --stream";
            return Ok(Err(io::Error::other(why)));
        }
    }
}
