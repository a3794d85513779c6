//! What the store keeps: typed records, and the changes that a commit makes to them.
//!
//! Both the rules (`state`) and the store speak these types; neither knows the other.

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
    /// When it was accepted.
    pub enqueued_at: SystemTime,
    /// The workload.
    pub payload: Bytes,
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
    /// A worker died with the job.
    Attempts {
        /// The job.
        id: JobId,
        /// The deaths so far.
        attempts: u32,
    },
    /// The job is over.
    Delete(JobId),
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
            Self::Put(_) => true,
            Self::Attempts { .. } | Self::Delete(_) | Self::ReserveHandles { .. } => false,
        }
    }
}

/// The position of a change in the order in which the rules made them, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeSeq(pub u64);
