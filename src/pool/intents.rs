//! What is remembered of pools, on disk: what was stopped stays stopped when the daemon starts
//! anew, what was learned need not be learned again, and what came of the last time can be told.
//!
//! A small JSON file in the state folder, replaced as a whole by a rename. It is not synced: after
//! a power failure the last wish may be lost, never the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::model::PoolName;

/// What is wanted and known of one pool beside the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolMind {
    /// An operator stopped it.
    pub stopped: bool,
    /// Numbers of workers that an operator stopped.
    pub held: BTreeSet<u32>,
    /// An operator's `scale`.
    pub hold: Option<HoldMind>,
    /// What its workers registered, where the file does not say it.
    pub serves: Option<ServesMind>,
    /// What came of its last time.
    pub last: Option<LastMind>,
}

/// What a pool's workers registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServesMind {
    /// Tells their program from others.
    pub program: u64,
    /// The functions.
    pub functions: Vec<String>,
}

/// What came of a time of a pool's timetable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMind {
    /// When, in seconds of the Unix epoch.
    pub at: u64,
    /// `exit 0`, `submitted job H:x:3`
    pub said: String,
    /// The handle of the last job; empty when none was submitted.
    pub handle: String,
}

/// A hold of a pool's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldMind {
    /// At least so many.
    pub min: u32,
    /// At most so many.
    pub max: u32,
    /// Seconds of the Unix epoch at which it ends by itself.
    pub until: Option<u64>,
}

/// The file; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Intents(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// `None` keeps nothing.
    path: Option<PathBuf>,
    pools: BTreeMap<String, PoolMind>,
}

impl LastMind {
    /// What came of this moment.
    #[must_use]
    pub fn now(said: String, handle: String) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { at: since.as_secs(), said, handle }
    }

    /// When.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.at));
        at.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Intents {
    /// Opens the file; a missing one is empty, an unreadable one is told of and begun anew.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let pools = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                let path = path.display();
                warn!(%path, %error, "what was remembered of pools cannot be read and is forgotten");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self(Arc::new(Mutex::new(Book { path: Some(path), pools }))))
    }

    /// What is wanted of a pool.
    #[must_use]
    pub fn of(&self, pool: &PoolName) -> PoolMind {
        self.lock().pools.get(pool.as_str()).cloned().unwrap_or_default()
    }

    /// Changes what is wanted of a pool; written before it returns.
    pub fn change(&self, pool: &PoolName, change: impl FnOnce(&mut PoolMind)) {
        let mut book = self.lock();
        let before = book.pools.get(pool.as_str()).cloned().unwrap_or_default();
        let mut mind = before.clone();
        change(&mut mind);
        if mind == before {
            return;
        }
        if mind == PoolMind::default() {
            book.pools.remove(pool.as_str());
        } else {
            book.pools.insert(pool.to_string(), mind);
        }
        book.write();
    }

    /// Forgets every pool but these: a name that comes back later is another pool.
    pub fn keep(&self, is_kept: impl Fn(&str) -> bool) {
        let mut book = self.lock();
        let before = book.pools.len();
        book.pools.retain(|name, _| is_kept(name));
        if book.pools.len() < before {
            book.write();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn write(&self) {
        let Some(path) = &self.path else { return };
        let new = path.with_extension("new");
        let written = serde_json::to_vec_pretty(&self.pools)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            let path = path.display();
            warn!(%path, %error, "what operators asked for is lost when the daemon ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_read_back_and_a_removed_pool_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intents");
        let (mail, slow): (PoolName, PoolName) = ("mail".parse().unwrap(), "slow".parse().unwrap());
        let intents = Intents::open(path.clone()).unwrap();
        intents.change(&mail, |mind| mind.stopped = true);
        intents.change(&slow, |mind| mind.held = [2].into());
        let again = Intents::open(path.clone()).unwrap();
        assert!(again.of(&mail).stopped);
        assert_eq!(again.of(&slow).held, [2].into());
        again.keep(|name| name == "slow");
        assert_eq!(Intents::open(path.clone()).unwrap().of(&mail), PoolMind::default());
        fs::write(&path, "{").unwrap();
        assert_eq!(Intents::open(path).unwrap().of(&slow), PoolMind::default());
    }
}
