//! The broker's main task: commands, commits, deadlines, and the shutdown.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info};

use super::commands::answer;
use super::core::{Core, now};
use super::ledger::Ledger;
use super::listen::{ListenError, Listener};
use super::listeners::Listeners;
use super::load::{open_state, open_store};
use super::shell::Shell;
use super::show::TARGET;
use super::start::{BrokerOptions, BrokerStartError};
use crate::broker::Command;
use crate::broker::state::{Input, Sweep};
use crate::broker::store::{ReadReport, ReadThread, StateDir, StoreReport, StoreThread};
use crate::config::ListenAddress;
use crate::model::JobId;

/// How long the shutdown waits for the disk, and for peers to read the rest of their answers.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(1);
/// How long it waits for connections to end from their side.
const PART_WITHIN: Duration = Duration::from_millis(200);

/// The job server; it lives on a thread of its own.
#[derive(Debug)]
pub struct Broker {
    shell: Rc<Shell>,
    listeners: Listeners,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::Receiver<StoreReport>,
    store_ended: bool,
    /// Orders about many jobs, which take turns. Everything else has its turn between two pieces.
    sweeps: VecDeque<Sweeping>,
    /// `None` when nothing is read, or the reader has ended.
    read: Option<mpsc::Receiver<ReadReport>>,
    /// Held for its lock, until the store is closed.
    _state_dir: Arc<StateDir>,
}

/// An order about many jobs that is being carried out.
#[derive(Debug)]
struct Sweeping {
    sweep: Sweep,
    /// The last job that was looked at.
    after: JobId,
    /// The jobs that were meant.
    handles: Vec<String>,
    reply: oneshot::Sender<Vec<String>>,
}

impl Sweeping {
    fn new(sweep: Sweep, reply: oneshot::Sender<Vec<String>>) -> Self {
        Self { sweep, after: JobId(0), handles: Vec::new(), reply }
    }
}

/// What the main task is to do next.
enum Next {
    Command(Command),
    Report(StoreReport),
    /// What was read; nothing when the reader has ended.
    Read(Option<ReadReport>),
    Deadline,
    Sweep,
    /// The store's thread panicked.
    StoreEnded,
    /// The deadline changed.
    Look,
    Shutdown(Option<oneshot::Sender<()>>),
}

impl Broker {
    /// Binds and reads; serves nobody yet. Tells the bound addresses.
    pub(super) fn open(
        options: BrokerOptions,
        commands: mpsc::Receiver<Command>,
    ) -> Result<(Self, Vec<ListenAddress>), BrokerStartError> {
        // Before the store, whose reading may take a while: a held port is told at once.
        let bound: Result<Vec<Listener>, ListenError> =
            options.listen.iter().map(|address| Listener::bind(address, options.sockets)).collect();
        let bound = bound?;
        let addresses = bound.iter().map(Listener::address).collect::<io::Result<_>>()?;
        let mut store = open_store(&options)?;
        let mut opened = open_state(store.as_mut(), &options)?;
        let reader = store.reader().map(|reader| ReadThread::start(reader, opened.last));
        let (reads, read) = match reader {
            Some(started) => started.map(|(thread, read)| (Some(thread), Some(read)))?,
            None => (None, None),
        };
        if reads.is_some() {
            opened.state.begin_loading();
        }
        let (store, reports) = StoreThread::start(store)?;
        let ledger = Ledger::new(store);
        let mut core =
            Core::new(opened.state, ledger, reads, options.events, options.packet_len_max);
        core.deaths = opened.deaths;
        core.allow.clone_from(&options.rules.allow);
        let shell = Rc::new(Shell::new(core));
        let mut listeners = Listeners::new(Rc::clone(&shell), options.sockets);
        for (asked, listener) in options.listen.into_iter().zip(bound) {
            listeners.serve(asked, listener);
        }
        let broker = Self {
            shell,
            listeners,
            commands,
            reports,
            store_ended: false,
            sweeps: VecDeque::new(),
            read,
            _state_dir: options.state_dir,
        };
        Ok((broker, addresses))
    }

    /// Serves until it is told to stop.
    pub(super) async fn run(mut self) {
        self.shell.core.borrow_mut().deliver(now());
        loop {
            self.shell.core.borrow_mut().pass_on_changes();
            match self.next().await {
                Next::Command(command) => self.command(command).await,
                Next::Report(report) => self.shell.core.borrow_mut().committed(report),
                Next::Read(Some(report)) => {
                    self.shell.core.borrow_mut().read(report);
                    self.catch_up().await;
                }
                Next::Read(None) => self.read = None,
                Next::Deadline => {
                    let mut core = self.shell.core.borrow_mut();
                    core.armed = None;
                    core.state.set_clock(now(), SystemTime::now());
                    core.input(Input::Deadline);
                }
                Next::Sweep => self.sweep_on(),
                Next::StoreEnded => {
                    self.store_ended = true;
                    self.shell.core.borrow_mut().store_ended();
                }
                Next::Look => {}
                Next::Shutdown(reply) => {
                    self.shut_down().await;
                    if let Some(reply) = reply {
                        // Who asked may have stopped waiting.
                        reply.send(()).unwrap_or_default();
                    }
                    return;
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        let armed = self.shell.core.borrow().armed.map(Instant::from_std);
        // The disk sets the pace of what ends many jobs.
        let sweeps = !self.sweeps.is_empty() && !self.shell.core.borrow().ledger.is_full();
        tokio::select! {
            report = self.reports.recv(), if !self.store_ended => {
                report.map_or(Next::StoreEnded, Next::Report)
            }
            report = recv(&mut self.read), if self.read.is_some() => Next::Read(report),
            command = self.commands.recv() => match command {
                Some(Command::Shutdown(reply)) => Next::Shutdown(Some(reply)),
                Some(command) => Next::Command(command),
                None => Next::Shutdown(None),
            },
            () = sleep_until(armed.unwrap_or_else(Instant::now)), if armed.is_some() => {
                Next::Deadline
            }
            () = self.shell.signals.alarm.notified() => Next::Look,
            () = yield_now(), if sweeps => Next::Sweep,
        }
    }

    async fn command(&mut self, command: Command) {
        let core = || self.shell.core.borrow_mut();
        match command {
            Command::Admit { worker, name, listener } => {
                core().admit(worker, name);
                self.listeners.admit(worker, listener);
            }
            Command::Gone { worker, exit } => {
                // First, so that nobody comes through it who belongs to no process any more.
                self.listeners.gone(worker).await;
                self.shell.core.borrow_mut().gone(worker, exit);
            }
            Command::Sweep { sweep, reply } if !core().state.is_loading() => {
                self.sweeps.push_back(Sweeping::new(sweep, reply));
            }
            Command::Listen { addresses, reply } => {
                let changed = self.listeners.change(addresses).await;
                answer(reply, changed.map_err(|error| error.to_string()));
            }
            other => core().obey(other),
        }
    }

    /// Carries out what was asked of jobs while stored ones were still to come.
    async fn catch_up(&mut self) {
        let waited = self.shell.core.borrow_mut().take_postponed();
        for command in waited {
            self.command(command).await;
        }
    }

    /// Carries out a piece of the first sweep, and puts it behind the others.
    fn sweep_on(&mut self) {
        let Some(mut sweeping) = self.sweeps.pop_front() else { return };
        let swept = self.shell.core.borrow_mut().sweep(&sweeping.sweep, sweeping.after);
        sweeping.handles.extend(swept.handles);
        match swept.next {
            Some(after) => self.sweeps.push_back(Sweeping { after, ..sweeping }),
            None => answer(sweeping.reply, sweeping.handles),
        }
    }

    /// Commits what is open, writes what is owed, closes everything.
    async fn shut_down(mut self) {
        self.listeners.close().await;
        self.shell.core.borrow_mut().begin_stopping();
        if timeout(COMMIT_WITHIN, self.settle()).await.is_err() {
            error!(target: TARGET, "the disk did not commit the last jobs in time");
        }
        if timeout(READ_WITHIN, self.write_out()).await.is_err() {
            info!(target: TARGET, "closing although some connections have not read all");
        }
        for (_, session) in self.shell.core.borrow_mut().sessions.drain() {
            session.wake.notify_one();
        }
        self.shell.tasks.close();
        if timeout(PART_WITHIN, self.shell.tasks.wait()).await.is_err() {
            info!(target: TARGET, left = self.shell.tasks.len(), "closing connections");
        }
        self.read = None;
        if let Some(reads) = self.shell.core.borrow_mut().reads.take() {
            reads.close();
        }
        if self.shell.core.borrow_mut().ledger.close(self.reports).is_err() {
            error!(target: TARGET, "the store's thread has panicked");
        }
    }

    async fn settle(&mut self) {
        loop {
            self.shell.core.borrow_mut().pass_on_changes();
            if self.shell.core.borrow().ledger.is_settled() {
                return;
            }
            let Some(report) = self.reports.recv().await else { return };
            self.shell.core.borrow_mut().committed(report);
        }
    }

    async fn write_out(&self) {
        loop {
            let drained = self.shell.signals.drained.notified();
            if self.shell.core.borrow().sessions.values().all(|open| open.output.is_empty()) {
                return;
            }
            drained.await;
        }
    }
}

async fn recv(read: &mut Option<mpsc::Receiver<ReadReport>>) -> Option<ReadReport> {
    match read {
        Some(read) => read.recv().await,
        None => None,
    }
}
