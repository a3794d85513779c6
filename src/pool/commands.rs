//! What a pool is told, and when a command counts as carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::gate::GateRequest;
use super::handle::{Pick, PoolCommand};
use super::slot::Slot;
use super::task::{Due, PoolTask};
use super::view::PoolIntent;
use crate::config::PoolSettings;
use crate::logs::LogsRequest;

/// A command that is under way.
#[derive(Debug)]
pub(super) struct Waiter {
    pick: Pick,
    wait: Wait,
    reply: Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Until everything picked is ready.
    Ready,
    /// Until nothing picked lives.
    Gone,
    /// Until nothing of an earlier version lives and the target is met.
    Rolled,
}

#[derive(Debug)]
enum Reply {
    Result(oneshot::Sender<Result<(), String>>),
    Done(oneshot::Sender<()>),
}

impl Reply {
    /// Whoever asked may have gone; the command was carried out all the same.
    fn send(self, result: Result<(), String>) {
        let heard = match self {
            Self::Result(reply) => reply.send(result).is_ok(),
            Self::Done(reply) => reply.send(()).is_ok(),
        };
        if !heard {
            tracing::debug!("nobody waited for the end of a command");
        }
    }
}

impl PoolTask {
    pub(super) async fn obey(&mut self, command: PoolCommand) {
        match command {
            PoolCommand::SetTarget { target, drain_busy } => {
                self.target = target;
                self.drain_busy = drain_busy;
                self.ask_again();
            }
            PoolCommand::Configure { settings, target, reply } => {
                self.configure(settings, target).await;
                self.wait_for(Pick::Pool, Wait::Rolled, Reply::Done(reply));
            }
            PoolCommand::Start { pick, reply } => {
                self.start_picked(&pick);
                self.wait_for(pick, Wait::Ready, Reply::Result(reply));
            }
            PoolCommand::Stop { pick, reply } => {
                self.stop_picked(&pick).await;
                self.wait_for(pick, Wait::Gone, Reply::Result(reply));
            }
            PoolCommand::Restart { pick, reply } => {
                self.restart_picked(&pick);
                self.wait_for(pick, Wait::Rolled, Reply::Result(reply));
            }
            PoolCommand::Signal { pick, signal, reply } => {
                let sent = self.signal_picked(&pick, signal);
                if reply.send(sent).is_err() {
                    tracing::debug!("nobody waited for the end of a command");
                }
            }
            PoolCommand::Registered(worker) => self.became_ready(worker),
            PoolCommand::JobEnded(_) => self.ask_again(),
            PoolCommand::Close { grace, reply } => {
                self.begin_closing(grace);
                self.wait_for(Pick::Pool, Wait::Gone, Reply::Done(reply));
            }
            PoolCommand::Hurry => self.kill_all(),
        }
    }

    /// Tells the rooms around it how this pool is to be treated.
    pub(super) async fn configure_surroundings(&self) {
        let pool = self.settings.name.clone();
        let settings = self.settings.log.clone();
        if self.with.logs.tell(LogsRequest::Configure { pool, settings }).await.is_err() {
            tracing::debug!(pool = %self.settings.name, "the logs are closed");
        }
        let workers_max = usize::try_from(self.settings.count.max.max(1)).unwrap_or(usize::MAX);
        let pool = self.settings.name.clone();
        self.tell_gate(GateRequest::Limit { pool, workers_max }).await;
    }

    async fn configure(&mut self, settings: Arc<PoolSettings>, target: u32) {
        if settings.program != self.settings.program {
            self.version += 1;
        }
        // A lower count in the file is an order: busy workers above it go after their jobs.
        self.drain_busy = target < self.target;
        self.target = target;
        self.settings = settings;
        self.ask_again();
        self.configure_surroundings().await;
    }

    fn start_picked(&mut self, pick: &Pick) {
        let name = self.settings.name.clone();
        if matches!(pick, Pick::Pool) {
            self.intent = PoolIntent::Up;
        }
        for (index, slot) in &mut self.slots {
            if pick.means(&name.worker(*index)) {
                (slot.stopped, slot.pause, slot.failures) = (false, None, 0);
            }
        }
    }

    async fn stop_picked(&mut self, pick: &Pick) {
        let name = self.settings.name.clone();
        if matches!(pick, Pick::Pool) {
            self.intent = PoolIntent::Stopped;
        }
        let mut ending = Vec::new();
        for (index, slot) in &mut self.slots {
            if pick.means(&name.worker(*index)) {
                slot.pause = None;
                slot.stopped = !matches!(pick, Pick::Pool);
                ending.extend(slot.processes().map(|process| process.worker));
            }
        }
        for worker in ending {
            self.drain(worker).await;
        }
    }

    fn restart_picked(&mut self, pick: &Pick) {
        let name = self.settings.name.clone();
        self.version += 1;
        let version = self.version;
        for (index, slot) in &mut self.slots {
            if pick.means(&name.worker(*index)) {
                (slot.pause, slot.failures) = (None, 0);
            } else if let Some(process) = &mut slot.current {
                process.version = version;
            }
        }
    }

    fn signal_picked(&self, pick: &Pick, signal: Signal) -> usize {
        let name = &self.settings.name;
        let picked = self.slots.iter().filter(|(index, _)| pick.means(&name.worker(**index)));
        let processes = picked.flat_map(|(_, slot)| slot.processes());
        processes.filter(|process| self.with.processes.signal(process.pid, signal)).count()
    }

    pub(super) fn begin_closing(&mut self, grace: Duration) {
        self.closing = true;
        for slot in self.slots.values_mut() {
            slot.pause = None;
        }
        // An endless grace is beyond the clock: then nobody is killed.
        if let Some(at) = Instant::now().checked_add(grace) {
            self.timers.insert((at, Due::Grace));
        }
    }

    pub(super) fn kill_all(&mut self) {
        for process in self.slots.values().flat_map(Slot::processes) {
            self.with.processes.signal(process.pid, Signal::SIGKILL);
        }
    }

    /// Workers that were too busy to go may be asked again.
    fn ask_again(&mut self) {
        for process in self.slots.values_mut().filter_map(|slot| slot.current.as_mut()) {
            process.asked = process.asked && process.stage.is_ending();
        }
    }

    fn wait_for(&mut self, pick: Pick, wait: Wait, reply: Reply) {
        self.waiters.push(Waiter { pick, wait, reply });
    }

    /// Answers the commands whose effect has happened.
    pub(super) fn answer_waiters(&mut self) {
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            match self.outcome(&waiter) {
                Some(result) => {
                    // Whoever asked looks at the view next.
                    self.publish_now();
                    waiter.reply.send(result);
                }
                None => self.waiters.push(waiter),
            }
        }
    }

    fn outcome(&self, waiter: &Waiter) -> Option<Result<(), String>> {
        use super::lifecycle::Stage::Running;
        let name = &self.settings.name;
        let picked =
            || self.slots.iter().filter(|(index, _)| waiter.pick.means(&name.worker(**index)));
        let stuck = picked().find_map(|(index, slot)| {
            let why = &slot.pause.as_ref()?.why;
            Some(Err(format!("{name}:{index}: {why}")))
        });
        let ready = |slot: &Slot| slot.current.is_some_and(|process| process.stage == Running);
        let full = picked().filter(|(_, slot)| ready(slot)).count();
        let target = usize::try_from(self.target).unwrap_or(usize::MAX);
        let stopped = self.closing || self.intent == PoolIntent::Stopped;
        match waiter.wait {
            Wait::Gone => {
                picked().all(|(_, slot)| slot.processes().next().is_none()).then_some(Ok(()))
            }
            Wait::Ready | Wait::Rolled if stopped && self.owners.is_empty() => Some(Ok(())),
            Wait::Ready => {
                let is_pool = matches!(waiter.pick, Pick::Pool);
                let all = picked().all(|(_, slot)| slot.stopped || ready(slot));
                let done = if is_pool { full >= target } else { all };
                stuck.or(done.then_some(Ok(())))
            }
            Wait::Rolled => {
                let rolled = picked().all(|(_, slot)| {
                    slot.predecessor.is_none()
                        && slot.current.is_none_or(|process| {
                            process.version == self.version && process.stage == Running
                        })
                });
                let whole = !matches!(waiter.pick, Pick::Pool) || full == target;
                stuck.or((rolled && whole).then_some(Ok(())))
            }
        }
    }
}

impl Pick {
    fn means(&self, worker: &crate::model::WorkerName) -> bool {
        match self {
            Self::Pool => true,
            Self::Slots(pattern) => pattern.matches_worker(worker),
        }
    }
}
