//! Making records durable and reading them back, and the lock on the folder they are kept in.
//!
//! A [`Store`] commits changes as one, all or none, and is read as a whole at start. [`DiskStore`]
//! keeps them in SQLite, [`MemoryStore`] keeps nothing. [`StoreThread`] owns a store and groups
//! the changes that wait into one commit. What a record means to a client is not known here.

mod disk;
mod error;
mod extras;
mod memory;
mod schema;
mod state_dir;
mod thread;

use super::record::{Change, Extras, JobRecord};
use crate::model::JobId;

pub use disk::DiskStore;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use state_dir::{StateDir, StateDirError};
pub use thread::{StoreReport, StoreStopped, StoreThread};

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

    /// What is kept beside the jobs.
    ///
    /// # Errors
    /// When it cannot be read.
    fn meta(&mut self) -> Result<Meta, StoreError>;

    /// Passes every job to `each` in the order of ids, dead letters too.
    ///
    /// # Errors
    /// When a record cannot be read.
    fn scan(&mut self, each: &mut dyn FnMut(JobRecord)) -> Result<(), StoreError>;

    /// What is kept beside the jobs that wait.
    ///
    /// # Errors
    /// When a record cannot be read.
    fn extras(&mut self) -> Result<Extras, StoreError>;
}
