//! Rows beside the jobs that wait: dead letters, recurring jobs, paused functions.
//!
//! A dead letter keeps its job's row and its payload and has a row in `dead` beside them, so that
//! neither its death nor its return moves a payload.

use rusqlite::{Connection, Row, Transaction};

use super::disk::{micros, time_of};
use crate::broker::record::{Death, DeathCause, Extras, JobUpdate, ScheduleRecord};
use crate::model::{FunctionName, JobId, Unique};

const UPDATE: &str = "UPDATE jobs SET attempts = ?2, enqueued_at = ?3 WHERE id = ?1";
const PUT_DEATH: &str = "
    INSERT OR REPLACE INTO dead (id, at, cause, worker, exit, output)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const DELETE_DEATH: &str = "DELETE FROM dead WHERE id = ?1";
const PUT_SCHEDULE: &str = "
    INSERT OR REPLACE INTO schedules (id, function, uniq, made_at, times, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const DELETE_SCHEDULE: &str = "DELETE FROM schedules WHERE id = ?1";
const PAUSE: &str = "INSERT OR REPLACE INTO paused (pattern) VALUES (?1)";
const RESUME: &str = "DELETE FROM paused WHERE pattern = ?1";

/// A crash may leave a row whose job has gone. The join has a fixed order, since a start must not
/// read all jobs before it serves.
pub(super) const DEATHS: &str = "
    SELECT dead.id, at, cause, worker, exit, output FROM dead CROSS JOIN jobs USING (id)";
const SCHEDULES: &str = "
    SELECT id, function, uniq, made_at, times, payload FROM schedules ORDER BY id";
const PAUSED: &str = "SELECT pattern FROM paused ORDER BY pattern";

pub(super) fn update(transaction: &Transaction<'_>, update: &JobUpdate) -> rusqlite::Result<()> {
    let id = update.id.0.cast_signed();
    let enqueued_at = micros(update.enqueued_at);
    transaction.prepare_cached(UPDATE)?.execute((id, update.attempts, enqueued_at))?;
    let Some(death) = &update.death else { return forget_death(transaction, update.id) };
    transaction.prepare_cached(PUT_DEATH)?.execute((
        id,
        micros(death.at),
        cause_name(death.cause),
        &death.worker,
        &death.exit,
        &death.output,
    ))?;
    Ok(())
}

pub(super) fn forget_death(transaction: &Transaction<'_>, id: JobId) -> rusqlite::Result<()> {
    transaction.prepare_cached(DELETE_DEATH)?.execute([id.0.cast_signed()]).map(drop)
}

pub(super) fn put_schedule(
    transaction: &Transaction<'_>,
    schedule: &ScheduleRecord,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(PUT_SCHEDULE)?.execute((
        schedule.id.0.cast_signed(),
        &schedule.function.0[..],
        &schedule.unique.0[..],
        micros(schedule.made_at),
        &schedule.times,
        &schedule.payload[..],
    ))?;
    Ok(())
}

pub(super) fn delete_schedule(transaction: &Transaction<'_>, id: JobId) -> rusqlite::Result<()> {
    transaction.prepare_cached(DELETE_SCHEDULE)?.execute([id.0.cast_signed()]).map(drop)
}

pub(super) fn pause(transaction: &Transaction<'_>, pattern: &str) -> rusqlite::Result<()> {
    transaction.prepare_cached(PAUSE)?.execute([pattern]).map(drop)
}

pub(super) fn resume(transaction: &Transaction<'_>, pattern: &str) -> rusqlite::Result<()> {
    transaction.prepare_cached(RESUME)?.execute([pattern]).map(drop)
}

/// Reads all of it.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Extras> {
    let deaths = connection.prepare(DEATHS)?.query_map((), death)?.collect::<Result<_, _>>()?;
    let schedules =
        connection.prepare(SCHEDULES)?.query_map((), schedule)?.collect::<Result<_, _>>()?;
    let pattern = |row: &Row<'_>| row.get(0);
    let paused = connection.prepare(PAUSED)?.query_map((), pattern)?.collect::<Result<_, _>>()?;
    Ok(Extras { deaths, schedules, paused })
}

fn death(row: &Row<'_>) -> rusqlite::Result<(JobId, Death)> {
    let cause: String = row.get(2)?;
    let death = Death {
        at: time_of(row.get(1)?),
        cause: cause_of(&cause),
        worker: row.get(3)?,
        exit: row.get(4)?,
        output: row.get(5)?,
    };
    Ok((id(row)?, death))
}

fn schedule(row: &Row<'_>) -> rusqlite::Result<ScheduleRecord> {
    Ok(ScheduleRecord {
        id: id(row)?,
        function: FunctionName(row.get::<_, Vec<u8>>(1)?.into()),
        unique: Unique(row.get::<_, Vec<u8>>(2)?.into()),
        made_at: time_of(row.get(3)?),
        times: row.get(4)?,
        payload: row.get::<_, Vec<u8>>(5)?.into(),
    })
}

fn id(row: &Row<'_>) -> rusqlite::Result<JobId> {
    row.get::<_, i64>(0).map(|id| JobId(id.cast_unsigned()))
}

fn cause_name(cause: DeathCause) -> &'static str {
    match cause {
        DeathCause::Died => "died",
        DeathCause::TimedOut => "timed out",
        DeathCause::Failed => "failed",
        DeathCause::Raised => "raised",
    }
}

/// A word that somebody wrote into the file by hand is no reason to lose the job.
fn cause_of(name: &str) -> DeathCause {
    match name {
        "timed out" => DeathCause::TimedOut,
        "failed" => DeathCause::Failed,
        "raised" => DeathCause::Raised,
        _ => DeathCause::Died,
    }
}
