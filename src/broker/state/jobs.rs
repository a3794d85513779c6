//! Jobs by number, and by what makes two submissions the same job.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::functions::{FIRST_KEY, FunctionKey};
use crate::broker::record::ChangeSeq;
use crate::model::{JobId, Priority, SessionId, Unique, WorkerId};

/// Who waits for a job, and how many submissions of each it answers.
pub(super) type Clients = BTreeMap<SessionId, usize>;

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) function: FunctionKey,
    pub(super) unique: Unique,
    pub(super) priority: Priority,
    pub(super) payload: Bytes,
    pub(super) enqueued: Instant,
    /// Deaths of workers that held it.
    pub(super) attempts: u32,
    pub(super) clients: Clients,
    pub(super) record: Record,
    pub(super) place: Place,
    /// How much is done of how much, as its worker told.
    pub(super) progress: Option<(u32, u32)>,
    /// What few jobs have, so that the others are spared its room.
    pub(super) special: Option<Box<Special>>,
}

/// What few jobs have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Special {
    /// Not to be run before.
    pub(super) run_at: Option<SystemTime>,
    /// The function that puts the parts of its result together.
    pub(super) reducer: Option<Bytes>,
}

/// Whether the store has the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It lives as long as a client waits.
    None,
    /// This change is to bring it there.
    Pending(ChangeSeq),
    /// It does.
    Kept,
    /// It is not to: the job is kept in memory until it has run.
    Memory,
}

/// Where a job is.
///
/// ```text
/// Storing ──committed, not due yet──▶ Delayed ──due──▶ Queued
/// Storing ──committed──▶ Queued ──grabbed──▶ Running ──reported──▶ (gone)
///                          ▲  ▲                 │ its worker is lost
///                          │  └─────────────────┤
///                          └──worker lives── Limbo ──worker dead──▶ (gone)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not durable yet: nobody was told of it.
    Storing,
    /// Its time has not come.
    Delayed,
    /// It may be assigned.
    Queued,
    /// In a worker's hands.
    Running {
        /// The worker's connection.
        session: SessionId,
        /// Since when.
        since: Instant,
    },
    /// Its last attempt was lost with this worker's connection; whether the worker died decides.
    Limbo(WorkerId),
}

/// What makes two submissions to a function the same job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sameness {
    /// Its unique.
    Unique(Bytes),
    /// Its workload, asked for by the unique `-`.
    Workload(Bytes),
}

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_id: BTreeMap<JobId, Job>,
    by_sameness: BTreeMap<(Sameness, FunctionKey), JobId>,
}

impl Job {
    /// Whether the store has a record of it, or is about to.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self.record, Record::Pending(_) | Record::Kept)
    }

    /// Whether nobody wants it: no client waits, and no store keeps it.
    pub(super) fn is_unwanted(&self) -> bool {
        self.clients.is_empty() && self.record == Record::None
    }

    /// When it may run first, if that was asked for.
    pub(super) fn run_at(&self) -> Option<SystemTime> {
        self.special.as_ref()?.run_at
    }

    pub(super) fn reducer(&self) -> Option<&Bytes> {
        self.special.as_ref()?.reducer.as_ref()
    }

    fn sameness(&self) -> Option<Sameness> {
        Sameness::of(&self.unique, &self.payload)
    }
}

impl From<ChangeSeq> for Record {
    fn from(seq: ChangeSeq) -> Self {
        Self::Pending(seq)
    }
}

impl Special {
    /// Nothing for a job that has none of it.
    pub(super) fn of(run_at: Option<SystemTime>, reducer: Option<Bytes>) -> Option<Box<Self>> {
        (run_at.is_some() || reducer.is_some()).then(|| Box::new(Self { run_at, reducer }))
    }
}

impl Sameness {
    /// Nothing for an empty unique, and for `-` with an empty workload: those never coalesce.
    pub(super) fn of(unique: &Unique, payload: &Bytes) -> Option<Self> {
        match unique.0.as_ref() {
            b"" => None,
            b"-" if payload.is_empty() => None,
            b"-" => Some(Self::Workload(payload.clone())),
            _ => Some(Self::Unique(unique.0.clone())),
        }
    }
}

impl Jobs {
    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.by_id.get_mut(&id)
    }

    /// All jobs, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.by_id.iter().map(|(id, job)| (*id, job))
    }

    /// All jobs, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.by_id.iter().rev().map(|(id, job)| (*id, job))
    }

    /// The jobs behind this one.
    pub(super) fn after(&self, id: JobId) -> impl Iterator<Item = (JobId, &Job)> {
        let range = (Bound::Excluded(id), Bound::Unbounded);
        self.by_id.range(range).map(|(id, job)| (*id, job))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn insert(&mut self, id: JobId, job: Job) {
        if let Some(sameness) = job.sameness() {
            self.by_sameness.entry((sameness, job.function)).or_insert(id);
        }
        self.by_id.insert(id, job);
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.by_id.remove(&id)?;
        if let Some(sameness) = job.sameness() {
            let key = (sameness, job.function);
            if self.by_sameness.get(&key) == Some(&id) {
                self.by_sameness.remove(&key);
            }
        }
        Some(job)
    }

    /// The job that a submission joins.
    pub(super) fn same(&self, function: FunctionKey, sameness: Sameness) -> Option<JobId> {
        self.by_sameness.get(&(sameness, function)).copied()
    }

    /// The first job with this unique, of any function.
    pub(super) fn with_unique(&self, unique: &Unique) -> Option<JobId> {
        let wanted = Sameness::Unique(unique.0.clone());
        let from = (wanted, FIRST_KEY);
        let ((found, _), id) = self.by_sameness.range(&from..).next()?;
        (*found == from.0).then_some(*id)
    }
}
