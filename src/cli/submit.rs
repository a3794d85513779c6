//! `submit`: a job's way as one sees it from a terminal; the one way to `gearman`'s client.
//!
//! Results go to stdout as they come and as they are. Progress, warnings and exceptions go to
//! stderr. A job that fails ends with exit code 1.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;

use super::args::SubmitArgs;
use super::commands::deadline;
use super::exit::{CliError, Exit};
use super::format;
use super::output::{self, Screen};
use super::progress::ProgressLine;
use crate::control::client::ControlClient;
use crate::gearman::{Client, InvalidAddress, JobEvent, ServerAddress};
use crate::model::Priority;
use crate::protocol::{Submission, SubmitMode};

/// Characters of a whole progress bar.
const BAR_WIDTH: u32 = 24;

/// Submits a job and shows what becomes of it.
pub(super) async fn run(
    args: SubmitArgs,
    client: Result<ControlClient, CliError>,
    screen: &mut Screen,
) -> Result<Exit, CliError> {
    let server = match args.server {
        Some(server) => server,
        None => server_of(&client?).await?,
    };
    let mode = if args.background { SubmitMode::Background } else { SubmitMode::Foreground };
    let submission = Submission {
        function: args.function.as_str().into(),
        unique: args.unique.as_deref().unwrap_or_default().into(),
        priority: match (args.high, args.low) {
            (true, _) => Priority::High,
            (_, true) => Priority::Low,
            (_, _) => Priority::Normal,
        },
        mode,
        payload: payload(args.payload)?.into(),
    };
    let mut view = View::new(screen, args.background);
    tokio::select! {
        ended = watch(&server, submission, &mut view) => ended,
        after = deadline(args.timeout) => {
            let after = format::duration(after.as_secs_f64());
            Err(CliError::new(Exit::TimedOut, format!("no result after {after}")))
        }
    }
}

async fn watch(
    server: &str,
    submission: Submission,
    view: &mut View<'_>,
) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::failed(with_cause(error));
    let address: ServerAddress = server.parse().map_err(|e: InvalidAddress| failed(&e))?;
    let mut client = Client::connect(&[address]).await.map_err(|error| failed(&error))?;
    let mut events = client.submit(submission);
    while let Some(event) = events.next().await.map_err(|error| failed(&error))? {
        if let Some(exit) = view.show(&event)? {
            return Ok(exit);
        }
    }
    Err(CliError::failed(format!("{server} closed the connection before the job ended")))
}

pub(super) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Where the running daemon takes jobs.
pub(super) async fn server_of(client: &ControlClient) -> Result<String, CliError> {
    let status = client.status().await?;
    let (listen, servers) = status.broker.map(|b| (b.listen, b.servers)).unwrap_or_default();
    let outside = servers.iter().find(|server| server.up).or(servers.first());
    if let Some(server) = outside {
        return Ok(server.address.clone());
    }
    listen.into_iter().next().map(|address| reachable(&address)).ok_or_else(|| {
        CliError::failed("this daemon takes no jobs itself")
            .with_hint("name a Gearman server with --server HOST:PORT")
    })
}

/// An address that one can connect to: a listener on all addresses is also on loopback.
fn reachable(address: &str) -> String {
    for (any, loopback) in [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")] {
        if let Some(port) = address.strip_prefix(any) {
            return format!("{loopback}{port}");
        }
    }
    address.to_owned()
}

/// The payload that was typed, or stdin; nothing at all where stdin is a terminal.
fn payload(typed: Option<OsString>) -> Result<Vec<u8>, CliError> {
    let is_dash = typed.as_ref().is_some_and(|text| text == "-");
    match typed {
        Some(text) if !is_dash => Ok(text.into_vec()),
        None if std::io::stdin().is_terminal() => Ok(Vec::new()),
        Some(_) | None => {
            let mut payload = Vec::new();
            std::io::stdin()
                .read_to_end(&mut payload)
                .map_err(|error| CliError::failed(format!("cannot read stdin: {error}")))?;
            Ok(payload)
        }
    }
}

/// A job as it is shown.
#[derive(Debug)]
struct View<'a> {
    screen: &'a mut Screen,
    line: ProgressLine,
    background: bool,
    handle: String,
    ends_with_newline: bool,
}

impl<'a> View<'a> {
    fn new(screen: &'a mut Screen, background: bool) -> Self {
        let line = ProgressLine::new();
        Self { screen, line, background, handle: String::new(), ends_with_newline: true }
    }

    /// Shows one piece of news; an exit code when nothing more is to come.
    fn show(&mut self, news: &JobEvent) -> Result<Option<Exit>, CliError> {
        match news {
            JobEvent::Created(handle) => {
                self.handle = String::from_utf8_lossy(handle).into_owned();
                if self.background {
                    self.screen.line(&self.handle)?;
                    return Ok(Some(Exit::Done));
                }
            }
            JobEvent::Data(bytes) => self.result(bytes)?,
            JobEvent::Warning(bytes) => self.remark(bytes),
            JobEvent::Status { numerator, denominator } => {
                let progress = number(numerator).zip(number(denominator));
                if let Some((done, all)) = progress.filter(|_| output::stderr_is_terminal()) {
                    self.line.show(&bar(done, all));
                }
            }
            JobEvent::Complete(bytes) => {
                self.result(bytes)?;
                self.end_line()?;
                return Ok(Some(Exit::Done));
            }
            JobEvent::Fail => return Err(self.failure()),
            JobEvent::Exception(bytes) => {
                self.remark(bytes);
                return Err(self.failure());
            }
        }
        Ok(None)
    }

    fn failure(&mut self) -> CliError {
        self.line.clear();
        let told = CliError::failed(format!("job {} failed", self.handle));
        self.end_line().err().unwrap_or(told)
    }

    fn result(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.line.clear();
        if let Some(last) = bytes.last() {
            self.ends_with_newline = *last == b'\n';
        }
        self.screen.bytes(bytes)
    }

    /// A result is passed on as it is; only a terminal's prompt must not stand in its last line.
    fn end_line(&mut self) -> Result<(), CliError> {
        if self.ends_with_newline || !self.screen.is_terminal() {
            return Ok(());
        }
        self.screen.line("")
    }

    fn remark(&mut self, bytes: &[u8]) {
        self.line.clear();
        output::to_stderr(bytes);
        if !bytes.ends_with(b"\n") {
            output::to_stderr(b"\n");
        }
    }
}

/// `[######..................] 25%`
fn bar(done: u32, all: u32) -> String {
    let filled = u64::from(BAR_WIDTH) * u64::from(done.min(all)) / u64::from(all.max(1));
    let filled = usize::try_from(filled).unwrap_or_default();
    let rest = (BAR_WIDTH as usize).saturating_sub(filled);
    format!("[{}{}] {}", "#".repeat(filled), ".".repeat(rest), format::percent(done, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(background: bool, news: &[JobEvent]) -> Result<Option<Exit>, CliError> {
        let mut screen = Screen::stdout();
        let mut view = View::new(&mut screen, background);
        news.iter().map(|news| view.show(news)).last().unwrap()
    }

    #[test]
    fn a_background_job_is_done_for_us_once_it_is_stored() {
        let created = JobEvent::Created("H:x:1".into());
        assert_eq!(show(true, std::slice::from_ref(&created)), Ok(Some(Exit::Done)));
        assert_eq!(show(false, &[created]), Ok(None));
    }

    #[test]
    fn a_job_that_fails_is_named() {
        for end in [JobEvent::Exception("division by zero".into()), JobEvent::Fail] {
            let news = [JobEvent::Created("H:x:1".into()), end];
            assert_eq!(show(false, &news), Err(CliError::failed("job H:x:1 failed")));
        }
    }

    #[test]
    fn progress_is_a_bar() {
        assert_eq!(bar(1, 4), "[######..................] 25%");
        assert_eq!(bar(9, 4), "[########################] 225%");
        assert_eq!(bar(0, 0), "[........................] 0 of 0");
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (listen, connect) in [
            ("0.0.0.0:4730", "127.0.0.1:4730"),
            ("[::]:4730", "[::1]:4730"),
            ("10.0.0.1:4730", "10.0.0.1:4730"),
            ("unix:/run/g.sock", "unix:/run/g.sock"),
        ] {
            assert_eq!(reachable(listen), connect);
        }
    }
}
