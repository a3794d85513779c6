//! Jobs by number, and by what makes two submissions the same job.
//!
//! Millions may wait, so a job holds little: what only a few jobs have is boxed, its content may be
//! on disk alone, and what it has in common with another submission is a hash.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::functions::FunctionKey;
use super::numbered::JobTable;
use super::sameness::{Hashing, Sameness, Uniques};
use crate::broker::record::{ChangeSeq, Content};
use crate::model::{JobId, Priority, SessionId, Unique, WorkerId};

/// Who waits for a job, and how many submissions of each it answers.
pub(super) type Clients = BTreeMap<SessionId, usize>;

static NOBODY: Clients = Clients::new();

/// What a held content costs beside its bytes: the value and its allocations.
const CONTENT_COST: usize = 160;

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) function: FunctionKey,
    pub(super) priority: Priority,
    /// Deaths of workers that held it.
    pub(super) attempts: u32,
    pub(super) enqueued: Moment,
    pub(super) record: Record,
    pub(super) place: Place,
    rare: Option<Box<Rare>>,
    content: Option<Box<Content>>,
    /// Of what makes it the same as another; of any value when nothing does.
    same: u64,
}

/// What few jobs have, so that the others are spared its room.
#[derive(Debug, Default)]
pub(super) struct Rare {
    clients: Clients,
    /// How much is done of how much, as its worker told.
    progress: Option<(u32, u32)>,
    /// Not to be run before.
    run_at: Option<SystemTime>,
    /// The function that puts the parts of its result together.
    reducer: Option<Bytes>,
}

/// A point in time, in nanoseconds since the start and of half the size of an [`Instant`]; it may
/// lie before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) i64);

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

/// All jobs.
#[derive(Debug)]
pub(super) struct Jobs {
    by_id: JobTable<Job>,
    uniques: Uniques,
    hashing: Hashing,
    held_bytes: usize,
    /// Jobs whose content is on disk alone.
    on_disk: usize,
}

impl Job {
    /// A job that is in no queue and in no store yet.
    pub(super) fn new(function: FunctionKey, priority: Priority, enqueued: Moment) -> Self {
        Self {
            function,
            priority,
            attempts: 0,
            enqueued,
            record: Record::None,
            place: Place::Storing,
            rare: None,
            content: None,
            same: 0,
        }
    }

    /// Whether the store has a record of it, or is about to.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self.record, Record::Pending(_) | Record::Kept)
    }

    /// Whether nobody wants it: no client waits, and no store keeps it.
    pub(super) fn is_unwanted(&self) -> bool {
        self.clients().is_empty() && self.record == Record::None
    }

    /// When it may run first, if that was asked for.
    pub(super) fn run_at(&self) -> Option<SystemTime> {
        self.rare.as_ref()?.run_at
    }

    /// The function that puts the parts of its result together.
    pub(super) fn reducer(&self) -> Option<&Bytes> {
        self.rare.as_ref()?.reducer.as_ref()
    }

    pub(super) fn set_special(&mut self, run_at: Option<SystemTime>, reducer: Option<Bytes>) {
        if run_at.is_some() || reducer.is_some() {
            let rare = self.rare.get_or_insert_default();
            // A copy: it came inside a packet, which would stay in memory with the payload.
            let reducer = reducer.map(|reducer| Bytes::copy_from_slice(&reducer));
            (rare.run_at, rare.reducer) = (run_at, reducer);
        }
    }

    /// Its unique and payload; nothing when they are on disk alone.
    pub(super) fn content(&self) -> Option<&Content> {
        self.content.as_deref()
    }

    /// Leaves the content of a job that is in no table to the disk.
    pub(super) fn forget_content(&mut self) {
        self.content = None;
    }

    /// Forgets who waited for it.
    pub(super) fn forget_audience(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.clients.clear();
            rare.progress = None;
        }
    }

    pub(super) fn clients(&self) -> &Clients {
        self.rare.as_ref().map_or(&NOBODY, |rare| &rare.clients)
    }

    pub(super) fn clients_mut(&mut self) -> &mut Clients {
        &mut self.rare.get_or_insert_default().clients
    }

    /// How much is done of how much, as its worker told.
    pub(super) fn progress(&self) -> Option<(u32, u32)> {
        self.rare.as_ref()?.progress
    }

    pub(super) fn set_progress(&mut self, progress: Option<(u32, u32)>) {
        if progress.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().progress = progress;
        }
    }
}

impl From<ChangeSeq> for Record {
    fn from(seq: ChangeSeq) -> Self {
        Self::Pending(seq)
    }
}

impl Jobs {
    pub(super) fn new(hashing: Hashing) -> Self {
        Self { by_id: JobTable::new(), uniques: Uniques::new(), hashing, held_bytes: 0, on_disk: 0 }
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.by_id.get_mut(id)
    }

    /// All jobs, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.by_id.iter()
    }

    /// All jobs, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.by_id.iter().rev()
    }

    /// The jobs behind this one.
    pub(super) fn after(&self, id: JobId) -> impl Iterator<Item = (JobId, &Job)> {
        self.by_id.after(id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Takes a job in with its content, of which the caller knows what makes it the same.
    pub(super) fn insert(
        &mut self,
        id: JobId,
        mut job: Job,
        content: Content,
        same: Option<Sameness>,
    ) {
        job.content = Some(Box::new(content));
        self.put_back(id, job, same);
    }

    /// Takes a job in whose content stays on disk.
    pub(super) fn insert_stored(&mut self, id: JobId, job: Job, content: &Content) {
        let same = self.sameness(&content.unique, &content.payload);
        self.put_back(id, job, same);
    }

    /// Takes a job in as it is, its content in memory or not. Of two that are the same, as a dead
    /// letter that is put back may be, both can be joined.
    pub(super) fn put_back(&mut self, id: JobId, mut job: Job, same: Option<Sameness>) {
        if let Some(same) = same {
            job.same = same.high();
            self.uniques.insert(same, id);
        }
        match job.content() {
            Some(content) => self.held_bytes += cost(content),
            None => self.on_disk += 1,
        }
        self.by_id.insert(id, job);
    }

    /// Takes a job out; what is in memory of its content stays with it.
    pub(super) fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.by_id.remove(id)?;
        match job.content() {
            Some(content) => self.held_bytes -= cost(content),
            None => self.on_disk -= 1,
        }
        self.uniques.remove(job.same, id);
        Some(job)
    }

    /// What makes a submission the same job as another.
    pub(super) fn sameness(&self, unique: &Unique, payload: &Bytes) -> Option<Sameness> {
        self.hashing.of(unique, payload)
    }

    /// The job that a submission joins.
    pub(super) fn same(&self, function: FunctionKey, same: Sameness) -> Option<JobId> {
        let is_of = |id: &JobId| self.get(*id).is_some_and(|job| job.function == function);
        self.uniques.find(same).find(is_of)
    }

    /// The first job with this unique, of any function.
    pub(super) fn with_unique(&self, unique: &Unique) -> Option<JobId> {
        let function = |id: &JobId| self.get(*id).map(|job| job.function);
        self.uniques.find(self.sameness(unique, &Bytes::new())?).min_by_key(function)
    }

    /// Keeps a job's content in memory.
    pub(super) fn hold(&mut self, id: JobId, content: Content) {
        let Some(job) = self.by_id.get_mut(id) else { return };
        if job.content.is_none() {
            self.held_bytes += cost(&content);
            self.on_disk -= 1;
            job.content = Some(Box::new(content));
        }
    }

    /// Leaves a job's content to the disk.
    pub(super) fn release(&mut self, id: JobId) {
        let Some(job) = self.by_id.get_mut(id) else { return };
        if let Some(content) = job.content.take() {
            self.held_bytes -= cost(&content);
            self.on_disk += 1;
        }
    }

    /// What the held contents take.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether any content is on disk alone.
    pub(super) fn any_on_disk(&self) -> bool {
        self.on_disk > 0
    }
}

fn cost(content: &Content) -> usize {
    CONTENT_COST + content.unique.0.len() + content.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_small() {
        assert!(size_of::<Job>() <= 88, "{} bytes", size_of::<Job>());
    }
}
