//! Commands in, effects out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::watch::Health;
use super::{Pool, Servers, now};
use crate::config::{PoolProtocol, PoolSettings};
use crate::logs::{LogSource, LogsRequest};
use crate::model::Drain;
use crate::model::{Exit, WorkerId, WorkerName};
use crate::pool::environment::{Place, fill, launch};
use crate::pool::health::NotifySocket;
use crate::pool::lifecycle::{Effect, Event, RequestId, Rules};
use crate::pool::process::{Child, End, Ended, Launch, MARK, StartError, mark};
use crate::pool::{GateRequest, PoolCommand, PoolIntent, SlotState};

/// What the gate is told of a process that never became its program.
const EXIT_NOT_STARTED: Exit = Exit::Code(127);

/// Who waits for an answer.
#[derive(Debug, Default)]
pub(super) struct Replies {
    last: u64,
    open: HashMap<RequestId, Reply>,
}

#[derive(Debug)]
enum Reply {
    /// Told when it is over, however it went.
    Over(oneshot::Sender<()>),
    Outcome(oneshot::Sender<Result<(), String>>),
}

impl Replies {
    fn open(&mut self, reply: Reply) -> RequestId {
        self.last += 1;
        self.open.insert(RequestId(self.last), reply);
        RequestId(self.last)
    }

    fn answer(&mut self, request: RequestId, outcome: Result<(), String>) {
        let heard = match self.open.remove(&request) {
            None => true,
            Some(Reply::Over(reply)) => reply.send(()).is_ok(),
            Some(Reply::Outcome(reply)) => reply.send(outcome).is_ok(),
        };
        if !heard {
            debug!("whoever sent a command did not wait for its effect");
        }
    }
}

/// Random numbers for the jitter of pauses.
#[derive(Debug, Default)]
pub(super) struct Chance {
    keys: RandomState,
    drawn: u64,
}

impl Chance {
    /// A number from 0 to 1.
    fn draw(&mut self) -> f64 {
        self.drawn += 1;
        let bits = u32::try_from(self.keys.hash_one(self.drawn) >> 32).unwrap_or_default();
        f64::from(bits) / f64::from(u32::MAX)
    }
}

impl Pool {
    pub(super) async fn command(&mut self, command: PoolCommand) {
        let event = match command {
            PoolCommand::SetTarget { target, drain_busy } => Event::Target { target, drain_busy },
            PoolCommand::Configure { settings, target, reply } => {
                self.configure(settings, target, reply)
            }
            PoolCommand::Due => Event::Due,
            PoolCommand::Hurdle(hurdle) => Event::Hurdle(hurdle),
            PoolCommand::Start { pick, reply } => {
                Event::Start { pick, request: self.replies.open(Reply::Outcome(reply)) }
            }
            PoolCommand::Stop { pick, reply } => {
                Event::Stop { pick, request: self.replies.open(Reply::Outcome(reply)) }
            }
            PoolCommand::Restart { pick, mode, reply } => {
                Event::Restart { pick, mode, request: self.replies.open(Reply::Outcome(reply)) }
            }
            PoolCommand::Renew { reply } => {
                Event::Renew { request: self.replies.open(Reply::Outcome(reply)) }
            }
            PoolCommand::Signal { pick, signal, reply } => {
                let workers = self.roster.workers(&pick);
                let reached = |worker: &WorkerId| self.processes.signal(*worker, signal);
                let count = workers.into_iter().filter(reached).count();
                if reply.send(count).is_err() {
                    debug!("whoever sent a signal did not wait for the count");
                }
                return;
            }
            PoolCommand::KillJob { worker, reason, reply } => {
                return self.kill_job(worker, reason, reply).await;
            }
            PoolCommand::Registered(worker) => {
                self.heard_of(worker);
                Event::Registered(worker)
            }
            PoolCommand::JobEnded { worker, well } => Event::JobEnded { worker, well },
            PoolCommand::Close { grace, reply } => {
                Event::Close { grace, request: self.replies.open(Reply::Over(reply)) }
            }
            PoolCommand::Hurry => Event::Hurry,
        };
        self.pass(event).await;
    }

    /// Nobody can close this pool any more: its processes must not outlive it.
    pub(super) async fn abandon(&mut self) {
        self.is_abandoned = true;
        warn!(pool = %self.settings.name, "the pool was given up; its workers are killed");
        let (reply, _) = oneshot::channel();
        let request = self.replies.open(Reply::Over(reply));
        self.pass(Event::Close { grace: Duration::ZERO, request }).await;
    }

    fn configure(
        &mut self,
        settings: Arc<PoolSettings>,
        target: u32,
        reply: oneshot::Sender<Result<(), String>>,
    ) -> Event {
        let program = self.program_change(&settings);
        let rules = Rules::from(&*settings);
        let limit_differs = settings.count.max != self.settings.count.max
            || self.is_gated(&settings) != self.is_gated(&self.settings);
        if settings.upkeep.job_timeout != self.settings.upkeep.job_timeout {
            self.look_at_jobs_anew();
        }
        self.settings = settings;
        if limit_differs {
            self.send_limit();
        }
        let request = self.replies.open(Reply::Outcome(reply));
        Event::Configure { rules, program, target, request }
    }

    /// Tells the gate how many workers may hold jobs at once. Never none: what was taken is
    /// finished though the pool is to have no worker.
    pub(super) fn send_limit(&mut self) {
        if self.is_gated(&self.settings) {
            let pool = self.settings.name.clone();
            let workers_max = self.settings.count.max.max(1) as usize;
            self.gate.send(GateRequest::Limit { pool, workers_max });
        }
    }

    /// Has the lifecycle handle an event and carries out what it decides.
    pub(super) async fn pass(&mut self, event: Event) {
        let gone = match &event {
            Event::Ended { worker, exit } => Some((*worker, *exit)),
            Event::NotStarted { worker, .. } => Some((*worker, EXIT_NOT_STARTED)),
            _ => None,
        };
        let is_news = !matches!(event, Event::JobEnded { .. } | Event::Deadline);
        let is_stop = matches!(event, Event::Stop { .. });
        let is_wish = is_stop || matches!(event, Event::Start { .. } | Event::Restart { .. });
        let effects = self.roster.handle(now(), self.chance.draw(), event);
        if is_wish && !self.roster.is_closing() {
            self.remember_wish(is_stop);
        }
        if is_news || !effects.is_empty() {
            self.publisher.touch();
        }
        // Starts of this event come with the edition that they are to run.
        for effect in effects {
            self.apply(effect).await;
        }
        self.forget_former();
        if let Some((worker, exit)) = gone
            && self.pids.remove(&worker).is_some()
        {
            if let Some(begun) = self.watches.end(worker) {
                self.ask_last_words(worker, begun);
            }
            if self.gate.knows(worker) {
                self.gate.send(GateRequest::Gone { worker, exit });
            }
            self.unheard.gone(worker);
            self.tell_killed(worker);
            self.remember_run(worker, exit);
        }
    }

    /// On disk before it is answered, and before a drain that may take hours.
    fn remember_wish(&self, is_stop: bool) {
        let stopped = self.roster.intent() == PoolIntent::Stopped;
        let held = self.roster.held();
        self.intents.change(|intents| {
            // That the pool is to stop may be remembered before its turn has come.
            intents.stopped = stopped || is_stop && intents.stopped;
            intents.held = held;
        });
    }

    async fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Start { worker, index, edition } => {
                let settings = Arc::clone(self.edition(edition));
                self.starts.push_back(Begin { worker, index, settings });
            }
            Effect::Ask(worker) => self.ask(worker),
            Effect::Drain(worker) => self.drain(worker),
            Effect::Signal(worker, signal) => {
                self.processes.signal(worker, signal);
            }
            Effect::Nudge(worker) => {
                if self.gate.knows(worker) {
                    self.gate.send(GateRequest::Nudge(worker));
                }
            }
            Effect::Kill(worker) => {
                if !self.withdraw(worker) {
                    self.processes.kill_group(worker);
                }
            }
            Effect::Answer(request, outcome) => {
                self.publish();
                self.replies.answer(request, outcome);
            }
            Effect::Charge(worker) => {
                if self.gate.knows(worker) {
                    self.gate.send(GateRequest::Charge(worker));
                }
            }
            Effect::Moved(moved) => {
                if let (Some(worker), SlotState::Running) = (moved.worker, moved.to) {
                    self.watches.ready(worker);
                }
                self.tell(moved).await;
            }
            Effect::Skipped(why) => self.tell_skip(why).await,
            Effect::Await(worker) => {
                if self.gate.knows(worker) {
                    self.gate.send(GateRequest::Await(worker));
                }
            }
            Effect::Deploy(step) => self.tell_deploy(&step),
            Effect::Failed(reason) => self.tell_failure(reason),
            Effect::Finish => self.is_finished = true,
        }
    }

    fn ask(&mut self, worker: WorkerId) {
        if self.withdraw(worker) {
            return;
        }
        if !self.gate.knows(worker) {
            return self.later(Event::Drained(worker));
        }
        let (reply, answer) = oneshot::channel();
        self.gate.send(GateRequest::DrainIfIdle { worker, reply });
        self.under_way.push(Box::pin(async move {
            match answer.await {
                Ok(Drain::Busy(_)) => Event::Busy(worker),
                Ok(Drain::Drained) | Err(_) => Event::Drained(worker),
            }
        }));
    }

    fn drain(&mut self, worker: WorkerId) {
        if self.withdraw(worker) {
            return;
        }
        if !self.gate.knows(worker) {
            return self.later(Event::Drained(worker));
        }
        let (reply, answer) = oneshot::channel();
        self.gate.send(GateRequest::Drain { worker, reply });
        self.under_way.push(Box::pin(async move {
            // Dropped unanswered: nobody hands out jobs any more.
            answer.await.unwrap_or_default();
            Event::Drained(worker)
        }));
    }

    /// Takes back a start whose turn has not come.
    fn withdraw(&mut self, worker: WorkerId) -> bool {
        let before = self.starts.len();
        self.starts.retain(|begin| begin.worker != worker);
        let withdrawn = self.starts.len() < before;
        if withdrawn {
            self.later(Event::Withdrawn(worker));
        }
        withdrawn
    }
}

/// Starting.
impl Pool {
    pub(super) async fn start_next(&mut self) {
        let Some(Begin { worker, index, settings }) = self.starts.pop_front() else { return };
        let name = self.settings.name.worker(index);
        let event = match self.spawn(worker, &name, &settings) {
            Ok(begun) => {
                self.attach(worker, name, begun).await;
                Event::Started(worker)
            }
            Err(error) => Event::NotStarted { worker, reason: error.to_string() },
        };
        self.pass(event).await;
    }

    fn spawn(
        &self,
        worker: WorkerId,
        name: &WorkerName,
        settings: &PoolSettings,
    ) -> Result<Begun, StartError> {
        let failed = |step| {
            let program = settings.program.command.first().cloned().unwrap_or_default();
            move |source| StartError::Step { program, step, source }
        };
        let listener = if self.is_gated(settings) {
            Some(listen().map_err(failed("open its private port"))?)
        } else {
            None
        };
        let own: Vec<String> = match listener.as_ref().map(TcpListener::local_addr) {
            Some(Ok(address)) => vec![address.to_string()],
            Some(Err(_)) | None => Vec::new(),
        };
        let servers = match &self.servers {
            Servers::External(servers) if settings.program.protocol != PoolProtocol::None => {
                servers
            }
            Servers::External(_) | Servers::Own => own.as_slice(),
        };
        let own_binary = self.processes.own_binary();
        let place = Place { settings, worker: name, servers, own_binary };
        let mut launch = launch(place, std::env::vars_os());
        let health = Health::of(&settings.upkeep, |text| fill(place, text));
        launch.env.insert(MARK.into(), mark(worker).into());
        let notify = self.prepare_notify(worker, &mut launch);
        let notify = notify.map_err(failed("open its notification socket"))?;
        let (pid, source, end) = if settings.program.tty {
            let child = self.processes.spawn_on_terminal(worker, name, &launch)?;
            (child.pid, LogSource::Terminal(child.terminal), child.end)
        } else {
            let Child { pid, stdout, stderr, end } = self.processes.spawn(worker, name, &launch)?;
            (pid, LogSource::Pipes { stdout, stderr }, end)
        };
        Ok(Begun { pid, source, end, listener, launch, health, notify })
    }

    /// Takes a process that was started into the pool's care.
    async fn attach(&mut self, worker: WorkerId, name: WorkerName, begun: Begun) {
        let Begun { pid, source, end, listener, launch, health, notify } = begun;
        self.pids.insert(worker, pid);
        if let Some(listener) = listener {
            let name = name.clone();
            self.unheard.started(worker, name.clone());
            self.gate.send(GateRequest::Admit { worker, name, listener });
        }
        self.under_way.push(Box::pin(async move {
            match end.wait().await {
                Ended::Exited(exit) => Event::Ended { worker, exit },
                Ended::NotStarted(reason) => Event::NotStarted { worker, reason },
            }
        }));
        self.tell_start(&name, pid).await;
        let line = self.begin_vigil(worker, &name, (launch, health), notify);
        let attach = LogsRequest::Attach { worker: name, pid, source, line };
        if let Err(error) = self.logs.tell(attach).await {
            debug!(pid, %error, "the output of a process is lost");
        }
    }
}

/// A process to start.
#[derive(Debug)]
pub(super) struct Begin {
    worker: WorkerId,
    index: u32,
    settings: Arc<PoolSettings>,
}

/// A process that was started, and what belongs to it.
#[derive(Debug)]
struct Begun {
    pid: i32,
    source: LogSource,
    end: End,
    listener: Option<TcpListener>,
    launch: Launch,
    health: Health,
    notify: Option<NotifySocket>,
}

/// A private listener; connections wait in it until the broker takes it.
fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
