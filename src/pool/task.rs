//! The task that owns a pool: its slots, their processes, its timers.
//!
//! Commands change what is wanted; [`PoolTask::reconcile`] moves what is toward it after every
//! event. A worker is stopped in one way: the gate is asked to give it no more jobs, then the
//! steps of `stop` follow one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use super::environment::Servers;
use super::gate::{Gate, GateRequest};
use super::handle::{PoolCommand, PoolHandle};
use super::process::Processes;
use super::slot::Slot;
use super::view::{PoolIntent, PoolView};
use crate::config::PoolSettings;
use crate::logs::LogsHandle;
use crate::model::{Exit, WorkerId};

/// The view is published at most this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// What a pool is started with.
#[derive(Debug)]
pub struct PoolOptions {
    /// Its settings.
    pub settings: Arc<PoolSettings>,
    /// How many workers it begins with.
    pub target: u32,
    /// The live processes of the daemon.
    pub processes: Processes,
    /// Where it asks about jobs.
    pub gate: Gate,
    /// Where its workers' output goes.
    pub logs: LogsHandle,
    /// Ids for its processes; shared by all pools.
    pub ids: Arc<AtomicU64>,
    /// Servers outside; `None`: each worker gets a private listener of our own broker.
    pub servers: Option<Servers>,
}

/// A pool.
#[derive(Debug)]
pub struct Pool;

impl Pool {
    /// Starts the pool's task, which starts its workers.
    #[must_use]
    pub fn start(options: PoolOptions, tasks: &TaskTracker) -> PoolHandle {
        let (commands, inbox) = mpsc::channel(PoolHandle::COMMANDS_MAX);
        let (exits_in, exits) = mpsc::unbounded_channel();
        let view = PoolView {
            name: options.settings.name.clone(),
            settings: Arc::clone(&options.settings),
            intent: PoolIntent::Up,
            target: options.target,
            slots: Vec::new(),
        };
        let (publish, views) = watch::channel(Arc::new(view));
        let task = PoolTask {
            target: options.target,
            settings: Arc::clone(&options.settings),
            with: options,
            intent: PoolIntent::Up,
            slots: BTreeMap::new(),
            owners: BTreeMap::new(),
            version: 0,
            drain_busy: false,
            timers: BTreeSet::new(),
            drains: FuturesUnordered::new(),
            waiters: Vec::new(),
            closing: false,
            opened: Instant::now(),
            exits_in,
            publish,
            published: None,
            stale: true,
        };
        tasks.spawn(task.run(inbox, exits));
        PoolHandle::new(commands, views)
    }
}

/// Owns everything of one pool.
pub(super) struct PoolTask {
    pub(super) with: PoolOptions,
    pub(super) settings: Arc<PoolSettings>,
    pub(super) intent: PoolIntent,
    pub(super) target: u32,
    pub(super) slots: BTreeMap<u32, Slot>,
    /// Slots by their live processes.
    pub(super) owners: BTreeMap<WorkerId, u32>,
    /// Goes up with every roll; processes of an earlier version are replaced.
    pub(super) version: u64,
    /// Whether busy workers above the target go too.
    pub(super) drain_busy: bool,
    pub(super) timers: BTreeSet<(Instant, Due)>,
    pub(super) drains: FuturesUnordered<Asked>,
    pub(super) waiters: Vec<super::commands::Waiter>,
    pub(super) closing: bool,
    pub(super) opened: Instant,
    pub(super) exits_in: super::process::Exits,
    publish: watch::Sender<Arc<PoolView>>,
    published: Option<Instant>,
    pub(super) stale: bool,
}

/// Something that is due at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A process has lived long enough to count as ready.
    Ready(WorkerId),
    /// A step of stopping has had its time.
    Step(WorkerId, usize),
    /// A slot may try again.
    Retry(u32),
    /// The grace of closing is over.
    Grace,
}

/// An answer of the gate that is still to come.
type Asked = Pin<Box<dyn Future<Output = (WorkerId, Freed)> + Send + Sync>>;

/// What became of asking whether a process may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freed {
    /// It holds no job and gets none.
    Yes,
    /// It holds one.
    Busy,
}

enum Event {
    Command(PoolCommand),
    Exit(WorkerId, Exit),
    Freed(WorkerId, Freed),
    Due,
    Publish,
    HandleGone,
}

impl PoolTask {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<PoolCommand>,
        mut exits: mpsc::UnboundedReceiver<(WorkerId, Exit)>,
    ) {
        self.configure_surroundings().await;
        self.reconcile().await;
        while !self.is_over() {
            let event = self.next_event(&mut inbox, &mut exits).await;
            self.handle(event).await;
        }
        self.publish_now();
    }

    fn is_over(&self) -> bool {
        self.closing && self.owners.is_empty() && self.waiters.is_empty()
    }

    async fn next_event(
        &mut self,
        inbox: &mut mpsc::Receiver<PoolCommand>,
        exits: &mut mpsc::UnboundedReceiver<(WorkerId, Exit)>,
    ) -> Event {
        let due = self.timers.first().map(|(at, _)| (*at).into());
        let publish = self.stale.then(|| {
            let last = self.published.unwrap_or(self.opened);
            (last + PUBLISH_EVERY).into()
        });
        tokio::select! {
            Some((worker, exit)) = exits.recv() => Event::Exit(worker, exit),
            Some((worker, freed)) = self.drains.next() => Event::Freed(worker, freed),
            command = inbox.recv() => command.map_or(Event::HandleGone, Event::Command),
            () = sleep_until(due) => Event::Due,
            () = sleep_until(publish) => Event::Publish,
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Publish => return self.publish_now(),
            Event::Command(command) => self.obey(command).await,
            Event::Exit(worker, exit) => self.ended(worker, exit).await,
            Event::Freed(worker, freed) => self.freed(worker, freed).await,
            Event::Due => self.run_timers().await,
            // Nobody can ask for anything any more; what runs is drained.
            Event::HandleGone => self.begin_closing(Duration::ZERO),
        }
        self.stale = true;
        self.reconcile().await;
        self.answer_waiters();
    }

    async fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some((at, due)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match due {
                Due::Ready(worker) => self.became_ready(worker),
                Due::Step(worker, step) => self.signal_step(worker, step).await,
                Due::Retry(index) => {
                    if let Some(slot) = self.slots.get_mut(&index) {
                        // An earlier pause's timer does not end a later pause.
                        slot.pause = slot.pause.take().filter(|pause| pause.until > now);
                    }
                }
                Due::Grace => self.kill_all(),
            }
        }
    }

    /// Tells the gate; a pool whose gate is gone has nobody who gives it jobs.
    pub(super) async fn tell_gate(&self, request: GateRequest) {
        if self.with.gate.send(request).await.is_err() {
            tracing::debug!(pool = %self.settings.name, "nobody hands out jobs any more");
        }
    }

    /// Asks the gate and goes on; the answer comes as an event.
    pub(super) async fn ask_gate<T: Send + 'static>(
        &self,
        worker: WorkerId,
        request: impl FnOnce(oneshot::Sender<T>) -> GateRequest,
        freed: impl FnOnce(Option<T>) -> Freed + Send + Sync + 'static,
    ) {
        let (reply, answer) = oneshot::channel();
        self.tell_gate(request(reply)).await;
        self.drains.push(Box::pin(async move { (worker, freed(answer.await.ok())) }));
    }

    pub(super) fn next_worker(&self) -> WorkerId {
        WorkerId(self.with.ids.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn publish_now(&mut self) {
        let name = &self.settings.name;
        let slots = self.slots.iter();
        let view = PoolView {
            name: name.clone(),
            settings: Arc::clone(&self.settings),
            intent: self.intent,
            target: self.target,
            slots: slots
                .flat_map(|(index, slot)| {
                    slot.views(&name.worker(*index), self.version, self.opened)
                })
                .collect(),
        };
        self.publish.send_replace(Arc::new(view));
        self.published = Some(Instant::now());
        self.stale = false;
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
