//! A store that keeps nothing: `store = "memory"`.

use std::time::{Duration, SystemTime};

use super::{Meta, Reader, Store, StoreError};
use crate::broker::record::{Change, Extras};
use crate::model::JobId;

/// Takes every change and forgets it; only numbering is kept from repeating.
#[derive(Debug)]
pub struct MemoryStore {
    handle_prefix: String,
    started_at: SystemTime,
}

impl MemoryStore {
    /// A store whose handles begin with `handle_prefix`.
    #[must_use]
    pub fn new(handle_prefix: &str, started_at: SystemTime) -> Self {
        Self { handle_prefix: handle_prefix.to_owned(), started_at }
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, _changes: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }

    fn meta(&mut self) -> Result<Meta, StoreError> {
        // Nothing remembers the last number, so numbering begins at the clock: a broker would have
        // to create a million jobs each second to reach the first number of its next start.
        let since = self.started_at.duration_since(SystemTime::UNIX_EPOCH);
        let micros = since.unwrap_or(Duration::ZERO).as_micros();
        let reserved = JobId(u64::try_from(micros).unwrap_or(0));
        Ok(Meta { handle_prefix: self.handle_prefix.clone(), reserved })
    }

    fn reader(&self) -> Option<Box<dyn Reader>> {
        None
    }

    fn extras(&mut self) -> Result<Extras, StoreError> {
        Ok(Extras::default())
    }
}
