//! What an onlooker can say of a broker: it sees what goes in and what comes out, no more.
//!
//! Each assertion here is a promise: answers come in order, no acknowledged background job is
//! lost or runs twice at a time, each submission has one ending, drained workers and locked-out
//! processes get nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use crate::broker::BrokerEvent;
use crate::broker::record::{Change, ChangeSeq, Death, JobRecord, ScheduleRecord};
use crate::broker::state::{Effects, Outgoing};
use crate::model::{JobId, SessionId, WorkerId};
use crate::protocol::{Response, WorkReport};

/// An answer that a session is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    Created { background: bool, in_memory: bool },
    Scheduled,
    Job,
    Echo(Bytes),
}

#[derive(Debug, Default)]
pub(super) struct Onlooker {
    pub(super) worker: Option<WorkerId>,
    /// Until when nobody has said whose it is.
    pub(super) unknown_until: Option<Instant>,
    pub(super) owed: VecDeque<Owed>,
    pub(super) timeout: Option<std::time::Duration>,
    /// Endings that it is to get, by job.
    pub(super) waits: BTreeMap<JobId, usize>,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) sessions: BTreeMap<SessionId, Onlooker>,
    /// Live processes and their pools.
    pub(super) workers: BTreeMap<WorkerId, u64>,
    pub(super) barred: BTreeSet<WorkerId>,
    pub(super) limits: BTreeMap<u64, usize>,
    /// Who runs what, and when its time is up.
    pub(super) running: BTreeMap<JobId, (SessionId, Option<Instant>)>,
    ended: BTreeSet<JobId>,
    /// Dead letters that were put back; clients may hear of their end after it.
    revived: BTreeSet<JobId>,
    /// Background jobs that a client was told of.
    acknowledged: BTreeSet<JobId>,
    /// What the store holds, and what it was asked for since.
    pub(super) durable: BTreeMap<JobId, JobRecord>,
    pub(super) dead: BTreeMap<JobId, Death>,
    pub(super) schedules: BTreeMap<JobId, ScheduleRecord>,
    pub(super) stored_pauses: BTreeSet<String>,
    pub(super) reserved: u64,
    /// Functions whose jobs nobody is to get.
    pub(super) paused: BTreeSet<String>,
    pub(super) pending: VecDeque<(ChangeSeq, Change)>,
    /// Jobs whose contents are to be read.
    pub(super) asked: Vec<JobId>,
    /// When the clock said 1970.
    began: Instant,
}

fn job(handle: &[u8]) -> JobId {
    JobId(std::str::from_utf8(handle).unwrap().strip_prefix("H:x:").unwrap().parse().unwrap())
}

impl Model {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            sessions: BTreeMap::new(),
            workers: BTreeMap::new(),
            barred: BTreeSet::new(),
            limits: BTreeMap::new(),
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
            revived: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            durable: BTreeMap::new(),
            dead: BTreeMap::new(),
            schedules: BTreeMap::new(),
            stored_pauses: BTreeSet::new(),
            reserved: 0,
            paused: BTreeSet::new(),
            pending: VecDeque::new(),
            asked: Vec::new(),
            began,
        }
    }

    /// Watches what came out.
    pub(super) fn watch(&mut self, now: Instant, fx: &mut Effects) {
        for (_, change) in &fx.changes {
            self.is_no_second(change);
        }
        self.pending.extend(fx.changes.drain(..));
        self.asked.append(&mut fx.fetches);
        for event in fx.events.drain(..) {
            if let BrokerEvent::GivenUp { loss, .. } = event {
                self.end(job(loss.handle.as_bytes()));
            }
        }
        for (session, outgoing) in fx.sends.drain(..) {
            let Outgoing::Packet(packet) = outgoing else { panic!("nobody asked in text") };
            // A dead process may have sessions that are not closed yet, never unknown ones.
            assert!(self.sessions.contains_key(&session), "{packet:?} to nobody");
            self.sent(now, session, packet);
        }
        fx.drained.clear();
        fx.closes.clear();
    }

    /// No job becomes a record beside another one of the same unique that has not ended.
    fn is_no_second(&self, change: &Change) {
        let Change::Put(record) = change else { return };
        let same = |other: &&JobRecord| {
            (&other.function, &other.unique) == (&record.function, &record.unique)
                && other.id != record.id
                && !self.ended.contains(&other.id)
        };
        if !record.unique.0.is_empty() && record.unique.0 != "-" {
            let first = self.durable.values().find(same);
            assert_eq!(first, None, "{} did not join it", record.id);
        }
    }

    fn sent(&mut self, now: Instant, id: SessionId, packet: Response) {
        if let Response::Work { handle, report } = packet {
            return self.news(id, job(&handle), &report);
        }
        if packet == Response::Noop {
            return;
        }
        let session = self.sessions.get_mut(&id).unwrap();
        let Some(owed) = session.owed.pop_front() else { panic!("nobody asked for {packet:?}") };
        match (owed, packet) {
            (Owed::Created { background, in_memory }, Response::JobCreated(handle)) => {
                let job = job(&handle);
                if background && !in_memory {
                    self.acknowledge(job);
                } else if !background {
                    *session.waits.entry(job).or_default() += 1;
                }
            }
            (Owed::Scheduled, Response::JobCreated(handle)) => {
                let id = job(&handle);
                let known = self.schedules.contains_key(&id) || self.ended.contains(&id);
                assert!(known, "schedule {id} was told but not kept");
            }
            (Owed::Created { .. } | Owed::Scheduled, Response::Error { .. })
            | (Owed::Job, Response::NoJob) => {}
            (Owed::Echo(sent), Response::Echo(came)) => assert_eq!(sent, came),
            (Owed::Job, Response::JobAssign { handle, function, .. }) => {
                let paused = self.paused.contains(&function.to_string());
                assert!(!paused, "{function} is paused");
                self.assigned(now, id, job(&handle));
            }
            (owed, packet) => panic!("{packet:?} where {owed:?} was due"),
        }
    }

    fn news(&mut self, id: SessionId, job: JobId, report: &WorkReport) {
        let waits = &mut self.sessions.get_mut(&id).unwrap().waits;
        let left = waits.get_mut(&job).expect("news of a job that the client does not wait for");
        if matches!(report, WorkReport::Complete(_) | WorkReport::Fail) {
            let ended = self.ended.contains(&job) || self.revived.contains(&job);
            assert!(ended, "{job} ended for a client only, by {report:?}");
            *left -= 1;
            if *left == 0 {
                waits.remove(&job);
            }
        }
    }

    fn acknowledge(&mut self, job: JobId) {
        let ended = self.ended.contains(&job);
        assert!(ended || self.durable.contains_key(&job), "{job} was told but not kept");
        if !ended {
            self.acknowledged.insert(job);
        }
    }

    fn assigned(&mut self, now: Instant, id: SessionId, job: JobId) {
        assert!(!self.ended.contains(&job), "{job} runs after its end");
        assert!(!self.running.contains_key(&job), "{job} runs twice");
        let due = self.durable.get(&job).and_then(|record| record.run_at);
        let clock = SystemTime::UNIX_EPOCH + now.saturating_duration_since(self.began);
        assert!(due.is_none_or(|due| due <= clock), "{job} runs before its time");
        let session = &self.sessions[&id];
        assert!(session.unknown_until.is_none(), "{job} went to nobody knows whom");
        let until = session.timeout.map(|timeout| now + timeout);
        if let Some(worker) = session.worker {
            assert!(!self.barred.contains(&worker), "{job} went to a drained worker");
            let pool = self.workers[&worker];
            let holders = self.holders(pool);
            let limit = self.limits.get(&pool).copied().unwrap_or(usize::MAX);
            assert!(holders.contains(&worker) || holders.len() < limit, "{job} breaks the lock");
        }
        self.running.insert(job, (id, until));
    }

    fn holders(&self, pool: u64) -> BTreeSet<WorkerId> {
        let sessions = self.running.values().map(|(session, _)| &self.sessions[session]);
        let workers = sessions.filter_map(|session| session.worker);
        workers.filter(|worker| self.workers.get(worker) == Some(&pool)).collect()
    }

    /// A job is over: finished, cancelled or given up.
    pub(super) fn end(&mut self, job: JobId) {
        self.running.remove(&job);
        self.acknowledged.remove(&job);
        self.ended.insert(job);
    }

    /// A dead letter is put back.
    pub(super) fn revive(&mut self, job: JobId) {
        assert!(self.ended.remove(&job), "{job} was not dead");
        self.revived.insert(job);
        if self.durable.contains_key(&job) {
            self.acknowledged.insert(job);
        }
    }

    pub(super) fn close(&mut self, session: SessionId) {
        self.running.retain(|_, (holder, _)| *holder != session);
        self.sessions.remove(&session);
    }

    pub(super) fn gone(&mut self, worker: WorkerId) {
        let sessions = &self.sessions;
        self.running.retain(|_, (holder, _)| sessions[holder].worker != Some(worker));
        self.workers.remove(&worker);
        self.barred.insert(worker);
    }

    /// Time has passed: jobs whose time is up are nobody's, and questions are closed.
    pub(super) fn passed(&mut self, now: Instant) {
        self.running.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        for session in self.sessions.values_mut() {
            session.unknown_until = session.unknown_until.filter(|until| *until > now);
        }
    }

    /// The first changes become durable, or are lost; tells the last of them.
    pub(super) fn commit(&mut self, count: usize, works: bool) -> Option<ChangeSeq> {
        let changes: Vec<_> = self.pending.drain(..count.min(self.pending.len())).collect();
        let last = changes.last()?.0;
        for (_, change) in changes.into_iter().filter(|_| works) {
            match change {
                Change::Put(record) => {
                    self.durable.insert(record.id, record);
                }
                Change::Update(update) => {
                    if let Some(record) = self.durable.get_mut(&update.id) {
                        record.attempts = update.attempts;
                        match update.death {
                            Some(death) => self.dead.insert(update.id, death),
                            None => self.dead.remove(&update.id),
                        };
                    }
                }
                Change::PutSchedule(schedule) => {
                    self.schedules.insert(schedule.id, schedule);
                }
                Change::DeleteSchedule(id) => {
                    self.schedules.remove(&id);
                }
                Change::Pause(pattern) => {
                    self.stored_pauses.insert(pattern);
                }
                Change::Resume(pattern) => {
                    self.stored_pauses.remove(&pattern);
                }
                Change::Delete(id) => {
                    self.durable.remove(&id);
                }
                Change::Purge(id) => {
                    self.durable.remove(&id);
                    self.dead.remove(&id);
                }
                Change::ReserveHandles { through } => self.reserved = self.reserved.max(through.0),
            }
        }
        Some(last)
    }

    /// The broker dies: only what is durable is left, and that may run again.
    pub(super) fn crash(&mut self) {
        for job in &self.acknowledged {
            assert!(self.durable.contains_key(job), "{job} is lost in the crash");
        }
        // Where a job has no row any more, the row of its death counts for nothing.
        self.dead.retain(|job, _| self.durable.contains_key(job));
        let alive = |job: &JobId| self.durable.contains_key(job) && !self.dead.contains_key(job);
        self.ended.retain(|job| !alive(job));
        self.ended.extend(self.dead.keys());
        self.acknowledged = self.durable.keys().copied().filter(alive).collect();
        self.paused = self.stored_pauses.clone();
        self.sessions.clear();
        self.running.clear();
        self.workers.clear();
        self.barred.clear();
        self.limits.clear();
        self.pending.clear();
        self.asked.clear();
    }

    /// Everything has been worked off: nobody is owed anything.
    pub(super) fn assert_settled(&self) {
        assert_eq!(self.acknowledged, BTreeSet::new(), "acknowledged jobs were lost");
        assert_eq!(self.durable.len(), 0, "jobs stay in the store for ever");
        assert_eq!(self.dead.len(), 0, "dead letters stay in the store for ever");
        assert_eq!(self.schedules.len(), 0, "schedules stay in the store for ever");
        assert_eq!(self.stored_pauses.len(), 0, "pauses stay in the store for ever");
        for (id, session) in &self.sessions {
            assert_eq!(session.owed, [], "{id} is owed answers");
            assert_eq!(session.waits, BTreeMap::new(), "{id} is owed endings");
        }
    }
}
