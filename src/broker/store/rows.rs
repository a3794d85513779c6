//! Writing the rows of a commit.
//!
//! Jobs come and go by the thousand, so their statements are looked up once for a commit, a short
//! payload shares the row of its job, and jobs that are over are deleted by ranges.

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior};

use super::disk::{micros, priority_number};
use super::extras;
use crate::broker::record::{Change, JobRecord};
use crate::model::JobId;

/// Payloads up to this are in the row of their job.
const SHORT_LEN_MAX: usize = 256;

const PUT_JOB: &str = "
    INSERT INTO jobs (id, function, uniq, priority, attempts, enqueued_at, run_at, reducer, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const PUT_PAYLOAD: &str = "INSERT INTO payloads (id, payload) VALUES (?1, ?2)";
const DELETE_JOBS: &str = "DELETE FROM jobs WHERE id BETWEEN ?1 AND ?2";
const DELETE_PAYLOADS: &str = "DELETE FROM payloads WHERE id BETWEEN ?1 AND ?2";
const RESERVE: &str = "UPDATE meta SET value = ?1 WHERE key = 'reserved'";

/// Applies the changes in a transaction that is still to be committed.
pub(super) fn write<'a, 'c>(
    connection: &'c mut Connection,
    changes: impl Iterator<Item = &'a Change>,
) -> rusqlite::Result<Transaction<'c>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut rows = Rows::prepare(&transaction)?;
    // Deleted last, in runs: a job that is over is never put or changed again.
    let mut over = Vec::new();
    for change in changes {
        match change {
            Change::Put(record) => rows.put(record)?,
            Change::Delete(id) => over.push(*id),
            Change::Purge(id) => {
                rows.delete(*id, *id)?;
                extras::forget_death(&transaction, *id)?;
            }
            Change::Update(update) => extras::update(&transaction, update)?,
            Change::PutSchedule(schedule) => extras::put_schedule(&transaction, schedule)?,
            Change::DeleteSchedule(id) => extras::delete_schedule(&transaction, *id)?,
            Change::Pause(pattern) => extras::pause(&transaction, pattern)?,
            Change::Resume(pattern) => extras::resume(&transaction, pattern)?,
            Change::ReserveHandles { through } => {
                transaction.prepare_cached(RESERVE)?.execute([through.0.cast_signed()])?;
            }
        }
    }
    for (first, last) in runs(over) {
        rows.delete(first, last)?;
    }
    drop(rows);
    Ok(transaction)
}

/// What most changes need, looked up once for a commit.
struct Rows<'t> {
    put_job: CachedStatement<'t>,
    put_payload: CachedStatement<'t>,
    delete_jobs: CachedStatement<'t>,
    delete_payloads: CachedStatement<'t>,
}

impl<'t> Rows<'t> {
    fn prepare(transaction: &'t Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            put_job: transaction.prepare_cached(PUT_JOB)?,
            put_payload: transaction.prepare_cached(PUT_PAYLOAD)?,
            delete_jobs: transaction.prepare_cached(DELETE_JOBS)?,
            delete_payloads: transaction.prepare_cached(DELETE_PAYLOADS)?,
        })
    }

    fn put(&mut self, record: &JobRecord) -> rusqlite::Result<()> {
        let id = record.id.0.cast_signed();
        let is_short = record.payload.len() <= SHORT_LEN_MAX;
        self.put_job.execute((
            id,
            &record.function.0[..],
            &record.unique.0[..],
            priority_number(record.priority),
            record.attempts,
            micros(record.enqueued_at),
            record.run_at.map(micros),
            record.reducer.as_deref(),
            is_short.then_some(&record.payload[..]),
        ))?;
        if !is_short {
            self.put_payload.execute((id, &record.payload[..]))?;
        }
        Ok(())
    }

    /// Deletes all jobs from one to another.
    fn delete(&mut self, first: JobId, last: JobId) -> rusqlite::Result<()> {
        let range = [first, last].map(|id| id.0.cast_signed());
        self.delete_jobs.execute(range)?;
        self.delete_payloads.execute(range).map(drop)
    }
}

/// The runs of numbers without gaps, each by its first and last.
pub(super) fn runs(mut ids: Vec<JobId>) -> Vec<(JobId, JobId)> {
    ids.sort_unstable();
    let mut runs: Vec<(JobId, JobId)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if id.0 <= last.0.saturating_add(1) => *last = id,
            _ => runs.push((id, id)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_no_gaps_and_hold_every_number() {
        let found = |ids: &[u64]| {
            let runs = runs(ids.iter().copied().map(JobId).collect());
            runs.into_iter().map(|(first, last)| (first.0, last.0)).collect::<Vec<_>>()
        };
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[7]), [(7, 7)]);
        assert_eq!(found(&[3, 1, 2, 9, 2, 5]), [(1, 3), (5, 5), (9, 9)]);
        assert_eq!(found(&[u64::MAX, u64::MAX]), [(u64::MAX, u64::MAX)]);
    }
}
