//! What the rest of the program asks of the core.

use tokio::sync::oneshot;
use tracing::debug;

use super::core::{Core, now};
use super::show::TARGET;
use crate::broker::Command;
use crate::model::{Drain, Exit, PoolName, SessionId, WorkerId, WorkerName};

impl Core {
    pub(super) fn admit(&mut self, worker: WorkerId, name: WorkerName) {
        self.names.insert(worker, name.clone());
        self.state.admit(now(), worker, name);
        self.deliver(now());
    }

    pub(super) fn gone(&mut self, worker: WorkerId, exit: Exit) {
        let now = now();
        if let Some(name) = self.names.remove(&worker) {
            debug!(target: TARGET, "{name} ended: {exit}");
        }
        self.state.gone(now, worker, exit, &mut self.fx);
        // Whoever waits for it to be idle waits no longer.
        self.fx.drained.push(worker);
        self.deliver(now);
    }

    /// Carries out a command that concerns no listener.
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::DrainIfIdle { worker, reply } => answer(reply, self.drain_if_idle(worker)),
            Command::Drain { worker, reply } => self.drain(worker, reply),
            Command::Charge(worker) => self.state.charge_at_end(worker),
            Command::InHand { pool, reply } => answer(reply, self.state.in_hands(now(), &pool)),
            Command::Tally { pool, reply } => answer(reply, self.state.tally(now(), &pool)),
            Command::Nudge(worker) => self.nudge(worker),
            Command::Limit { pool, workers_max } => self.limit(pool, workers_max),
            Command::Tie { session, worker } => self.tie(session, worker),
            Command::Overview(reply) => answer(reply, self.state.overview(now())),
            Command::Jobs { function, limit, reply } => {
                answer(reply, self.state.jobs(now(), function.as_ref(), limit));
            }
            Command::Job { handle, reply } => answer(reply, self.state.job(now(), &handle)),
            Command::Cancel { handle, reply } => answer(reply, self.cancel(&handle)),
            // The main task's own.
            Command::Admit { .. }
            | Command::Gone { .. }
            | Command::Listen { .. }
            | Command::Shutdown(_) => {}
        }
    }

    fn drain_if_idle(&mut self, worker: WorkerId) -> Drain {
        let now = now();
        let answer = self.state.drain_if_idle(now, worker);
        self.deliver(now);
        answer
    }

    fn drain(&mut self, worker: WorkerId, reply: oneshot::Sender<()>) {
        let now = now();
        self.drains.entry(worker).or_default().push(reply);
        self.state.drain(now, worker, &mut self.fx);
        self.deliver(now);
    }

    fn nudge(&mut self, worker: WorkerId) {
        self.state.nudge(worker, &mut self.fx);
        self.deliver(now());
    }

    fn limit(&mut self, pool: PoolName, workers_max: usize) {
        let now = now();
        self.state.limit(now, pool, workers_max, &mut self.fx);
        self.deliver(now);
    }

    fn tie(&mut self, session: SessionId, worker: Option<WorkerId>) {
        let now = now();
        self.state.tie(now, session, worker, &mut self.fx);
        if let Some(name) = worker.and_then(|worker| self.names.get(&worker)) {
            debug!(target: TARGET, "conn {session} belongs to {name}");
        }
        self.deliver(now);
    }

    fn cancel(&mut self, handle: &str) -> bool {
        let now = now();
        let found = self.state.cancel(now, handle, &mut self.fx);
        self.deliver(now);
        found
    }
}

pub(super) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    // Who asked may have stopped waiting; the value comes back then, and ends here.
    drop(reply.send(value));
}
