//! Small files in the state folder, with an entry for each pool.
//!
//! JSON, synced and then put in place by a rename: after a power failure there is the last change or
//! the one before, never an empty file. Changes that come while the disk is busy are written
//! together. What cannot be read of a file is told of and left out, key by key, and the file as it
//! was is kept beside it.
//!
//! A [`Page`] is one pool's. Once that has been removed nothing is written to it any more: what has
//! its name later is another pool, and the removed one may still be ending its last run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::warn;

use crate::config::replace_file;
use crate::model::PoolName;

/// What a book keeps of each pool; each of its keys may be missing.
pub trait Kept: Clone + Default + PartialEq + Serialize + DeserializeOwned {
    /// The file's name.
    const FILE: &'static str;
    /// What it holds, in words.
    const WHAT: &'static str;
}

/// The entries of all pools; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Book<T>(Arc<Shared<T>>);

/// The entry of one pool.
#[derive(Clone, Debug)]
pub struct Page<T> {
    book: Book<T>,
    pool: PoolName,
    tenant: u64,
}

#[derive(Debug, Default)]
struct Shared<T> {
    /// `None` keeps nothing.
    path: Option<PathBuf>,
    entries: Mutex<Entries<T>>,
    /// Changes that have been written; locked while one is.
    written: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Entries<T> {
    /// Changes so far.
    changes: u64,
    pools: BTreeMap<String, T>,
    /// Which pool has a name now, of all that have had it.
    tenants: BTreeMap<String, u64>,
    last_tenant: u64,
}

impl<T: Kept> Book<T> {
    /// Opens the file in this folder; a missing one is empty.
    ///
    /// # Errors
    /// When the file is there and the disk does not give it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(T::FILE);
        let pools = match fs::read(&path) {
            Ok(bytes) => {
                let (pools, problems) = parse(&bytes);
                if !problems.is_empty() {
                    set_aside::<T>(&path, &problems);
                }
                pools
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let (changes, tenants, last_tenant) = (0, BTreeMap::new(), 0);
        let entries = Mutex::new(Entries { changes, pools, tenants, last_tenant });
        Ok(Self(Arc::new(Shared { path: Some(path), entries, written: Mutex::new(0) })))
    }

    /// The page of the pool that has this name now.
    #[must_use]
    pub fn page(&self, pool: &PoolName) -> Page<T> {
        let mut entries = self.lock();
        let known = entries.tenants.get(pool.as_str()).copied();
        let tenant = known.unwrap_or_else(|| {
            entries.last_tenant += 1;
            let new = entries.last_tenant;
            entries.tenants.insert(pool.to_string(), new);
            new
        });
        drop(entries);
        Page { book: self.clone(), pool: pool.clone(), tenant }
    }

    /// Forgets every pool but these.
    pub fn keep(&self, is_kept: impl Fn(&str) -> bool) {
        let mut entries = self.lock();
        let before = entries.pools.len();
        entries.pools.retain(|name, _| is_kept(name));
        entries.tenants.retain(|name, _| is_kept(name));
        if entries.pools.len() < before {
            self.write(entries);
        }
    }
}

impl<T> Book<T> {
    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        lock(&self.0.entries)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets other tasks of this thread run elsewhere meanwhile.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

impl<T: Kept> Page<T> {
    /// What is kept.
    #[must_use]
    pub fn read(&self) -> T {
        let entries = self.book.lock();
        self.entry(&entries).cloned().unwrap_or_default()
    }

    /// Changes it; written before it returns.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        let mut entries = self.book.lock();
        if entries.tenants.get(self.pool.as_str()) != Some(&self.tenant) {
            return;
        }
        let before = self.entry(&entries).cloned().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return;
        }
        if after == T::default() {
            entries.pools.remove(self.pool.as_str());
        } else {
            entries.pools.insert(self.pool.to_string(), after);
        }
        self.book.write(entries);
    }

    fn entry<'a>(&self, entries: &'a Entries<T>) -> Option<&'a T> {
        let is_ours = entries.tenants.get(self.pool.as_str()) == Some(&self.tenant);
        entries.pools.get(self.pool.as_str()).filter(|_| is_ours)
    }
}

impl<T: Kept> Book<T> {
    /// Writes the changes so far. Nobody who reads waits for the disk.
    fn write(&self, mut entries: MutexGuard<'_, Entries<T>>) {
        let Some(path) = &self.0.path else { return };
        entries.changes += 1;
        let change = entries.changes;
        drop(entries);
        blocking(|| {
            let mut written = lock(&self.0.written);
            if *written >= change {
                // Whoever wrote meanwhile wrote this too.
                return;
            }
            let entries = self.lock();
            *written = entries.changes;
            let text = serde_json::to_vec_pretty(&entries.pools);
            drop(entries);
            let put = text.map_err(io::Error::other).and_then(|text| replace_file(path, &text));
            if let Err(error) = put {
                let path = path.display();
                warn!(%path, %error, "{} is lost when the daemon ends", T::WHAT);
            }
        });
    }
}

/// What can be read, and what is wrong with the rest.
fn parse<T: Kept>(bytes: &[u8]) -> (BTreeMap<String, T>, Vec<String>) {
    let mut problems = Vec::new();
    let read = serde_json::from_slice::<Map<String, Value>>(bytes).unwrap_or_else(|error| {
        problems.push(error.to_string());
        Map::new()
    });
    let mut pools = BTreeMap::new();
    for (pool, value) in read {
        let Value::Object(keys) = value else {
            problems.push(format!("{pool}: {value} is no table of keys"));
            continue;
        };
        // Each key alone: one that is wrong says nothing about the others.
        let mut is_right = |key: &String, value: &Value| {
            let alone = Map::from_iter([(key.clone(), value.clone())]);
            serde_json::from_value::<T>(alone.into())
                .map_err(|error| problems.push(format!("{pool}: {key}: {error}")))
                .is_ok()
        };
        let right: Map<_, _> =
            keys.into_iter().filter(|(key, value)| is_right(key, value)).collect();
        if let Ok(entry) = serde_json::from_value(right.into()) {
            pools.insert(pool, entry);
        }
    }
    (pools, problems)
}

fn set_aside<T: Kept>(path: &Path, problems: &[String]) {
    let (kept, what) = (path.with_extension("unreadable"), T::WHAT);
    let copied = fs::copy(path, &kept);
    let (path, kept) = (path.display(), kept.display());
    for problem in problems {
        warn!(%path, problem, "a part of {what} cannot be read and is forgotten");
    }
    match copied {
        Ok(_) => warn!(%path, "the file as it was is kept as {kept}"),
        Err(error) => warn!(%path, %error, "the file as it was cannot be kept"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{HoldIntent, Intents};

    fn open(folder: &Path) -> (Book<Intents>, [Page<Intents>; 2]) {
        let book = Book::open(folder).unwrap();
        let pages = ["mail", "slow"].map(|name| book.page(&name.parse().unwrap()));
        (book, pages)
    }

    #[test]
    fn what_was_asked_for_is_read_back_and_a_removed_pool_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (_, [mail, slow]) = open(folder.path());
        mail.change(|intents| intents.stopped = true);
        slow.change(|intents| intents.held = [2].into());
        let (book, [mail, slow]) = open(folder.path());
        assert!(mail.read().stopped);
        assert_eq!(slow.read().held, [2].into());
        book.keep(|name| name == "slow");
        let (_, [mail, slow]) = open(folder.path());
        assert_eq!(mail.read(), Intents::default());
        assert_eq!(slow.read().held, [2].into());
    }

    #[test]
    fn what_ends_in_a_removed_pool_says_nothing_of_one_that_has_its_name_later() {
        let folder = tempfile::tempdir().unwrap();
        let (book, [removed, _]) = open(folder.path());
        book.keep(|name| name != "mail");
        removed.change(|intents| intents.stopped = true);
        let (_, [mail, _]) = open(folder.path());
        assert!(!mail.read().stopped);
        let later = book.page(&"mail".parse().unwrap());
        removed.change(|intents| intents.stopped = true);
        assert!(!later.read().stopped);
        later.change(|intents| intents.held = [1].into());
        assert_eq!(removed.read(), Intents::default());
    }

    #[test]
    fn one_thing_that_cannot_be_read_leaves_the_rest() {
        let hold = |min, max| Some(HoldIntent { min, max, until: None });
        for (text, stopped, held, of_slow) in [
            (r#"{"mail": {"stopped": true, "held": "x"}, "slow": {"held": [2]}}"#, true, None, 1),
            (r#"{"mail": 7, "slow": {"held": [2]}}"#, false, None, 1),
            (r#"{"mail": {"hold": {"min": 1, "max": 2}, "held": [-1]}}"#, false, hold(1, 2), 0),
            (r#"{"mail": {"hold": {"min": 3, "max": 2}, "stopped": true}}"#, true, None, 0),
            ("{", false, None, 0),
            ("", false, None, 0),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("intents");
            fs::write(&file, text).unwrap();
            let (_, [mail, slow]) = open(folder.path());
            assert_eq!((mail.read().stopped, mail.read().hold), (stopped, held), "{text}");
            assert_eq!(slow.read().held.len(), of_slow, "{text}");
            let kept = fs::read_to_string(file.with_extension("unreadable")).unwrap();
            assert_eq!(kept, text);
        }
    }

    #[test]
    fn changes_of_many_at_once_are_all_written_before_they_return() {
        let folder = tempfile::tempdir().unwrap();
        let (book, _) = open(folder.path());
        let names: Vec<PoolName> = (0..16).map(|n| format!("p{n}").parse().unwrap()).collect();
        std::thread::scope(|scope| {
            for name in &names {
                let (page, path) = (book.page(name), folder.path());
                scope.spawn(move || {
                    page.change(|intents| intents.stopped = true);
                    let read = Book::<Intents>::open(path).unwrap();
                    assert!(read.page(name).read().stopped, "{name:?}");
                });
            }
        });
    }

    #[test]
    fn keys_of_a_later_version_are_no_mistake() {
        let (pools, problems) = parse::<Intents>(br#"{"mail": {"stopped": true, "new": 1}}"#);
        assert!(pools["mail"].stopped);
        assert_eq!(problems, [""; 0]);
    }
}
