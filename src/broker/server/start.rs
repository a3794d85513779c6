//! Starting the broker's thread and ending it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::broker::Broker;
use super::listen::{ListenError, SocketOptions};
use crate::broker::state::Habits;
use crate::broker::store::{StateDir, StoreError};
use crate::broker::{BrokerEvent, BrokerHandle, Command};
use crate::config::{BrokerRules, ListenAddress, StoreKind};

/// What the broker is told once, at its start.
#[derive(Debug)]
pub struct BrokerOptions {
    /// Where clients and workers connect.
    pub listen: Vec<ListenAddress>,
    /// Largest packet body, in bytes.
    pub packet_len_max: usize,
    /// Where background jobs are kept.
    pub store: StoreKind,
    /// Bytes of payloads of stored jobs that are held in memory; the rest is on disk alone.
    pub memory_budget: usize,
    /// The locked folder for it.
    pub state_dir: Arc<StateDir>,
    /// Deaths of workers with one job in hand at which the job is given up, unless the rules say
    /// otherwise for its function.
    pub attempts_max: u32,
    /// Where gearmand's way can be chosen.
    pub habits: Habits,
    /// What handles begin with; `None`: as the store says, or the host's name.
    pub handle_prefix: Option<String>,
    /// What may change while it runs.
    pub rules: Arc<BrokerRules>,
    /// How sockets are set up.
    pub sockets: SocketOptions,
    /// Where news go; dropped and counted while it is full.
    pub events: mpsc::Sender<BrokerEvent>,
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerStartError {
    /// An address is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The jobs kept from before cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no room for a thread, or its host name cannot be read.
    #[error("cannot start the broker: {0}")]
    System(#[from] io::Error),
    /// It stopped while it started.
    #[error("the broker's thread ended while it started")]
    Ended,
}

/// The broker's thread.
#[derive(Debug)]
pub struct BrokerThread {
    join: JoinHandle<()>,
    addresses: Vec<ListenAddress>,
}

/// The broker's thread ended by a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's thread has panicked")]
pub struct BrokerPanicked;

impl Broker {
    /// Binds the listeners, reads the jobs kept from before, and serves on a thread of its own.
    ///
    /// It blocks until the broker serves. [`Command::Shutdown`] ends it, and so does the drop of
    /// the last handle.
    ///
    /// # Errors
    /// When an address or the store is not to be had.
    pub fn start(options: BrokerOptions) -> Result<(BrokerHandle, BrokerThread), BrokerStartError> {
        let (commands, inbox) = mpsc::channel(BrokerHandle::COMMANDS_MAX);
        let (started, outcome) = std_mpsc::channel();
        let join = thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || run_thread(options, inbox, &started))?;
        let addresses = outcome.recv().or(Err(BrokerStartError::Ended))??;
        Ok((BrokerHandle::new(commands), BrokerThread { join, addresses }))
    }
}

impl BrokerThread {
    /// Where it listened at its start, as asked for, with the ports that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Waits for its end; blocks.
    ///
    /// # Errors
    /// When it panicked.
    pub fn join(self) -> Result<(), BrokerPanicked> {
        self.join.join().or(Err(BrokerPanicked))
    }
}

impl BrokerStartError {
    /// True when another process has what we need.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Listen(ListenError::Held { .. }))
    }
}

type Started = Result<Vec<ListenAddress>, BrokerStartError>;

fn run_thread(
    options: BrokerOptions,
    commands: mpsc::Receiver<Command>,
    started: &std_mpsc::Sender<Started>,
) {
    // The starter waits for this one message; it cannot have gone.
    let tell = |outcome| started.send(outcome).unwrap_or_default();
    let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(error.into())),
    };
    LocalSet::new().block_on(&runtime, async {
        match Broker::open(options, commands) {
            Ok((broker, addresses)) => {
                tell(Ok(addresses));
                broker.run().await;
            }
            Err(error) => tell(Err(error)),
        }
    });
}
