//! What the store keeps: typed records, and the changes that a commit makes to them.
//!
//! Both the rules (`state`) and the store speak these types; neither knows the other.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;

use crate::model::{FunctionName, JobId, Priority, Unique};

/// A background job as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// The number in its handle.
    pub id: JobId,
    /// What to run.
    pub function: FunctionName,
    /// Its unique; may be empty.
    pub unique: Unique,
    /// Where it waits.
    pub priority: Priority,
    /// How many workers died with it.
    pub attempts: u32,
    /// When it was accepted, or put back by an operator.
    pub enqueued_at: SystemTime,
    /// Not to be run before.
    pub run_at: Option<SystemTime>,
    /// The function that puts the parts of its result together.
    pub reducer: Option<Bytes>,
    /// The workload.
    pub payload: Bytes,
}

/// Why and how a job ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// When.
    pub at: SystemTime,
    /// Why.
    pub cause: DeathCause,
    /// The last worker that had it, `POOL:N`; empty when that was none of ours.
    pub worker: String,
    /// How that worker ended, as in `killed by KILL`; empty when it did not.
    pub exit: String,
    /// The last lines of that worker, or the text of its exception.
    pub output: String,
}

/// Why a job ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    /// Too many workers died with it.
    Died,
    /// It took too long, too often.
    TimedOut,
    /// Its worker said that it failed.
    Failed,
    /// Its worker raised an exception.
    Raised,
}

/// What may change about a job that is kept; all of it is written at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobUpdate {
    /// The job.
    pub id: JobId,
    /// The deaths of workers so far.
    pub attempts: u32,
    /// When it was accepted, or put back.
    pub enqueued_at: SystemTime,
    /// Present for a dead letter.
    pub death: Option<Death>,
}

/// A recurring job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRecord {
    /// The number in its handle.
    pub id: JobId,
    /// What to run.
    pub function: FunctionName,
    /// Its unique; may be empty.
    pub unique: Unique,
    /// When it was accepted.
    pub made_at: SystemTime,
    /// When, as in crontab(5): minute, hour, day of the month, month, day of the week.
    pub times: String,
    /// The workload of each run.
    pub payload: Bytes,
}

/// What is kept beside the jobs that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Jobs that are dead letters.
    pub deaths: BTreeMap<JobId, Death>,
    /// Recurring jobs.
    pub schedules: Vec<ScheduleRecord>,
    /// Patterns of functions that are paused.
    pub paused: Vec<String>,
}

/// What a job is about: the part of a record that may be long, and may be on disk only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its unique; may be empty.
    pub unique: Unique,
    /// The workload.
    pub payload: Bytes,
}

/// What came of reading a job's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It.
    Content(Content),
    /// Nothing yet: others filled the answer. It may be asked for again.
    Later,
    /// The disk did not read; it may be asked for again after a while.
    Failed,
    /// It is not there, or damaged, and never will be.
    Lost,
}

/// One change to the records; a commit makes many of them durable at once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A job is new.
    Put(JobRecord),
    /// Something about a job changed: a worker died with it, it became a dead letter, or it was
    /// put back.
    Update(JobUpdate),
    /// The job is over.
    Delete(JobId),
    /// The dead letter is dropped.
    Purge(JobId),
    /// A recurring job is new, or replaces the one of this number.
    PutSchedule(ScheduleRecord),
    /// The recurring job is over.
    DeleteSchedule(JobId),
    /// Functions of this pattern are paused.
    Pause(String),
    /// They no longer are.
    Resume(String),
    /// Handles up to this number may be given out; after a restart numbering goes on above it.
    ReserveHandles {
        /// The last number of the block.
        through: JobId,
    },
}

impl Change {
    /// Whether it adds to what is kept, and so needs room on a disk that may have none.
    #[must_use]
    pub fn adds(&self) -> bool {
        match self {
            Self::Put(_) | Self::PutSchedule(_) | Self::Pause(_) => true,
            Self::Update(update) => update.death.is_some(),
            Self::Delete(_)
            | Self::Purge(_)
            | Self::DeleteSchedule(_)
            | Self::Resume(_)
            | Self::ReserveHandles { .. } => false,
        }
    }
}

/// The position of a change in the order in which the rules made them, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeSeq(pub u64);
