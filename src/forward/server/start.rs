//! The forwarding thread and its main task.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::core::{Core, now};
use super::shell::Shell;
use super::{accept, poll};
use crate::forward::state::Wire;
use crate::forward::{Command, ForwardEvent, ForwardHandle};
use crate::model::WorkerId;

/// How long the end waits until servers have been sent what is owed.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// What the forwarding is told once, at its start.
#[derive(Debug)]
pub struct ForwardOptions {
    /// The Gearman servers, `HOST:PORT`.
    pub servers: Vec<String>,
    /// Where news go.
    pub events: mpsc::Sender<ForwardEvent>,
}

/// The thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the forwarding to the Gearman servers cannot be started")]
pub struct ForwardStartError(#[from] io::Error);

/// The thread ended by a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the forwarding thread has panicked")]
pub struct ForwardPanicked;

/// The thread.
#[derive(Debug)]
pub struct ForwardThread(JoinHandle<()>);

impl ForwardThread {
    /// Waits for its end; blocks.
    ///
    /// # Errors
    /// When it panicked.
    pub fn join(self) -> Result<(), ForwardPanicked> {
        self.0.join().or(Err(ForwardPanicked))
    }
}

/// The main task.
#[derive(Debug)]
pub struct Forward {
    shell: Rc<Shell>,
    commands: mpsc::Receiver<Command>,
    listeners: HashMap<WorkerId, CancellationToken>,
    /// Ends the tasks that ask servers for their queues.
    stop: CancellationToken,
}

impl Forward {
    /// Forwards on a thread of its own until [`Command::Shutdown`] or the drop of the last handle.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(
        options: ForwardOptions,
    ) -> Result<(ForwardHandle, ForwardThread), ForwardStartError> {
        let (commands, inbox) = mpsc::channel(ForwardHandle::COMMANDS_MAX);
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = thread::Builder::new().name("forward".to_owned());
        let join = thread.spawn(move || run_thread(&runtime, options, inbox))?;
        Ok((ForwardHandle::new(commands), ForwardThread(join)))
    }

    fn new(options: ForwardOptions, commands: mpsc::Receiver<Command>) -> Self {
        let ForwardOptions { servers, events } = options;
        let shell = Shell::new(Core::new(&servers, events));
        let stop = CancellationToken::new();
        for server in 0..servers.len() {
            shell.tasks.spawn_local(poll::run(Rc::clone(&shell), server, stop.clone()));
        }
        Self { shell, commands, listeners: HashMap::new(), stop }
    }

    async fn run(mut self) {
        let alarm = self.shell.look(|core| Rc::clone(&core.alarm));
        loop {
            let due = self.shell.look(|core| core.armed).map(Instant::from_std);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown(reply)) => return self.shut_down(Some(reply)).await,
                    Some(command) => self.obey(command),
                    None => return self.shut_down(None).await,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.shell.act(Core::look_at_deadlines);
                }
                () = alarm.notified() => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Admit { worker, name, listener } => {
                self.shell.act(|core| {
                    core.names.insert(worker, name.clone());
                    core.state.admit(worker, name);
                });
                let stop = accept::start(&self.shell, worker, listener);
                self.listeners.insert(worker, stop);
            }
            Command::Gone(worker) => {
                if let Some(listener) = self.listeners.remove(&worker) {
                    listener.cancel();
                }
                self.shell.act(|core| {
                    core.names.remove(&worker);
                    core.state.gone(now(), worker, &mut core.fx);
                });
            }
            command => self.shell.act(|core| core.obey(command)),
        }
    }

    async fn shut_down(self, reply: Option<oneshot::Sender<()>>) {
        self.stop.cancel();
        self.listeners.into_values().for_each(|listener| listener.cancel());
        let workers: Vec<Wire> = self.shell.look(|core| {
            core.wires.keys().filter(|wire| matches!(wire, Wire::Worker(_))).copied().collect()
        });
        self.shell.act(|core| workers.into_iter().for_each(|wire| core.end(wire)));
        self.shell.tasks.close();
        if timeout(FLUSH_WITHIN, self.shell.tasks.wait()).await.is_err() {
            info!(left = self.shell.tasks.len(), "closing connections to Gearman servers");
        }
        if let Some(reply) = reply {
            // Who asked may have stopped waiting.
            reply.send(()).unwrap_or_default();
        }
    }
}

impl Core {
    /// Carries out a command that concerns no listener.
    fn obey(&mut self, command: Command) {
        match command {
            Command::DrainIfIdle { worker, reply } => {
                match self.state.drain_if_idle(now(), worker, &mut self.fx) {
                    Some(answer) => drop(reply.send(answer)),
                    None => self.questions.entry(worker).or_default().push(reply),
                }
            }
            Command::Drain { worker, reply } => {
                self.drains.entry(worker).or_default().push(reply);
                self.state.drain(now(), worker, &mut self.fx);
            }
            Command::Await(worker) => self.state.await_end(worker),
            Command::Nudge(worker) => self.state.nudge(worker, &mut self.fx),
            Command::Limit { pool, workers_max } => {
                self.state.limit(now(), pool, workers_max, &mut self.fx);
            }
            // Whoever asks may have stopped waiting for the answer.
            Command::InHand { pool, reply } => {
                drop(reply.send(self.state.in_hands(now(), &pool)));
            }
            Command::Tally { pool, reply } => drop(reply.send(self.state.tally(now(), &pool))),
            Command::View(reply) => {
                let mut view = self.state.view(now());
                view.servers = self.server_views();
                drop(reply.send(view));
            }
            // The main task's own.
            Command::Admit { .. } | Command::Gone(_) | Command::Shutdown(_) => {}
        }
    }
}

fn run_thread(runtime: &Runtime, options: ForwardOptions, commands: mpsc::Receiver<Command>) {
    LocalSet::new().block_on(runtime, async { Forward::new(options, commands).run().await });
}
