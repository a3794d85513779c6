//! Doing one thing to many jobs, a piece at a time so that nobody waits long.

use std::ops::Bound;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wildmatch::WildMatch;

use super::State;
use super::dead::DeadJob;
use super::effects::Effects;
use super::jobs::{Job, Place, Record};
use crate::broker::record::{Content, JobRecord};
use crate::model::JobId;

/// Jobs that one piece looks at.
const PIECE_LEN: usize = 512;

/// What is to be done to jobs, and to which.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// What.
    pub action: SweepAction,
    /// Only this job.
    pub handle: Option<String>,
    /// Only jobs of functions of this pattern.
    pub functions: Option<String>,
    /// Only jobs that were submitted, or died, at least so long ago.
    pub older_than: Option<Duration>,
    /// Whether to tell only what would be done.
    pub dry_run: bool,
}

/// What may be done to many jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepAction {
    /// Withdraw jobs that wait.
    Cancel,
    /// Put dead letters back into their queues.
    Retry,
    /// Drop dead letters.
    Purge,
}

/// What one piece of a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The handles of the jobs.
    pub handles: Vec<String>,
    /// Where the next piece begins; nothing when this was the last.
    pub next: Option<JobId>,
}

/// A piece of the background jobs that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Their handles and what is kept of them; of those on disk without unique and payload.
    pub jobs: Vec<(String, JobRecord)>,
    /// Those whose unique and payload are on disk only and have yet to be added here.
    pub on_disk: Vec<JobId>,
    /// Where the next piece begins; nothing when this was the last.
    pub next: Option<JobId>,
}

impl State {
    /// The piece of the background jobs that wait that begins behind `after`.
    #[must_use]
    pub fn export(&self, after: JobId) -> Exported {
        let unread = Content { unique: "".into(), payload: Bytes::new() };
        let mut exported = Exported::default();
        for (count, (id, job)) in self.jobs.after(after).enumerate() {
            if count == PIECE_LEN {
                return exported;
            }
            exported.next = (count + 1 == PIECE_LEN).then_some(id);
            let waits = matches!(job.place, Place::Queued | Place::Delayed);
            if waits
                && job.record != Record::None
                && let Some(record) = self.record_of(id, job, job.content().unwrap_or(&unread))
            {
                exported.on_disk.extend(job.content().is_none().then_some(id));
                exported.jobs.push((self.handles.text(id), record));
            }
        }
        exported
    }

    /// Carries out the piece of a sweep that begins behind `after`.
    pub fn sweep(&mut self, now: Instant, sweep: &Sweep, after: JobId, fx: &mut Effects) -> Swept {
        if let Some(id) = sweep.handle.as_ref().map(|handle| self.parse_handle(handle)) {
            let meant = id.is_some_and(|id| self.is_one(now, sweep, id));
            let done = id.filter(|id| meant && (sweep.dry_run || self.apply(now, sweep, *id, fx)));
            let handles = done.into_iter().map(|id| self.handles.text(id)).collect();
            return Swept { handles, next: None };
        }
        let mut looked: Vec<(JobId, bool)> = match sweep.action {
            SweepAction::Cancel => {
                let piece = self.jobs.after(after).take(PIECE_LEN);
                piece.map(|(id, job)| (id, self.is_meant(now, sweep, job))).collect()
            }
            SweepAction::Retry | SweepAction::Purge => {
                let range = (Bound::Excluded(after), Bound::Unbounded);
                let piece = self.dead.by_id.range(range).take(PIECE_LEN);
                piece.map(|(id, dead)| (*id, self.is_meant_dead(now, sweep, dead))).collect()
            }
        };
        let next = (looked.len() == PIECE_LEN).then(|| looked.last().map(|(id, _)| *id)).flatten();
        looked.retain(|(id, meant)| *meant && (sweep.dry_run || self.apply(now, sweep, *id, fx)));
        let handles = looked.into_iter().map(|(id, _)| self.handles.text(id)).collect();
        Swept { handles, next }
    }

    fn apply(&mut self, now: Instant, sweep: &Sweep, id: JobId, fx: &mut Effects) -> bool {
        match sweep.action {
            SweepAction::Cancel => self.cancel_job(id, fx),
            SweepAction::Retry => self.retry(now, id, fx),
            SweepAction::Purge => self.purge(id, fx),
        }
    }

    /// Whether the job of this number is one of those that are meant.
    fn is_one(&self, now: Instant, sweep: &Sweep, id: JobId) -> bool {
        match sweep.action {
            SweepAction::Cancel => {
                self.jobs.get(id).is_some_and(|job| self.is_meant(now, sweep, job))
            }
            SweepAction::Retry | SweepAction::Purge => {
                let dead = self.dead.by_id.get(&id);
                dead.is_some_and(|dead| self.is_meant_dead(now, sweep, dead))
            }
        }
    }

    fn is_meant(&self, now: Instant, sweep: &Sweep, job: &Job) -> bool {
        let age = self.settings.since(now, job.enqueued);
        matches!(job.place, Place::Queued | Place::Delayed | Place::Limbo(_))
            && sweep.older_than.is_none_or(|least| age >= least)
            && self.is_named(sweep, job)
    }

    fn is_meant_dead(&self, now: Instant, sweep: &Sweep, dead: &DeadJob) -> bool {
        let died = self.settings.wall_clock(now).duration_since(dead.death.at);
        let age = died.unwrap_or_default();
        sweep.older_than.is_none_or(|least| age >= least) && self.is_named(sweep, &dead.job)
    }

    fn is_named(&self, sweep: &Sweep, job: &Job) -> bool {
        sweep.functions.as_ref().is_none_or(|pattern| {
            let function = self.functions.get(job.function);
            let pattern = WildMatch::new(pattern);
            function.is_some_and(|function| pattern.matches(&function.name.to_string()))
        })
    }
}
