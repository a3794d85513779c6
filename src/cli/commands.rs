//! Commands: sent, waited for, and their sentences shown.

use std::path::Path;
use std::time::Duration;

use super::args::{
    Bounds, NamesArgs, PaceArgs, ReloadArgs, RestartArgs, Scale, ScaleArgs, SendArgs, SignalArgs,
};
use super::exit::{CliError, Exit};
use super::format;
use super::interrupt::Interrupt;
use super::output::Screen;
use super::progress::ProgressLine;
use crate::control::api::{
    Done, Names, ReloadRequest, RestartRequest, ScaleRequest, SendRequest, SignalRequest,
};
use crate::control::client::{ClientError, Command, ControlClient, Wait};

/// Between two looks whether the daemon's process has gone.
const GONE_INTERVAL: Duration = Duration::from_millis(20);
/// How long the daemon's process may take to end once nothing is left for it to do.
const GONE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a command, and shows the sentences of its answer.
pub(super) async fn run(
    client: &ControlClient,
    screen: &mut Screen,
    order: &Order,
) -> Result<Exit, CliError> {
    let done = wait_for(client, &order.command, &order.names, order.pace).await?;
    show(screen, &done, order.pace)
}

/// Lets the daemon finish and end, and waits until its process has gone.
pub(super) async fn shutdown(
    client: &ControlClient,
    screen: &mut Screen,
    pace: PaceArgs,
) -> Result<Exit, CliError> {
    let pid = client.status().await?.pid;
    let everything = ["all".to_owned()];
    match wait_for(client, &Command::Shutdown, &everything, pace).await {
        Ok(done) => show(screen, &done, pace)?,
        // It may end before its last word is out.
        Err(Stuck::Client(ClientError::BrokenOff { .. })) => Exit::Done,
        Err(error) => return Err(error.into()),
    };
    if pace.no_wait {
        return Ok(Exit::Done);
    }
    let process = format!("/proc/{pid}");
    let gone = async {
        while Path::new(&process).exists() {
            tokio::time::sleep(GONE_INTERVAL).await;
        }
    };
    match tokio::time::timeout(GONE_TIMEOUT, gone).await {
        Ok(()) => Ok(Exit::Done),
        Err(_) => Err(CliError::new(
            Exit::TimedOut,
            format!("everything is stopped, but the daemon (pid {pid}) has not ended"),
        )),
    }
}

/// A command, whom it concerns, and how long it may take.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    command: Command,
    names: Vec<String>,
    pace: PaceArgs,
}

impl Order {
    pub(super) fn on_names(args: NamesArgs, command: impl FnOnce(Names) -> Command) -> Self {
        let command = command(Names { names: args.names.clone() });
        Self { command, names: args.names, pace: args.pace }
    }
}

impl From<RestartArgs> for Order {
    fn from(args: RestartArgs) -> Self {
        let now = args.now;
        Self::on_names(args.names, |Names { names }| {
            Command::Restart(RestartRequest { names, now })
        })
    }
}

impl From<SignalArgs> for Order {
    fn from(args: SignalArgs) -> Self {
        let signal = args.signal;
        Self::on_names(args.names, |Names { names }| {
            Command::Signal(SignalRequest { names, signal })
        })
    }
}

impl From<SendArgs> for Order {
    fn from(args: SendArgs) -> Self {
        let names = vec![args.name];
        let request = SendRequest { names: names.clone(), line: args.line };
        let pace = PaceArgs { json: args.json, ..PaceArgs::default() };
        Self { command: Command::Send(request), names, pace }
    }
}

impl From<ScaleArgs> for Order {
    fn from(args: ScaleArgs) -> Self {
        let names = vec![args.name];
        let bounds = match args.to {
            Scale::Held(Bounds { min, max }) => Some((min, max)),
            Scale::Auto => None,
        };
        let hold_seconds = args.hold.map(|hold| hold.as_secs());
        let request = ScaleRequest { names: names.clone(), bounds, hold_seconds };
        Self { command: Command::Scale(request), names, pace: args.pace }
    }
}

impl From<ReloadArgs> for Order {
    fn from(args: ReloadArgs) -> Self {
        let command = Command::Reload(ReloadRequest { allow_empty: args.allow_empty });
        Self { command, names: vec!["all".to_owned()], pace: args.pace }
    }
}

/// Why a command has no answer.
#[derive(Debug)]
enum Stuck {
    Client(ClientError),
    TimedOut(Duration),
    /// Ctrl-C.
    Left,
    Signals(CliError),
}

impl From<Stuck> for CliError {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Client(error) => error.into(),
            Stuck::TimedOut(after) => {
                let after = format::duration(after.as_secs_f64());
                Self::new(Exit::TimedOut, format!("not done after {after}, and the daemon goes on"))
                    .with_hint("gear-supervisor status shows how far it is")
            }
            Stuck::Left => Self::failed("left; the daemon goes on with it")
                .with_hint("gear-supervisor status shows how far it is"),
            Stuck::Signals(error) => error,
        }
    }
}

/// Sends the command and waits for its effect, telling on a terminal whom it waits for.
async fn wait_for(
    client: &ControlClient,
    command: &Command,
    names: &[String],
    pace: PaceArgs,
) -> Result<Done, Stuck> {
    if pace.no_wait {
        return client.command(command, Wait::No).await.map_err(Stuck::Client);
    }
    let mut interrupt = Interrupt::listen().map_err(Stuck::Signals)?;
    let mut line = ProgressLine::new();
    tokio::select! {
        done = client.command(command, Wait::ForEffect) => done.map_err(Stuck::Client),
        after = deadline(pace.timeout) => Err(Stuck::TimedOut(after)),
        () = interrupt.wait() => Err(Stuck::Left),
        never = line.follow(client, names) => match never {},
    }
}

/// Ends when the time is over, and tells how long it was; never without one.
pub(super) async fn deadline(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => std::future::pending().await,
    }
}

fn show(screen: &mut Screen, done: &Done, pace: PaceArgs) -> Result<Exit, CliError> {
    if pace.json {
        screen.json(done)?;
        return Ok(Exit::Done);
    }
    for sentence in &done.done {
        screen.line(sentence)?;
    }
    Ok(Exit::Done)
}
