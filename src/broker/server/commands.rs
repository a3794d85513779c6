//! What the rest of the program asks of the core.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::debug;

use super::core::{Core, now};
use super::show::TARGET;
use crate::broker::record::Fetched;
use crate::broker::state::{Exported, Payload, Sweep, Swept};
use crate::broker::store::Contents;
use crate::broker::{Command, JobView, Unread};
use crate::config::BrokerRules;
use crate::model::{Drain, Exit, JobId, PoolName, SessionId, WorkerId, WorkerName};

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
        if self.state.is_loading() && asks_about_jobs(&command) {
            return self.postponed.push(command);
        }
        match command {
            Command::DrainIfIdle { worker, reply } => answer(reply, self.drain_if_idle(worker)),
            Command::Drain { worker, reply } => self.drain(worker, reply),
            Command::Charge(worker) => self.state.charge_at_end(worker),
            Command::Await(worker) => self.state.await_job(worker),
            Command::InHand { pool, reply } => answer(reply, self.state.in_hands(now(), &pool)),
            Command::Tally { pool, reply } => answer(reply, self.state.tally(now(), &pool)),
            Command::Nudge(worker) => self.nudge(worker),
            Command::Limit { pool, workers_max } => self.limit(pool, workers_max),
            Command::Tie { session, worker } => self.tie(session, worker),
            Command::Record(reply) => answer(reply, self.record()),
            Command::Demand(reply) => answer(reply, self.state.demand(now())),
            Command::Overview(reply) => answer(reply, self.state.overview(now())),
            Command::Jobs { query, reply } => {
                let views = self.state.query(now(), &query);
                self.complete(views, move |views| answer(reply, views));
            }
            Command::Payload { handle, reply } => self.payload(&handle, reply),
            Command::Pause { pattern, reply } => {
                self.state.pause(&pattern, &mut self.fx);
                self.deliver(now());
                answer(reply, ());
            }
            Command::Resume { pattern, reply } => answer(reply, self.resume(&pattern)),
            Command::Export { after, reply } => self.export(after, reply),
            Command::Pauses(reply) => {
                answer(reply, self.state.pauses().iter().cloned().collect());
            }
            Command::Annotate { handle, output } => {
                self.state.annotate(&handle, output, &mut self.fx);
                self.deliver(now());
            }
            Command::Configure(rules) => self.configure(rules),
            Command::Job { handle, reply } => {
                let view = self.state.job(now(), &handle).into_iter().collect();
                self.complete(view, move |view| answer(reply, view.into_iter().next()));
            }
            Command::Cancel { handle, reply } => answer(reply, self.cancel(&handle)),
            // The main task's own.
            Command::Admit { .. }
            | Command::Gone { .. }
            | Command::Listen { .. }
            | Command::Sweep { .. }
            | Command::Shutdown(_) => {}
        }
    }

    /// What was postponed and need not wait any more.
    pub(super) fn take_postponed(&mut self) -> Vec<Command> {
        if self.state.is_loading() { Vec::new() } else { std::mem::take(&mut self.postponed) }
    }

    /// Adds to views of jobs what is on disk only.
    fn complete(&self, mut views: Vec<JobView>, then: impl FnOnce(Vec<JobView>) + Send + 'static) {
        let ids: Vec<JobId> = views.iter().filter_map(|view| view.on_disk).collect();
        let Some(reads) = self.reads.as_ref().filter(|_| !ids.is_empty()) else {
            return then(views);
        };
        reads.describe(ids, move |mut found| {
            for view in &mut views {
                if let Some((unique, len)) = view.on_disk.and_then(|id| found.remove(&id)) {
                    (view.unique, view.payload_len) = (unique, len);
                }
            }
            then(views);
        });
    }

    fn payload(&self, handle: &str, reply: oneshot::Sender<Result<Option<Bytes>, Unread>>) {
        let id = match (self.state.payload(handle), &self.reads) {
            (Some(Payload::OnDisk(id)), Some(_)) => id,
            (Some(Payload::Held(payload)), _) => return answer(reply, Ok(Some(payload))),
            (Some(Payload::OnDisk(_)) | None, _) => return answer(reply, Ok(None)),
        };
        self.read_outside(vec![id], move |mut found| {
            answer(
                reply,
                match found.pop().map(|(_, fetched)| fetched) {
                    Some(Fetched::Content(content)) => Ok(Some(content.payload)),
                    Some(Fetched::Lost) => Ok(None),
                    Some(Fetched::Failed | Fetched::Later) | None => Err(Unread),
                },
            );
        });
    }

    /// Answers with a piece of the jobs that wait, which is cut where the answer of the disk ends.
    fn export(&self, after: JobId, reply: oneshot::Sender<Result<Exported, Unread>>) {
        let mut exported = self.state.export(after);
        let on_disk = std::mem::take(&mut exported.on_disk);
        if on_disk.is_empty() {
            return answer(reply, Ok(exported));
        }
        self.read_outside(on_disk, move |found| answer(reply, fill(exported, found)));
    }

    fn read_outside(&self, jobs: Vec<JobId>, then: impl FnOnce(Contents) + Send + 'static) {
        // Without a reader nothing is on disk.
        if let Some(reads) = &self.reads {
            reads.read(jobs, then);
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

    fn resume(&mut self, pattern: &str) -> Vec<String> {
        let now = now();
        let ended = self.state.resume(now, pattern, &mut self.fx);
        self.deliver(now);
        ended
    }

    fn configure(&mut self, rules: Arc<BrokerRules>) {
        let now = now();
        self.allow.clone_from(&rules.allow);
        self.state.set_rules(now, rules);
        self.deliver(now);
    }

    /// Carries out one piece of a sweep, the one behind `after`.
    pub(super) fn sweep(&mut self, sweep: &Sweep, after: JobId) -> Swept {
        let now = now();
        let swept = self.state.sweep(now, sweep, after, &mut self.fx);
        self.deliver(now);
        swept
    }

    fn cancel(&mut self, handle: &str) -> bool {
        let now = now();
        let found = self.state.cancel(now, handle, &mut self.fx);
        self.deliver(now);
        found
    }
}

/// Adds to a piece of an export what was read. Jobs that have ended meanwhile, and those that are
/// lost, leave it; those that the answer had no room for begin the next one.
fn fill(mut exported: Exported, found: Contents) -> Result<Exported, Unread> {
    let mut found: BTreeMap<JobId, Fetched> = found.into_iter().collect();
    let mut before = None;
    let mut jobs = Vec::new();
    for (handle, mut record) in std::mem::take(&mut exported.jobs) {
        let id = record.id;
        match found.remove(&id) {
            None => jobs.push((handle, record)),
            Some(Fetched::Content(content)) => {
                (record.unique, record.payload) = (content.unique, content.payload);
                jobs.push((handle, record));
            }
            Some(Fetched::Lost) => {}
            Some(Fetched::Later) => {
                exported.next = before;
                break;
            }
            Some(Fetched::Failed) => return Err(Unread),
        }
        before = Some(id);
    }
    exported.jobs = jobs;
    Ok(exported)
}

/// Whether the answer may depend on stored jobs that are still to come.
fn asks_about_jobs(command: &Command) -> bool {
    match command {
        Command::Jobs { .. }
        | Command::Job { .. }
        | Command::Payload { .. }
        | Command::Export { .. }
        | Command::Sweep { .. }
        | Command::Cancel { .. } => true,
        Command::Admit { .. }
        | Command::Gone { .. }
        | Command::DrainIfIdle { .. }
        | Command::Drain { .. }
        | Command::Nudge(_)
        | Command::Limit { .. }
        | Command::Charge(_)
        | Command::Await(_)
        | Command::InHand { .. }
        | Command::Tally { .. }
        | Command::Tie { .. }
        | Command::Overview(_)
        | Command::Demand(_)
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Pauses(_)
        | Command::Annotate { .. }
        | Command::Configure(_)
        | Command::Listen { .. }
        | Command::Record(_)
        | Command::Shutdown(_) => false,
    }
}

pub(super) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    // Who asked may have stopped waiting; the value comes back then, and ends here.
    drop(reply.send(value));
}
