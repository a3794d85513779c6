//! `attach` to a worker that has a terminal: its screen first, then what changes.
//!
//! Without `-i` the screen is painted on ours, whatever the size of ours is, and nothing else that
//! the worker prints reaches it. With `-i` the worker's terminal follows the size of ours, its bytes
//! come as they are, and every key but one goes to it, and that one when it is pressed twice. A
//! successor of the worker takes its place.

mod detach;
mod keys;
mod outbox;
mod picture;
mod stage;

use std::io::{self, IsTerminal};

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook_tokio::Signals;
use tokio::time::{Instant, sleep_until};

use super::args::AttachArgs;
use super::exit::{CliError, Exit};
use super::output::{self, Screen};
use crate::control::api::TerminalRecord;
use crate::control::client::{
    ClientError, ControlClient, KeyboardQuery, RecordReader, TerminalQuery,
};
pub(super) use detach::DetachKey;
use detach::{Stay, TWICE_WITHIN, Watched};
use keys::Keys;
use outbox::Outbox;
use picture::Picture;
use stage::Stage;

/// Whether the worker's terminal, and not its lines, may be shown.
pub(super) fn is_wanted(args: &AttachArgs, screen: &Screen) -> bool {
    args.interactive || (screen.is_terminal() && !args.json && args.names.len() == 1)
}

/// Shows a terminal until the operator leaves. `None`: no one worker with a terminal is meant, and
/// only lines can be shown.
pub(super) async fn attach(
    client: &ControlClient,
    screen: &mut Screen,
    args: &AttachArgs,
) -> Result<Option<Exit>, CliError> {
    let [name] = args.names.as_slice() else {
        return Err(CliError::new(Exit::Usage, "only one worker can be typed to"));
    };
    if args.interactive && !(io::stdin().is_terminal() && screen.is_terminal()) {
        return Err(CliError::new(Exit::Usage, "attach -i needs a terminal as input and output")
            .with_hint(format!("gear-supervisor send {name} LINE types without one")));
    }
    let size = stage::size();
    let keyboard = args.interactive.then_some(KeyboardQuery { steal: args.steal, size });
    let query = TerminalQuery { name: name.clone(), keyboard };
    let reader = match client.terminal(&query).await {
        Ok(reader) => reader,
        Err(ClientError::Refused(_)) if !args.interactive => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH])
        .map_err(|error| CliError::failed(format!("cannot listen for signals: {error}")))?;
    let mut session = Session {
        worker: name.clone(),
        reader,
        signals,
        keys: Keys::listen(),
        watched: Watched::new(args.detach_key, args.interactive),
        leaves_at: None,
        outbox: Outbox::new(client.clone()),
        picture: Picture::new(args.interactive, size, args.detach_key),
    };
    // From here on the terminal is changed, and changed back when this is dropped: at the end, with
    // an error, or in a panic.
    let stage = Stage::enter(args.interactive).map_err(CliError::from)?;
    let ended = session.run(screen).await;
    drop(stage);
    output::remark(&format!("-- {} --", ended?));
    Ok(Some(Exit::Done))
}

/// One stay at a terminal.
struct Session {
    worker: String,
    reader: RecordReader<TerminalRecord>,
    signals: Signals,
    keys: Keys,
    watched: Watched,
    /// When a press of the key is known to be the only one.
    leaves_at: Option<Instant>,
    outbox: Outbox,
    picture: Picture,
}

/// What happens next.
enum Event {
    Records(Option<Vec<TerminalRecord>>),
    Keys(Vec<u8>),
    Signal(i32),
    Leaves,
    Refused,
}

impl Session {
    /// Runs until the operator leaves or nothing is to be seen any more; tells which.
    async fn run(&mut self, screen: &mut Screen) -> Result<String, CliError> {
        loop {
            let event = self.next_event().await?;
            if let Some(end) = self.handle(event, screen)? {
                self.outbox.finish().await;
                return Ok(end);
            }
        }
    }

    async fn next_event(&mut self) -> Result<Event, CliError> {
        Ok(tokio::select! {
            records = self.reader.next_batch() => Event::Records(records?),
            keys = self.keys.next(), if self.outbox.has_room() => Event::Keys(keys),
            () = until(self.leaves_at) => Event::Leaves,
            signal = self.signals.next() => Event::Signal(signal.unwrap_or(SIGTERM)),
            refused = self.outbox.deliver() => {
                refused?;
                Event::Refused
            }
        })
    }

    fn handle(&mut self, event: Event, screen: &mut Screen) -> Result<Option<String>, CliError> {
        let left = || Ok(Some(format!("left {}, which goes on", self.worker)));
        match event {
            Event::Records(None) => Ok(Some("the daemon or the pool has ended".to_owned())),
            Event::Records(Some(records)) => {
                for record in records {
                    self.hear(record)?;
                }
                screen.bytes(&self.picture.take())?;
                Ok(None)
            }
            Event::Keys(keys) => {
                let mut for_program = Vec::new();
                let stay = self.watched.take(&keys, &mut for_program);
                self.outbox.type_keys(&for_program);
                self.leaves_at = (stay == Stay::Pressed).then(|| Instant::now() + TWICE_WITHIN);
                if stay == Stay::Over || keys.is_empty() { left() } else { Ok(None) }
            }
            Event::Signal(SIGWINCH) => {
                let size = stage::size();
                self.outbox.resize(size);
                self.picture.resize(size);
                screen.bytes(&self.picture.take())?;
                Ok(None)
            }
            Event::Signal(_) | Event::Leaves => left(),
            Event::Refused => {
                screen.bytes(b"\x07")?;
                Ok(None)
            }
        }
    }

    fn hear(&mut self, record: TerminalRecord) -> Result<(), CliError> {
        match record {
            TerminalRecord::Attached { worker, keyboard } => {
                if let Some(id) = keyboard {
                    self.outbox.take_keyboard(&worker, id);
                }
                self.worker = worker;
                Ok(())
            }
            TerminalRecord::KeyboardTaken { by } => {
                let message = format!("the keyboard of {} was taken by {by}", self.worker);
                Err(CliError::failed(message))
            }
            other => self.picture.show(other),
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
