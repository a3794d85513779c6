//! Doing one thing to many jobs, a piece at a time so that nobody waits long.

use std::ops::Bound;
use std::time::{Duration, Instant};

use wildmatch::WildMatch;

use super::State;
use super::effects::Effects;
use super::jobs::{Job, Place};
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

impl State {
    /// Carries out the piece of a sweep that begins behind `after`.
    pub fn sweep(&mut self, now: Instant, sweep: &Sweep, after: JobId, fx: &mut Effects) -> Swept {
        let mut looked: Vec<(JobId, bool)> = match sweep.action {
            SweepAction::Cancel => {
                let piece = self.jobs.after(after).take(PIECE_LEN);
                piece.map(|(id, job)| (id, self.is_meant(now, sweep, id, job))).collect()
            }
            SweepAction::Retry | SweepAction::Purge => {
                let range = (Bound::Excluded(after), Bound::Unbounded);
                let piece = self.dead.by_id.range(range).take(PIECE_LEN);
                let meant = |(id, dead): (&JobId, &super::dead::DeadJob)| {
                    let died = self.settings.wall_clock(now).duration_since(dead.death.at);
                    let is_old = sweep.older_than.is_none_or(|age| died.is_ok_and(|d| d >= age));
                    (*id, is_old && self.is_named(sweep, *id, &dead.job))
                };
                piece.map(meant).collect()
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

    fn is_meant(&self, now: Instant, sweep: &Sweep, id: JobId, job: &Job) -> bool {
        let age = now.saturating_duration_since(job.enqueued);
        matches!(job.place, Place::Queued | Place::Delayed | Place::Limbo(_))
            && sweep.older_than.is_none_or(|least| age >= least)
            && self.is_named(sweep, id, job)
    }

    fn is_named(&self, sweep: &Sweep, id: JobId, job: &Job) -> bool {
        let by_handle =
            sweep.handle.as_ref().is_none_or(|handle| self.parse_handle(handle) == Some(id));
        by_handle
            && sweep.functions.as_ref().is_none_or(|pattern| {
                let function = self.functions.get(job.function);
                let pattern = WildMatch::new(pattern);
                function.is_some_and(|function| pattern.matches(&function.name.to_string()))
            })
    }
}
