//! The one owner of what is in force: the settings, the pools, the holds.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jiff::Timestamp;
use signal_hook_tokio::Signals;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::carrier::{Demand, Routes};
use super::counts::CountNews;
use super::entry::{Entry, Hold};
use super::fleet::FleetWatch;
use super::floor::Floor;
use super::handle::{ConfigState, Snapshot, SupervisorCommand};
use super::scaling::Scaling;
use super::service::Service;
use super::source::JobSource;
use super::stop::Stopping;
use super::timing::Submitted;
use super::usher::{first_hurdle, usher};
use crate::config::{ProgramChanged, ProgramWatcher, Settings, Watcher};
use crate::host::{HostReader, ProcessReader};
use crate::logs::{LogsHandle, LogsRequest};
use crate::model::PoolName;
use crate::pool::process::Processes;
use crate::pool::{
    Book, Gate, Intents, Memory, Pool, PoolFailure, PoolHandle, PoolNews, PoolOptions, Servers,
    WorkerIds,
};

/// How often holds and elastic pools are looked at without an event.
const TICK: Duration = Duration::from_secs(1);

/// The other rooms, as far as the supervisor calls them.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) source: JobSource,
    pub(super) logs: LogsHandle,
    pub(super) processes: Processes,
    pub(super) gate: Gate,
    pub(super) ids: WorkerIds,
    pub(super) tasks: TaskTracker,
    pub(super) routes: watch::Sender<Routes>,
    /// `None` when the kernel gives no watch.
    pub(super) watcher: Option<Watcher>,
    /// `None` when the kernel gives no watch.
    pub(super) programs: Option<ProgramWatcher>,
    pub(super) news: PoolNews,
    pub(super) counts: CountNews,
    pub(super) intents: Book<Intents>,
    pub(super) memory: Book<Memory>,
    pub(super) submitted: mpsc::Sender<Submitted>,
    pub(super) demand: mpsc::Sender<Demand>,
    pub(super) state_dir: PathBuf,
}

/// What comes in.
pub(super) struct Inbox {
    pub(super) commands: mpsc::Receiver<SupervisorCommand>,
    pub(super) demand: mpsc::Receiver<Demand>,
    pub(super) edits: mpsc::Receiver<()>,
    pub(super) deploys: mpsc::Receiver<ProgramChanged>,
    pub(super) signals: Signals,
    pub(super) failures: mpsc::Receiver<PoolFailure>,
    pub(super) submitted: mpsc::Receiver<Submitted>,
}

/// Owns the daemon.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) rooms: Rooms,
    pub(super) settings: Arc<Settings>,
    pub(super) config: ConfigState,
    /// When an edit that removes pools is applied, if nothing follows it.
    pub(super) quiet_until: Option<Instant>,
    pub(super) started: Instant,
    pub(super) pools: BTreeMap<PoolName, Entry>,
    /// Pools that were removed and still finish their jobs.
    pub(super) leaving: Vec<PoolHandle>,
    pub(super) scaling: Scaling,
    /// Other hosts; `None`: the queues are ours alone.
    pub(super) fleet: Option<FleetWatch>,
    pub(super) host: HostReader,
    pub(super) usage: ProcessReader,
    pub(super) service: Service,
    pub(super) stopping: Option<Stopping>,
    /// The essential pool for which the daemon ends.
    pub(super) failure: Option<PoolFailure>,
}

enum Event {
    Command(SupervisorCommand),
    Demand,
    Edited,
    Deployed(ProgramChanged),
    Signal(i32),
    Failed(PoolFailure),
    Submitted(Submitted),
    Tick,
    Alive,
    PoolsClosed,
}

impl Supervisor {
    pub(super) fn new(settings: Arc<Settings>, config: ConfigState, rooms: Rooms) -> Self {
        Self {
            rooms,
            config,
            settings,
            quiet_until: None,
            started: Instant::now(),
            pools: BTreeMap::new(),
            leaving: Vec::new(),
            scaling: Scaling::default(),
            fleet: None,
            host: HostReader::new(),
            usage: ProcessReader::new(),
            service: Service::default(),
            stopping: None,
            failure: None,
        }
    }

    /// Starts everything, serves, and returns when every pool is closed; with the pool that ended
    /// the daemon, if one did.
    pub(super) async fn run(mut self, mut inbox: Inbox) -> Option<PoolFailure> {
        self.boot().await;
        let alive = Service::period();
        let mut beat = alive.map(tokio::time::interval);
        while !self.is_over() {
            let event = self.next_event(&mut inbox, beat.as_mut()).await;
            self.handle(event).await;
        }
        self.failure
    }

    fn is_over(&self) -> bool {
        self.stopping.as_ref().is_some_and(Stopping::is_over)
    }

    async fn next_event(
        &mut self,
        inbox: &mut Inbox,
        beat: Option<&mut tokio::time::Interval>,
    ) -> Event {
        let tick = self.next_tick();
        let closed = self.stopping.as_mut();
        tokio::select! {
            Some(command) = inbox.commands.recv() => Event::Command(command),
            Some(signal) = inbox.signals.next() => Event::Signal(signal),
            Some(Demand) = inbox.demand.recv() => Event::Demand,
            Some(()) = inbox.edits.recv() => Event::Edited,
            Some(changed) = inbox.deploys.recv() => Event::Deployed(changed),
            Some(failure) = inbox.failures.recv() => Event::Failed(failure),
            Some(submitted) = inbox.submitted.recv() => Event::Submitted(submitted),
            () = wait_closed(closed) => Event::PoolsClosed,
            () = wait_until(tick) => Event::Tick,
            () = wait_beat(beat) => Event::Alive,
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Command(command) => self.obey(command).await,
            Event::Signal(signal) => self.signalled(signal).await,
            // Nothing is started any more: it would outlive the daemon.
            Event::Demand | Event::Edited | Event::Deployed(_) | Event::Tick | Event::Failed(_)
                if self.stopping.is_some() => {}
            Event::Failed(failure) => {
                self.failure = Some(failure);
                self.stop(None).await;
            }
            Event::Demand => self.scaling.ask(Instant::now()),
            Event::Submitted(submitted) => self.note_submitted(submitted),
            Event::Edited => self.edited().await,
            Event::Deployed(changed) => self.deployed(changed),
            Event::Tick => self.ticked().await,
            Event::Alive => self.service.alive(),
            Event::PoolsClosed => self.close_unneeded().await,
        }
    }

    /// The next moment at which something is due without an event; idle fixed pools cost nothing.
    fn next_tick(&self) -> Option<Instant> {
        if self.stopping.is_some() {
            return None;
        }
        let hold_ends = self.pools.values().filter_map(|entry| entry.hold?.until).min();
        let elastic = self.pools.values().any(Entry::is_elastic);
        let tick = elastic.then(|| self.scaling.last().map_or(self.started, |at| at + TICK));
        let timing = self.timing_due();
        [hold_ends, tick, self.scaling.due(), self.quiet_until, timing].into_iter().flatten().min()
    }

    async fn ticked(&mut self) {
        let now = Instant::now();
        if self.quiet_until.is_some_and(|at| at <= now) {
            self.settled_edit().await;
        }
        self.end_holds(now).await;
        self.keep_time();
        self.keep_floors().await;
        self.scale(now).await;
    }

    /// Starts a pool's task and publishes its handle.
    pub(super) async fn open_pool(&mut self, settings: &Arc<crate::config::PoolSettings>) {
        let pool = settings.name.clone();
        self.tell_logs(LogsRequest::Configure { pool, settings: settings.log.clone() }).await;
        if settings.deploys.watch.is_some() {
            self.watch_program(settings).await;
        }
        let intents = self.rooms.intents.page(&settings.name);
        let memory = self.rooms.memory.page(&settings.name);
        let mut entry_hold = intents.read().hold.map(Hold::from);
        entry_hold =
            entry_hold.filter(|hold| hold.until.is_none_or(|until| until > Instant::now()));
        let floor = Floor::at(&settings.min_at, Timestamp::now());
        let min = settings.count.min.max(floor.min());
        let target = entry_hold.map_or(min, |hold| hold.bounds.min);
        let options = PoolOptions {
            settings: Arc::clone(settings),
            target,
            hurdle: first_hurdle(settings),
            processes: self.rooms.processes.clone(),
            gate: self.rooms.gate.clone(),
            logs: self.rooms.logs.clone(),
            ids: self.rooms.ids.clone(),
            tracker: self.rooms.tasks.clone(),
            servers: match &self.rooms.source {
                JobSource::Broker(_) | JobSource::Forward(_) => Servers::Own,
                JobSource::Direct(_) => {
                    Servers::External(self.settings.broker.servers.as_slice().into())
                }
            },
            news: self.rooms.news.clone(),
            intents: intents.clone(),
            memory: memory.clone(),
        };
        let handle = Pool::start(options);
        let kept = (intents, memory);
        let mut entry = Entry::new(handle, Arc::clone(settings), kept, self.rooms.counts.clone());
        if !settings.order.after.is_empty() {
            let (routes, tasks) = (&self.rooms.routes, &self.rooms.tasks);
            entry.usher = Some(usher(&entry.handle, settings, routes, tasks));
        }
        entry.hold = entry_hold;
        entry.recall(&self.rooms.tasks, &self.rooms.demand);
        self.pools.insert(settings.name.clone(), entry);
        // Before anything is waited for: a registration that finds no route is lost.
        self.publish_routes();
        let entry = self.pools.get_mut(&settings.name).filter(|_| entry_hold.is_some());
        if let Some(entry) = entry {
            entry.follow_bounds(&self.rooms.gate).await;
        }
    }

    pub(super) async fn tell_logs(&self, request: LogsRequest) {
        if self.rooms.logs.tell(request).await.is_err() {
            tracing::warn!("the logs have ended");
        }
    }

    pub(super) fn publish_routes(&self) {
        let handles = self.pools.iter().map(|(name, entry)| (name.clone(), entry.handle.clone()));
        self.rooms.routes.send_replace(Arc::new(handles.collect()));
    }

    pub(super) async fn snapshot(&mut self) -> Snapshot {
        let (broker, servers) = self.rooms.source.overview().await.unzip();
        self.leaving.retain(|pool| pool.view().slots.iter().any(|slot| slot.pid.is_some()));
        let pools: Vec<_> = self.pools.values_mut().map(Entry::brief).collect();
        let slots = pools.iter().flat_map(|brief| &brief.view.slots);
        let pids: Vec<_> = slots.filter_map(|slot| slot.pid).collect();
        let usage: HashMap<_, _> = self.usage.usage(&pids);
        Snapshot {
            settings: Arc::clone(&self.settings),
            config: self.config.clone(),
            started: self.started,
            pools,
            broker,
            servers: servers.unwrap_or_default(),
            host: self.host.sample(),
            usage,
            logs: self.rooms.logs.snapshot(),
            stopping: self.stopping.is_some(),
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn wait_beat(beat: Option<&mut tokio::time::Interval>) {
    match beat {
        Some(beat) => drop(beat.tick().await),
        None => std::future::pending().await,
    }
}

async fn wait_closed(stopping: Option<&mut Stopping>) {
    match stopping {
        Some(stopping) => stopping.next_closed().await,
        None => std::future::pending().await,
    }
}
