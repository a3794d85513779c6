//! Listings of all jobs, a piece at a time: there may be millions.
//!
//! A listing is an answer in its session's queue of answers. When it is the first, the effects
//! name the session, and the shell asks for one piece after the other, each when the one before has
//! been written, so that neither a turn nor the memory of unsent output is as long as the listing.
//! Jobs that come and go meanwhile may be in it or not.

use std::time::Instant;

use super::State;
use super::effects::Effects;
use super::jobs::{Place, Record};
use crate::model::{JobId, SessionId};
use crate::protocol::{AdminReply, JobListing, JobRow};

/// Jobs that one piece looks at.
const PIECE_LEN: usize = 512;

/// Where a listing is.
#[derive(Debug)]
pub(super) struct JobList {
    of: JobListing,
    /// The last job that was looked at.
    after: JobId,
}

/// A piece of a listing.
#[derive(Debug)]
pub struct Piece {
    /// Its rows.
    pub rows: AdminReply,
    /// Rows, by their place, whose unique is on disk alone and has yet to be put in.
    pub on_disk: Vec<(usize, JobId)>,
    /// Whether the listing ends with it.
    pub is_last: bool,
}

impl JobList {
    pub(super) fn new(of: JobListing) -> Self {
        Self { of, after: JobId(0) }
    }
}

impl State {
    /// The next piece of the session's listing, if it is the turn of one.
    pub fn next_piece(&mut self, id: SessionId) -> Option<Piece> {
        let listing = self.sessions.get_mut(&id)?.answers.job_list()?;
        let (of, after) = (listing.of, listing.after);
        let mut looked: Vec<JobId> =
            self.jobs.after(after).map(|(id, _)| id).take(PIECE_LEN).collect();
        let is_last = looked.len() < PIECE_LEN;
        if let (Some(listing), Some(last)) =
            (self.sessions.get_mut(&id)?.answers.job_list(), looked.last())
        {
            listing.after = *last;
        }
        // A job that is being stored is nobody's yet.
        looked.retain(|id| {
            let place = self.jobs.get(*id).map(|job| job.place);
            of != JobListing::Outstanding || place != Some(Place::Storing)
        });
        let is_on_disk = |id: &JobId| self.jobs.get(*id).is_some_and(|job| job.content().is_none());
        let on_disk = looked.iter().enumerate().filter(|(_, id)| is_on_disk(id));
        Some(Piece {
            on_disk: on_disk.map(|(row, id)| (row, *id)).collect(),
            rows: self.rows(of, looked, is_last),
            is_last,
        })
    }

    /// The last piece of the session's listing is on its way.
    pub fn end_job_list(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.answers.end_job_list(id, fx);
            self.serve_grabs(now, id, fx);
        }
    }

    /// Rows of these jobs, and at the end of the listing of what recurs.
    fn rows(&self, of: JobListing, jobs: Vec<JobId>, is_last: bool) -> AdminReply {
        let recurring = || self.schedule_ids().filter(|_| is_last);
        match of {
            JobListing::Handles => {
                let jobs = jobs.into_iter().filter_map(|id| self.job_row(id));
                let recurring = recurring().map(|id| JobRow {
                    handle: self.handles.bytes(id),
                    retries: 0,
                    ignored: false,
                    background: true,
                });
                AdminReply::ShowJobs(jobs.chain(recurring).collect())
            }
            JobListing::Uniques => {
                let jobs = jobs.into_iter().filter_map(|id| self.jobs.get(id));
                let uniques = jobs.map(|job| {
                    job.content().map_or_else(|| "".into(), |content| content.unique.clone())
                });
                let recurring = recurring().filter_map(|id| self.schedule_unique(id).cloned());
                AdminReply::UniqueJobs(uniques.chain(recurring).collect())
            }
            JobListing::Outstanding => {
                let jobs = jobs.into_iter().filter_map(|id| self.jobs.get(id));
                AdminReply::Jobs(jobs.filter_map(|job| self.outstanding_row(job)).collect())
            }
        }
    }

    fn job_row(&self, id: JobId) -> Option<JobRow> {
        let job = self.jobs.get(id)?;
        Some(JobRow {
            handle: self.handles.bytes(id),
            retries: job.attempts,
            ignored: job.is_unwanted(),
            background: job.record != Record::None,
        })
    }
}
