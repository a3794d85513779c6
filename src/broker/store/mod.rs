//! Making records durable and reading them back, and the lock on the folder they are kept in.
//!
//! A [`Store`] commits changes as one, all or none; its [`Reader`] streams all jobs at start and
//! fetches single ones later, on a thread of its own. [`DiskStore`]
//! keeps them in SQLite, [`MemoryStore`] keeps nothing. [`StoreThread`] owns a store and groups
//! the changes that wait into one commit. What a record means to a client is not known here.

mod ballast;
mod disk;
mod error;
mod extras;
mod header;
mod memory;
mod reader;
mod reads;
mod room;
mod rows;
mod salvage;
mod schema;
mod state_dir;
mod thread;

use std::collections::HashMap;

use super::record::{Change, Extras, Fetched, JobRecord};
use crate::model::{JobId, Unique};

pub use disk::DiskStore;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use reader::ScanPlace;
pub use reads::{Contents, Descriptions, ReadReport, ReadThread};
pub use state_dir::{StateDir, StateDirError};
pub use thread::{COMMIT_CHANGES_MAX, StoreReport, StoreStopped, StoreThread};

/// What a store keeps beside the jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What handles begin with; chosen at the first start, so that a host that is renamed goes on
    /// knowing the handles it gave out.
    pub handle_prefix: String,
    /// The last handle number that may have been given out.
    pub reserved: JobId,
}

/// Where records are kept.
pub trait Store: Send {
    /// Makes all of `changes` durable, in order, or none of them.
    ///
    /// # Errors
    /// When they could not be made durable; the store is as before, and may be tried again.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Whether there is room for more; while there is not, only changes that add nothing are kept.
    fn has_room(&self) -> bool {
        true
    }

    /// What is kept beside the jobs.
    ///
    /// # Errors
    /// When it cannot be read.
    fn meta(&mut self) -> Result<Meta, StoreError>;

    /// What is kept beside the jobs that wait.
    ///
    /// # Errors
    /// When a record cannot be read.
    fn extras(&mut self) -> Result<Extras, StoreError>;

    /// Reads what is committed; `None` when nothing is kept.
    fn reader(&self) -> Option<Box<dyn Reader>>;
}

/// Reads records while the store commits others.
pub trait Reader: Send {
    /// The contents of stored jobs, as far as they fit into one answer.
    fn contents(&mut self, ids: &[JobId]) -> Vec<(JobId, Fetched)>;

    /// The uniques and payload lengths of those of the jobs that can be read.
    fn describe(&mut self, ids: &[JobId]) -> HashMap<JobId, (Unique, usize)>;

    /// The next jobs, at most `max`, dead letters too, and where to go on. A payload is read only
    /// where it is what makes the job unique.
    ///
    /// # Errors
    /// When a record cannot be read.
    fn scan(
        &mut self,
        place: ScanPlace,
        max: usize,
    ) -> Result<(Vec<JobRecord>, Option<ScanPlace>), StoreError>;
}
