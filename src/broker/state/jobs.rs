//! Jobs: what is known of one, how it ends, and the keys under which it is found again.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::functions::FunctionId;
use super::{Effects, State};
use crate::broker::record::{Change, ChangeSeq};
use crate::model::{JobId, Priority, SessionId, Unique, WorkerId};
use crate::protocol::{Response, WorkReport};

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) function: FunctionId,
    pub(super) unique: Unique,
    pub(super) priority: Priority,
    pub(super) payload: Bytes,
    /// Whether it is a record, to be kept until it has run.
    pub(super) background: bool,
    /// Workers that died with it.
    pub(super) attempts: u32,
    pub(super) submitted: Instant,
    pub(super) phase: Phase,
    /// Sessions that wait for its result; one that submitted twice stands here twice.
    pub(super) clients: Vec<SessionId>,
    /// How much of how much is done, as the worker wrote it.
    pub(super) progress: Option<(Bytes, Bytes)>,
    /// The worker that died with it last.
    pub(super) lost_by: Option<WorkerId>,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its record is not durable yet.
    Pending(ChangeSeq),
    /// In its function's queue.
    Ready,
    /// In a session's hands.
    Running {
        session: SessionId,
        worker: Option<WorkerId>,
        since: Instant,
        timeout: Option<Duration>,
    },
    /// Its worker hung up, perhaps by dying, and one more death would be its last.
    Limbo,
}

/// The unique that stands for "whatever has the same workload".
const BY_PAYLOAD: &[u8] = b"-";

impl State {
    /// The key under which a job coalesces; `None` when it never does.
    pub(super) fn coalescing_key(unique: &Unique, payload: &Bytes) -> Option<(Unique, Bytes)> {
        match &unique.0[..] {
            b"" => None,
            BY_PAYLOAD if payload.is_empty() => None,
            BY_PAYLOAD => Some((unique.clone(), payload.clone())),
            _ => Some((unique.clone(), Bytes::new())),
        }
    }

    pub(super) fn remember_unique(&mut self, id: JobId, job: &Job) {
        if let Some(key) = Self::coalescing_key(&job.unique, &job.payload) {
            self.functions.uniques.insert((job.function, key), id);
        }
    }

    /// Takes a job out of every table; its function keeps the count.
    pub(super) fn remove_job(&mut self, id: JobId, fx: &mut Effects) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if let Some(key) = Self::coalescing_key(&job.unique, &job.payload) {
            let key = (job.function, key);
            if self.functions.uniques.get(&key) == Some(&id) {
                self.functions.uniques.remove(&key);
            }
        }
        self.leave_phase(id, &job);
        if job.background && !matches!(job.phase, Phase::Pending(_)) {
            self.change(Change::Delete(id), fx);
        }
        for client in &job.clients {
            if let Some(session) = self.sessions.get_mut(client) {
                session.waits_for.remove(&id);
            }
        }
        Some(job)
    }

    /// Undoes what the job's phase has counted somewhere.
    pub(super) fn leave_phase(&mut self, id: JobId, job: &Job) {
        match job.phase {
            Phase::Ready => self.functions.dequeue(job.function, job.priority, id),
            Phase::Pending(_) | Phase::Limbo => {
                if let Some(function) = self.functions.get_mut(job.function) {
                    function.pending -= 1;
                }
            }
            Phase::Running { session, .. } => {
                if let Some(function) = self.functions.get_mut(job.function) {
                    function.running -= 1;
                }
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.in_hand.remove(&id);
                }
            }
        }
    }

    /// Ends a job and tells every waiting client how.
    pub(super) fn end_job(&mut self, id: JobId, report: &WorkReport, fx: &mut Effects) {
        let handle = self.handle_of(id);
        let Some(job) = self.remove_job(id, fx) else { return };
        if let Some(function) = self.functions.get_mut(job.function) {
            function.ended += 1;
        }
        self.tell_clients(&job.clients, &handle, report, fx);
    }

    /// Forwards news to clients; exceptions only to those that asked for them.
    ///
    /// The news waits behind answers that the client is still owed: JOB_CREATED of the same job may
    /// be among them, and libgearman knows the job only after it.
    pub(super) fn tell_clients(
        &mut self,
        clients: &[SessionId],
        handle: &Bytes,
        report: &WorkReport,
        fx: &mut Effects,
    ) {
        for client in clients {
            let Some(session) = self.sessions.get(client) else { continue };
            let report = match report {
                WorkReport::Exception(_) if !session.exceptions => WorkReport::Fail,
                other => other.clone(),
            };
            let packet = Response::Work { handle: handle.clone(), report };
            self.answer(*client, packet, fx);
        }
    }
}
