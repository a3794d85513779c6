//! Moving what is toward what is wanted: starting, replacing, draining, stopping.

use std::net::TcpListener;
use std::time::Instant;

use nix::sys::signal::Signal;
use tracing::{info, warn};

use super::environment::{self, Servers};
use super::gate::GateRequest;
use super::lifecycle::{self, Follow, READY_AFTER, Stage};
use super::slot::{Pause, Process, Slot};
use super::task::{Due, Freed, PoolTask};
use super::view::{LastExit, PoolIntent, SlotRole};
use crate::config::PoolProtocol;
use crate::logs::{LogSource, LogsRequest};
use crate::model::{Drain, Exit, WorkerId, WorkerName};

impl PoolTask {
    /// Starts what is missing, lets go what is too much, and rolls what is outdated.
    pub(super) async fn reconcile(&mut self) {
        if self.closing || self.intent == PoolIntent::Stopped {
            let all: Vec<_> = self.owners.keys().copied().collect();
            for worker in all {
                self.drain(worker).await;
            }
            self.slots.retain(|_, slot| !slot.is_empty() || slot.last_exit.is_some());
            return;
        }
        self.let_surplus_go().await;
        self.start_missing().await;
        self.roll_next().await;
    }

    /// Slots that count toward the target: those that live, or will, or were stopped by hand.
    fn counts(slot: &Slot) -> bool {
        let alive = slot.current.is_some_and(|process| !process.stage.is_ending());
        alive || slot.pause.is_some() || slot.stopped
    }

    async fn start_missing(&mut self) {
        let have = self.slots.values().filter(|slot| Self::counts(slot)).count();
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        for _ in have..self.target {
            let free = (1..=u32::MAX).find(|index| {
                self.slots
                    .get(index)
                    .is_none_or(|slot| !Self::counts(slot) && slot.processes().next().is_none())
            });
            let Some(index) = free else { return };
            self.start_in(index).await;
        }
    }

    /// The highest numbers go first; idle ones at once, busy ones only when told to.
    async fn let_surplus_go(&mut self) {
        let target = usize::try_from(self.target).unwrap_or(usize::MAX);
        let counting: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| Self::counts(slot))
            .map(|(index, _)| *index)
            .collect();
        let mut surplus = counting.len().saturating_sub(target);
        for index in counting.into_iter().rev() {
            if surplus == 0 {
                break;
            }
            surplus -= 1;
            let Some(slot) = self.slots.get_mut(&index) else { continue };
            slot.pause = None;
            let Some(process) = slot.current.as_mut() else { continue };
            let worker = process.worker;
            if self.drain_busy {
                self.drain(worker).await;
            } else if !process.asked {
                process.asked = true;
                let request = |reply| GateRequest::DrainIfIdle { worker, reply };
                self.ask_gate(worker, request, |answer| match answer {
                    Some(Drain::Busy(_)) => Freed::Busy,
                    Some(Drain::Drained) | None => Freed::Yes,
                })
                .await;
            } else {
                // It is busy; one with a lower number may be idle.
                surplus += 1;
            }
        }
        self.slots.retain(|index, slot| *index <= self.target || !slot.is_empty());
    }

    /// Replaces one outdated process; the next one follows when the old one has ended.
    async fn roll_next(&mut self) {
        let version = self.version;
        let rolling = self.slots.values().any(|slot| {
            let starts = slot.current.is_some_and(|process| process.stage != Stage::Running);
            slot.predecessor.is_some() || (starts && slot.pause.is_none())
        });
        let outdated = self.slots.iter().find(|(_, slot)| {
            slot.current.is_some_and(|p| p.version != version && !p.stage.is_ending())
        });
        let Some(index) = outdated.map(|(index, _)| *index).filter(|_| !rolling) else { return };
        let Some(slot) = self.slots.get_mut(&index) else { return };
        if self.settings.program.protocol == PoolProtocol::None {
            // It may hold a port: the old one ends first.
            if let Some(worker) = slot.current.map(|process| process.worker) {
                self.drain(worker).await;
            }
            return;
        }
        slot.predecessor = slot.current.take();
        self.start_in(index).await;
    }

    async fn start_in(&mut self, index: u32) {
        let name = self.settings.name.worker(index);
        let worker = self.next_worker();
        let now = Instant::now();
        match self.launch(worker, &name).await {
            Ok(pid) => {
                let process = Process {
                    worker,
                    pid,
                    stage: Stage::Starting,
                    started: now,
                    since: now,
                    version: self.version,
                    asked: false,
                };
                self.owners.insert(worker, index);
                self.slots.entry(index).or_default().current = Some(process);
                self.timers.insert((now + READY_AFTER, Due::Ready(worker)));
                info!(worker = %name, pid, "started");
                self.mark(name, format!("started, pid {pid}")).await;
            }
            Err(why) => {
                warn!(worker = %name, why, "could not be started");
                self.mark(name, format!("could not be started: {why}")).await;
                self.pause(index, &why);
            }
        }
    }

    async fn launch(&self, worker: WorkerId, name: &WorkerName) -> Result<i32, String> {
        let said = |error: &dyn std::error::Error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let own = match (&self.with.servers, self.settings.program.protocol) {
            (Some(_), _) | (None, PoolProtocol::None) => None,
            (None, _) => Some(self.private_listener(worker, name).await.map_err(|e| said(&e))?),
        };
        let servers = own.as_ref().or(self.with.servers.as_ref());
        let processes = &self.with.processes;
        let launch = environment::launch(
            &self.settings,
            name,
            servers,
            std::env::vars_os(),
            processes.binary(),
        );
        let spawned = processes.spawn(&launch, worker, self.exits_in.clone());
        let spawned = match spawned {
            Ok(spawned) => spawned,
            Err(error) => {
                self.tell_gate(GateRequest::Gone { worker, exit: Exit::Code(127) }).await;
                return Err(said(&error));
            }
        };
        let source = LogSource { stdout: spawned.stdout, stderr: spawned.stderr };
        let attach = LogsRequest::Attach { worker: name.clone(), pid: spawned.pid, source };
        if self.with.logs.tell(attach).await.is_err() {
            tracing::debug!(worker = %name, "the logs are closed");
        }
        Ok(spawned.pid)
    }

    /// A port of this process alone: what connects there needs no further identification.
    async fn private_listener(
        &self,
        worker: WorkerId,
        name: &WorkerName,
    ) -> std::io::Result<Servers> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?.to_string();
        self.tell_gate(GateRequest::Admit { worker, name: name.clone(), listener }).await;
        Ok(Servers::new(&[address]))
    }

    pub(super) fn became_ready(&mut self, worker: WorkerId) {
        let Some(slot) = self.owners.get(&worker).and_then(|index| self.slots.get_mut(index))
        else {
            return;
        };
        let Some(process) = slot.process_mut(worker) else { return };
        if process.stage != Stage::Starting {
            return;
        }
        (process.stage, process.since) = (Stage::Running, Instant::now());
        slot.failures = 0;
        // The successor is ready: the one before it may go.
        if let Some(predecessor) = slot.predecessor {
            self.timers.insert((Instant::now(), Due::Step(predecessor.worker, usize::MAX)));
        }
    }

    /// Gives the process no further job; it is signalled once it holds none.
    pub(super) async fn drain(&mut self, worker: WorkerId) {
        let Some(slot) = self.owners.get(&worker).and_then(|index| self.slots.get_mut(index))
        else {
            return;
        };
        let Some(process) = slot.process_mut(worker) else { return };
        if process.stage.is_ending() {
            return;
        }
        (process.stage, process.since) = (Stage::Draining, Instant::now());
        let request = |reply| GateRequest::Drain { worker, reply };
        self.ask_gate(worker, request, |_| Freed::Yes).await;
    }

    pub(super) async fn freed(&mut self, worker: WorkerId, freed: Freed) {
        match freed {
            Freed::Yes => self.signal_step(worker, 0).await,
            Freed::Busy => {}
        }
    }

    /// Sends the signal of a step, and sets the timer of the next one.
    pub(super) async fn signal_step(&mut self, worker: WorkerId, step: usize) {
        if step == usize::MAX {
            return self.drain(worker).await;
        }
        let Some(slot) = self.owners.get(&worker).and_then(|index| self.slots.get_mut(index))
        else {
            return;
        };
        let Some(process) = slot.process_mut(worker) else { return };
        let Some(wanted) = self.settings.stop.get(step).copied() else { return };
        (process.stage, process.since) = (Stage::Signalled(step), Instant::now());
        let pid = process.pid;
        self.with.processes.signal(pid, wanted.signal);
        if wanted.signal != Signal::SIGKILL {
            // A stopped process sees no signal before it goes on.
            self.with.processes.signal(pid, Signal::SIGCONT);
            self.timers.insert((Instant::now() + wanted.wait, Due::Step(worker, step + 1)));
            self.tell_gate(GateRequest::Nudge(worker)).await;
        }
    }

    /// A process has been reaped.
    pub(super) async fn ended(&mut self, worker: WorkerId, exit: Exit) {
        self.tell_gate(GateRequest::Gone { worker, exit }).await;
        let Some(index) = self.owners.remove(&worker) else { return };
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let Some((role, process)) = slot.take(worker) else { return };
        let now = Instant::now();
        let asked = process.stage.is_ending();
        slot.last_exit = Some(LastExit { worker, exit, at: now, asked });
        let name = self.settings.name.worker(index);
        let pid = process.pid;
        info!(worker = %name, pid, %exit, "{}", if asked { "stopped" } else { "ended by itself" });
        self.mark(name, exit.to_string()).await;
        if role == SlotRole::Predecessor {
            return;
        }
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let failures = slot.failures + 1;
        let chance = f64::from(now.elapsed().subsec_nanos() % 1000) / 1000.0;
        match lifecycle::after_exit(process.stage, failures, &self.settings.backoff, chance) {
            Follow::Replace => {
                slot.restarts += 1;
                // Its own number, before `reconcile` looks for the lowest free one.
                if self.wants(index) {
                    self.start_in(index).await;
                }
            }
            Follow::Pause(_) => {
                slot.restarts += 1;
                self.pause(index, &exit.to_string());
            }
            Follow::Leave => {}
        }
    }

    fn wants(&self, index: u32) -> bool {
        let counting = self.slots.values().filter(|slot| Self::counts(slot)).count();
        let room = u32::try_from(counting).is_ok_and(|have| have < self.target);
        let stopped = self.slots.get(&index).is_some_and(|slot| slot.stopped);
        room && !stopped && !self.closing && self.intent == PoolIntent::Up
    }

    /// The next try in this slot comes after a pause that grows with every failure.
    fn pause(&mut self, index: u32, why: &str) {
        let now = Instant::now();
        let slot = self.slots.entry(index).or_default();
        slot.failures += 1;
        let chance = f64::from(self.opened.elapsed().subsec_nanos() % 1000) / 1000.0;
        let follow =
            lifecycle::after_exit(Stage::Starting, slot.failures, &self.settings.backoff, chance);
        let Follow::Pause(pause) = follow else { return };
        let until = now + pause;
        let seconds = pause.as_secs_f64();
        let failures = slot.failures;
        let why = format!("{why}; failed start {failures} in a row, next try after {seconds:.1} s");
        slot.pause = Some(Pause { until, since: now, why });
        self.timers.insert((until, Due::Retry(index)));
    }

    async fn mark(&self, worker: WorkerName, text: String) {
        if self.with.logs.tell(LogsRequest::Mark { worker, text }).await.is_err() {
            tracing::debug!("the logs are closed");
        }
    }
}
