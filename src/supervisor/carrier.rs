//! Carries requests of the pools to the broker, and news of the broker to the pools.
//!
//! It never waits for a pool: what it tells them are hints, dropped when a pool is busy, but for
//! registrations, which wait in a task of their own. So a pool that waits for the broker and a
//! broker that has news for the pool cannot block each other. Who holds an unknown connection is
//! asked here too, off the broker's thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info};

use super::source::JobSource;
use crate::broker::{BrokerEvent, BrokerGone, BrokerHandle, Command, Peer};
use crate::forward::{ForwardEvent, ForwardGone, ForwardHandle};
use crate::identity::{Candidate, Connection, IdentityHandle};
use crate::logs::{LogsHandle, LogsRequest};
use crate::model::{PoolName, SessionId, WorkerId, WorkerName};
use crate::pool::{GateRequest, PoolCommand, PoolHandle};

/// Lines of a dead worker that its job's dead letter gets, and how long they may take.
const LAST_LINES: usize = 20;
const LAST_LINES_WITHIN: Duration = Duration::from_millis(250);
/// Processes whose names are known; more than run at once.
const NAMES_MAX: usize = 65_536;

/// Every pool by name, as the supervisor publishes it.
pub(super) type Routes = Arc<BTreeMap<PoolName, PoolHandle>>;

/// A reason to look at the pools' counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand;

impl Demand {
    /// Asks for a look: one is enough for everything that happened before it.
    pub(super) fn tell(inbox: &mpsc::Sender<Self>) {
        if let Err(mpsc::error::TrySendError::Closed(_)) = inbox.try_send(Self) {
            debug!("demand changed while the supervisor stops");
        }
    }
}

/// Passes messages until both sides are gone.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) source: JobSource,
    pub(super) requests: mpsc::Receiver<GateRequest>,
    pub(super) events: mpsc::Receiver<BrokerEvent>,
    pub(super) forward_events: mpsc::Receiver<ForwardEvent>,
    pub(super) routes: watch::Receiver<Routes>,
    pub(super) identity: IdentityHandle,
    pub(super) demand: mpsc::Sender<Demand>,
    pub(super) tasks: TaskTracker,
    pub(super) logs: LogsHandle,
    /// The processes of late, by their slots; those that died may still be asked about.
    pub(super) names: Names,
    /// Pools by the processes that were admitted; an entry goes when its process is gone.
    pub(super) owners: std::collections::HashMap<WorkerId, PoolName>,
}

/// Names of the last processes that were admitted.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_id: BTreeMap<WorkerId, WorkerName>,
}

impl Names {
    fn insert(&mut self, worker: WorkerId, name: WorkerName) {
        self.by_id.insert(worker, name);
        // Ids only grow, so the first is the oldest.
        if self.by_id.len() > NAMES_MAX {
            self.by_id.pop_first();
        }
    }

    fn get(&self, worker: &WorkerId) -> Option<&WorkerName> {
        self.by_id.get(worker)
    }
}

impl Carrier {
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(request) => self.pass(request).await,
                    None => break,
                },
                Some(event) = self.events.recv() => self.hear(event),
                Some(event) = self.forward_events.recv() => self.hear_of_servers(event),
            }
        }
    }

    /// A request whose broker is gone is dropped, and with it its reply: the pool goes on alone.
    async fn pass(&mut self, request: GateRequest) {
        match &request {
            GateRequest::Admit { worker, name, .. } => {
                self.owners.insert(*worker, name.pool.clone());
                self.names.insert(*worker, name.clone());
            }
            GateRequest::Gone { worker, .. } => {
                self.owners.remove(worker);
                self.ask_for_a_look();
            }
            _ => {}
        }
        let told = match &self.source {
            JobSource::Broker(broker) => tell_broker(broker, request).await.is_ok(),
            JobSource::Forward(forward) => tell_forward(forward, request).await.is_ok(),
            JobSource::Direct(_) => true,
        };
        if !told {
            debug!("a pool's request came after the end of who hands out jobs");
        }
    }

    fn hear_of_servers(&mut self, event: ForwardEvent) {
        match event {
            ForwardEvent::Registered(worker) => self.hear(BrokerEvent::Registered(worker)),
            ForwardEvent::JobEnded { worker, well } => {
                self.hear(BrokerEvent::JobEnded { worker, well });
            }
            ForwardEvent::Waiting => self.ask_for_a_look(),
        }
    }

    fn hear(&mut self, event: BrokerEvent) {
        match event {
            BrokerEvent::Starved(_) => self.ask_for_a_look(),
            BrokerEvent::Registered(worker) => {
                // A worker that is ready by nothing else would count as one that failed to start.
                if let Some(pool) = self.owner_of(worker) {
                    pool.post(PoolCommand::Registered(worker), &self.tasks);
                }
                self.ask_for_a_look();
            }
            BrokerEvent::JobEnded { worker, well } => {
                self.hint(worker, PoolCommand::JobEnded { worker, well });
            }
            BrokerEvent::Performer { session, peer } => self.identify(session, &peer),
            BrokerEvent::Lost(loss) => {
                let (job, function) = (&loss.handle, &loss.function);
                error!(
                    job,
                    %function,
                    "the job failed without being run: its payload cannot be read from the disk"
                );
            }
            BrokerEvent::GivenUp { loss, death } => {
                let cause =
                    death.map_or("its time ran out".to_owned(), |(_, exit)| exit.to_string());
                error!(job = loss.handle, function = %loss.function, cause, "a job is given up");
                if let Some((worker, _)) = death {
                    self.annotate(loss.handle, worker);
                }
            }
            BrokerEvent::Store(Some(reason)) => error!(reason, "background jobs cannot be stored"),
            BrokerEvent::Store(None) => info!("background jobs are stored again"),
        }
    }

    /// Adds the dead worker's last lines to the dead letter, if the logs have them soon.
    fn annotate(&self, handle: String, worker: WorkerId) {
        let Some(broker) = self.source.broker().cloned() else { return };
        let Some(worker) = self.names.get(&worker).cloned() else { return };
        let logs = self.logs.clone();
        self.tasks.spawn(async move {
            let tail = logs.ask(|reply| LogsRequest::Tail { worker, lines: LAST_LINES, reply });
            let Ok(Ok(lines)) = tokio::time::timeout(LAST_LINES_WITHIN, tail).await else {
                return debug!(job = handle, "the last lines of its worker came too late");
            };
            let lines = lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned());
            let output = lines.collect::<Vec<_>>().join("\n");
            if let Err(error) = broker.tell(Command::Annotate { handle, output }).await {
                debug!(%error, "a job was given up before the broker's end");
            }
        });
    }

    fn hint(&self, worker: WorkerId, command: PoolCommand) {
        if let Some(pool) = self.owner_of(worker) {
            pool.hint(command);
        }
    }

    fn owner_of(&self, worker: WorkerId) -> Option<PoolHandle> {
        self.routes.borrow().get(self.owners.get(&worker)?).cloned()
    }

    fn ask_for_a_look(&self) {
        Demand::tell(&self.demand);
    }

    fn identify(&self, session: SessionId, peer: &Peer) {
        let Some(broker) = self.source.broker().cloned() else { return };
        let candidates = candidates(&self.routes.borrow());
        let identity = self.identity.clone();
        let connection = match *peer {
            Peer::Tcp { peer, local } => Some(Connection::Tcp { peer, local }),
            Peer::Unix { pid } => pid.map(|pid| Connection::Unix { pid }),
        };
        self.tasks.spawn(async move {
            let worker = match connection {
                Some(connection) => identity.who(connection, candidates).await,
                None => None,
            };
            debug!(%session, ?worker, "a performer came through a public listener");
            if let Err(error) = broker.tie(session, worker).await {
                debug!(%error, "a performer was known after the broker's end");
            }
        });
    }
}

async fn tell_broker(broker: &BrokerHandle, request: GateRequest) -> Result<(), BrokerGone> {
    let command = match request {
        GateRequest::Admit { worker, name, listener } => Command::Admit { worker, name, listener },
        GateRequest::DrainIfIdle { worker, reply } => Command::DrainIfIdle { worker, reply },
        GateRequest::Drain { worker, reply } => Command::Drain { worker, reply },
        GateRequest::Charge(worker) => Command::Charge(worker),
        GateRequest::Await(worker) => Command::Await(worker),
        GateRequest::InHand { pool, reply } => Command::InHand { pool, reply },
        GateRequest::Tally { pool, reply } => Command::Tally { pool, reply },
        GateRequest::Nudge(worker) => Command::Nudge(worker),
        GateRequest::Gone { worker, exit } => Command::Gone { worker, exit },
        GateRequest::Limit { pool, workers_max } => Command::Limit { pool, workers_max },
    };
    broker.tell(command).await
}

async fn tell_forward(forward: &ForwardHandle, request: GateRequest) -> Result<(), ForwardGone> {
    use crate::forward::Command;
    let command = match request {
        GateRequest::Admit { worker, name, listener } => Command::Admit { worker, name, listener },
        GateRequest::DrainIfIdle { worker, reply } => Command::DrainIfIdle { worker, reply },
        GateRequest::Drain { worker, reply } => Command::Drain { worker, reply },
        GateRequest::Await(worker) => Command::Await(worker),
        GateRequest::InHand { pool, reply } => Command::InHand { pool, reply },
        GateRequest::Tally { pool, reply } => Command::Tally { pool, reply },
        GateRequest::Nudge(worker) => Command::Nudge(worker),
        GateRequest::Gone { worker, .. } => Command::Gone(worker),
        GateRequest::Limit { pool, workers_max } => Command::Limit { pool, workers_max },
        // The server sees the connection end, and counts by its own rules.
        GateRequest::Charge(_) => return Ok(()),
    };
    forward.tell(command).await
}

fn candidates(routes: &BTreeMap<PoolName, PoolHandle>) -> Vec<Candidate> {
    let views = routes.values().map(PoolHandle::view);
    views
        .flat_map(|view| {
            let processes = view.slots.iter().filter_map(|slot| slot.worker.zip(slot.pid));
            processes.map(|(worker, pid)| Candidate { worker, pid }).collect::<Vec<_>>()
        })
        .collect()
}
