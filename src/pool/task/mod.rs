//! The task of one pool: owns its slots and their processes, and carries out what the lifecycle
//! decides.
//!
//! Nothing here waits for another room's queue but the logs', whose thread waits for nobody: what
//! the gate cannot take at once waits in [`GateDesk`], since the supervisor that empties the gate
//! also fills this task's own queue.

mod apply;
mod deploy;
mod desk;
mod overrun;
mod publish;
mod recycle;
mod story;
mod unheard;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;

use self::apply::{Begin, Chance, Replies};
use self::deploy::Deploy;
use self::desk::GateDesk;
use self::overrun::Overruns;
use self::publish::Publisher;
use self::unheard::Unheard;
use self::watch::Watches;
use super::health::{SIGNS_MAX, Sign};
use super::lifecycle::{Event, Roster, Rules};
use super::process::Processes;
use super::{Gate, Hurdle, Intents, Memory, Page, PoolCommand, PoolHandle, PoolNews, WorkerIds};
use crate::config::{PoolProtocol, PoolSettings};
use crate::logs::LogsHandle;
use crate::model::{InHand, Tally, WorkerId};

/// What a pool needs.
#[derive(Debug)]
pub struct PoolOptions {
    /// Its settings.
    pub settings: Arc<PoolSettings>,
    /// How many workers it is to have at first.
    pub target: u32,
    /// What they have to wait for.
    pub hurdle: Option<Hurdle>,
    /// The table of living processes.
    pub processes: Processes,
    /// Who hands out jobs; when the far end is closed every worker counts as idle.
    pub gate: Gate,
    /// Where output goes.
    pub logs: LogsHandle,
    /// The source of worker ids, shared by all pools.
    pub ids: WorkerIds,
    /// Whom the task belongs to.
    pub tracker: TaskTracker,
    /// Where its workers find their jobs.
    pub servers: Servers,
    /// Whom it tells of its workers' states.
    pub news: PoolNews,
    /// What operators asked for earlier, and from now on.
    pub intents: Page<Intents>,
    /// What was seen of it earlier, and from now on.
    pub memory: Page<Memory>,
}

/// Where workers find their jobs.
#[derive(Clone, Debug)]
pub enum Servers {
    /// The daemon's broker, or the daemon's way to others, through a private listener for each
    /// process.
    Own,
    /// These Gearman servers, `HOST:PORT`.
    External(Arc<[String]>),
}

/// Owns one pool. It ends when it is closed, or when all its handles are gone.
#[derive(Debug)]
pub struct Pool {
    settings: Arc<PoolSettings>,
    /// The same with the former program, while that of the file has not proved itself.
    former: Option<Arc<PoolSettings>>,
    deploy: Deploy,
    servers: Servers,
    news: PoolNews,
    intents: Page<Intents>,
    memory: Page<Memory>,
    processes: Processes,
    gate: GateDesk,
    logs: LogsHandle,
    roster: Roster,
    commands: mpsc::Receiver<PoolCommand>,
    replies: Replies,
    /// Processes to start, one a turn: a thousand of them take a second, and what happens
    /// meanwhile is not to wait for it.
    starts: VecDeque<Begin>,
    /// Process ids of the living.
    pids: HashMap<WorkerId, i32>,
    /// Ends of processes and answers of the gate that are under way.
    under_way: FuturesUnordered<UnderWay>,
    /// What vigils beside the processes find out.
    signs: mpsc::Receiver<Sign>,
    signs_in: mpsc::Sender<Sign>,
    watches: Watches,
    /// The last lines of each slot's previous process, if it failed.
    last_lines: HashMap<WorkerId, Vec<String>>,
    /// Answers to the question who holds which job.
    jobs: mpsc::Receiver<Vec<InHand>>,
    in_hand: mpsc::Sender<Vec<InHand>>,
    overruns: Overruns,
    /// Answers to the question what the workers have done.
    tallies: mpsc::Receiver<Vec<Tally>>,
    tallies_in: mpsc::Sender<Vec<Tally>>,
    recycle_look: Option<Instant>,
    /// What came of a time at which no run began, or began before the daemon did: when, and what.
    past: Option<(SystemTime, String)>,
    unheard: Unheard,
    ids: WorkerIds,
    tracker: TaskTracker,
    publisher: Publisher,
    chance: Chance,
    /// No handle is left.
    is_abandoned: bool,
    is_finished: bool,
}

/// Something that comes to its end as an event; `Sync` so that the task may be borrowed over an
/// await.
type UnderWay = Pin<Box<dyn Future<Output = Event> + Send + Sync>>;

/// What wakes the task.
enum Wake {
    Lifecycle(Event),
    Command(PoolCommand),
    HandlesGone,
    GateFlushed,
    StartNext,
    Deadline,
    Sign(Sign),
    Jobs(Vec<InHand>),
    LookAtJobs,
    Tallies(Vec<Tally>),
    LookAtWorkers,
    Unheard,
}

impl Pool {
    /// Starts the task and its first workers.
    pub fn start(options: PoolOptions) -> PoolHandle {
        let PoolOptions { settings, target, processes, gate, logs, .. } = options;
        let PoolOptions { ids, tracker, servers, news, intents, memory, hurdle, .. } = options;
        let (sender, commands) = mpsc::channel(PoolHandle::COMMANDS_MAX);
        let mut roster = Roster::new(settings.name.clone(), Rules::from(&*settings), ids.clone());
        let Intents { stopped, held, .. } = intents.read();
        roster.restore(stopped, &held, now());
        roster.wait_for(hurdle.clone());
        let (signs_in, signs) = mpsc::channel(SIGNS_MAX);
        let (in_hand, jobs) = mpsc::channel(1);
        let (tallies_in, tallies) = mpsc::channel(1);
        let past = memory.read().last;
        let (publisher, view) = Publisher::new(&settings, (target, hurdle));
        let mut pool = Self {
            settings,
            former: None,
            deploy: Deploy::default(),
            servers,
            news,
            intents,
            memory,
            processes,
            gate: GateDesk::new(gate),
            logs,
            roster,
            commands,
            replies: Replies::default(),
            starts: VecDeque::new(),
            pids: HashMap::new(),
            under_way: FuturesUnordered::new(),
            signs,
            signs_in,
            watches: Watches::default(),
            last_lines: HashMap::new(),
            jobs,
            in_hand,
            overruns: Overruns::default(),
            tallies,
            tallies_in,
            recycle_look: None,
            past: past.map(|last| (last.time(), last.said)),
            unheard: Unheard::default(),
            ids,
            tracker: tracker.clone(),
            publisher,
            chance: Chance::default(),
            is_abandoned: false,
            is_finished: false,
        };
        pool.send_limit();
        pool.later(Event::Target { target, drain_busy: false });
        tracker.spawn(pool.run());
        PoolHandle::new(sender, view)
    }

    async fn run(mut self) {
        while !self.is_finished
            && let Some(wake) = self.next_event().await
        {
            match wake {
                Wake::Lifecycle(event) => self.pass(event).await,
                Wake::Command(command) => self.command(command).await,
                Wake::HandlesGone => self.abandon().await,
                Wake::GateFlushed => {}
                Wake::StartNext => self.start_next().await,
                Wake::Deadline => self.pass(Event::Deadline).await,
                Wake::Sign(sign) => self.hear(sign).await,
                Wake::Jobs(jobs) => self.judge_jobs(jobs).await,
                Wake::LookAtJobs => self.look_at_jobs(),
                Wake::Tallies(tallies) => self.judge_workers(tallies).await,
                Wake::LookAtWorkers => self.look_at_workers(),
                Wake::Unheard => self.warn_of_unheard(),
            }
            self.publish_if_due();
        }
        self.publish();
    }

    /// The next thing to handle; `None` when nothing can happen any more.
    async fn next_event(&mut self) -> Option<Wake> {
        let deadline = self.next_deadline().map(Into::into);
        let look = self.overrun_due().map(Into::into);
        let recycle = self.recycle_due().map(Into::into);
        let unheard = self.unheard.due().map(Into::into);
        Some(tokio::select! {
            biased;
            Some(event) = self.under_way.next() => Wake::Lifecycle(event),
            () = self.gate.flush(), if self.gate.is_waiting() => Wake::GateFlushed,
            command = self.commands.recv(), if !self.is_abandoned => {
                command.map_or(Wake::HandlesGone, Wake::Command)
            }
            () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)),
                if deadline.is_some() => Wake::Deadline,
            Some(sign) = self.signs.recv() => Wake::Sign(sign),
            Some(jobs) = self.jobs.recv() => Wake::Jobs(jobs),
            () = sleep_until(look.unwrap_or_else(tokio::time::Instant::now)),
                if look.is_some() => Wake::LookAtJobs,
            Some(tallies) = self.tallies.recv() => Wake::Tallies(tallies),
            () = sleep_until(recycle.unwrap_or_else(tokio::time::Instant::now)),
                if recycle.is_some() => Wake::LookAtWorkers,
            () = sleep_until(unheard.unwrap_or_else(tokio::time::Instant::now)),
                if unheard.is_some() => Wake::Unheard,
            () = tokio::task::yield_now(), if !self.starts.is_empty() => Wake::StartNext,
            else => return None,
        })
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.roster.next_deadline(), self.publish_due()].into_iter().flatten().min()
    }

    /// Has an event handled as the next one.
    fn later(&mut self, event: Event) {
        self.under_way.push(Box::pin(ready(event)));
    }

    /// Whether workers of these settings get their jobs through the gate. Those of settings before
    /// an edit may have been started the other way: [`GateDesk::knows`] tells of each.
    fn is_gated(&self, settings: &PoolSettings) -> bool {
        matches!(self.servers, Servers::Own) && settings.program.protocol != PoolProtocol::None
    }
}

/// Now, as the lifecycle wants it; follows paused time in tests.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
