//! Watched folders, narrowed to the names that matter.
//!
//! `notify` calls its handler on a thread of its own; what does not matter is dropped there, so that
//! a busy folder wakes nobody else.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{
    Config, ErrorKind, Event, EventKind, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher,
};
use tokio::sync::{mpsc, watch};

use super::links::Way;
use super::pace::Happening;
use crate::config::sources::{IncludePattern, Sources};

/// Opening and reading are not asked for: we do that ourselves.
const ASKED_FOR: EventKindMask = EventKindMask::CREATE
    .union(EventKindMask::REMOVE)
    .union(EventKindMask::MODIFY_NAME)
    .union(EventKindMask::MODIFY_DATA)
    .union(EventKindMask::ACCESS_CLOSE);

/// Happenings that wait to be taken in. One more is dropped, and everything is unclear then.
const WAITING_MAX: usize = 64;

/// The folders that are watched.
#[derive(Debug)]
pub(super) struct Folders {
    notify: RecommendedWatcher,
    watched: BTreeMap<PathBuf, Identity>,
    interests: watch::Sender<Interests>,
    happenings: mpsc::Receiver<Happening>,
}

pub(super) type Interests = BTreeMap<PathBuf, Interest>;

/// Which names in a folder matter; none when it is only passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    names: Vec<OsString>,
    patterns: Vec<IncludePattern>,
    /// New folders matter too.
    has_folders: bool,
}

/// Tells a folder from another one that came to be at its path: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

/// What `notify` calls.
struct Handler {
    interests: watch::Receiver<Interests>,
    happenings: mpsc::Sender<Happening>,
}

impl Folders {
    /// Opens an inotify instance.
    pub(super) fn open() -> notify::Result<Self> {
        let (interests, current) = watch::channel(Interests::new());
        let (sender, happenings) = mpsc::channel(WAITING_MAX);
        let handler = Handler { interests: current, happenings: sender };
        let notify =
            RecommendedWatcher::new(handler, Config::default().with_event_kinds(ASKED_FOR))?;
        Ok(Self { notify, watched: BTreeMap::new(), interests, happenings })
    }

    /// Watches what stands on the way to these files now, and nothing else.
    pub(super) fn arm(&mut self, sources: &Sources) -> notify::Result<()> {
        self.arm_to(interests(sources))
    }

    /// Watches these folders, and nothing else.
    pub(super) fn arm_to(&mut self, interests: Interests) -> notify::Result<()> {
        // First, so that no event of a new folder is taken for one that does not matter.
        self.interests.send_replace(interests.clone());
        let mut failed = Ok(());
        let gone: Vec<_> = self
            .watched
            .keys()
            .filter(|folder| !interests.contains_key(*folder))
            .cloned()
            .collect();
        for folder in gone {
            failed = failed.and(self.forget(&folder));
        }
        for folder in interests.into_keys() {
            failed = failed.and(self.watch(folder));
        }
        failed
    }

    /// Waits until something happens that matters; `None`: nothing will any more. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Vec<Happening>> {
        let mut happenings = Vec::new();
        let taken = self.happenings.recv_many(&mut happenings, WAITING_MAX).await;
        if taken == WAITING_MAX {
            happenings.push(Happening::Unclear);
        }
        (taken > 0).then_some(happenings)
    }

    /// Watches a folder, also one that is watched: it may have been removed and made anew.
    fn watch(&mut self, folder: PathBuf) -> notify::Result<()> {
        let Some(identity) = Identity::of(&folder) else {
            // It went since the way was looked at; an event of the folder above follows.
            return self.forget(&folder);
        };
        // Something was mounted there, which is no event; `notify` goes by the path alone.
        if self.watched.get(&folder).is_some_and(|before| *before != identity) {
            self.forget(&folder)?;
        }
        match self.notify.watch(&folder, RecursiveMode::NonRecursive) {
            Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => self.forget(&folder),
            Err(error) => Err(error),
            Ok(()) => {
                self.watched.insert(folder, identity);
                Ok(())
            }
        }
    }

    fn forget(&mut self, folder: &Path) -> notify::Result<()> {
        if self.watched.remove(folder).is_none() {
            return Ok(());
        }
        match self.notify.unwatch(folder) {
            Err(error) if !matches!(error.kind, ErrorKind::WatchNotFound) => Err(error),
            // `notify` lets go of a folder that was moved or removed.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl notify::EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        let happening = event.map_or(Some(Happening::Unclear), |event| self.happening(event));
        if let Some(happening) = happening {
            // Full: see `WAITING_MAX`. Closed: nobody watches any more.
            self.happenings.try_send(happening).unwrap_or_default();
        }
    }
}

impl Handler {
    fn happening(&self, event: Event) -> Option<Happening> {
        if event.need_rescan() {
            return Some(Happening::Unclear);
        }
        let path = event.paths.into_iter().next()?;
        let interests = self.interests.borrow();
        // A folder itself was moved, removed or replaced.
        if interests.contains_key(&path) {
            return Some(Happening::Unclear);
        }
        let interest = interests.get(path.parent()?)?;
        let is_new_folder = || interest.has_folders && path.is_dir();
        if !interest.includes(path.file_name()?) && !is_new_folder() {
            return None;
        }
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => Some(Happening::Written(path)),
            EventKind::Create(_) if is_open(&path) => Some(Happening::Written(path)),
            EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(_)
            | EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                Some(Happening::Closed(path))
            }
            EventKind::Access(_) | EventKind::Any | EventKind::Other => None,
        }
    }
}

impl Interest {
    /// A file of this name matters.
    pub(super) fn name(&mut self, name: OsString) {
        self.names.push(name);
    }

    /// Files of these names matter, and folders.
    pub(super) fn pattern(&mut self, folder: &Path, name: &str) {
        self.has_folders = true;
        self.patterns.push(IncludePattern { folder: folder.to_owned(), name: name.to_owned() });
    }

    /// Whatever matters to another matters here.
    pub(super) fn extend(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
        self.patterns.extend(other.patterns.iter().cloned());
        self.has_folders |= other.has_folders;
    }

    fn includes(&self, name: &OsStr) -> bool {
        let matches = |name| self.patterns.iter().any(|pattern| pattern.matches(name));
        self.names.iter().any(|known| known == name) || name.to_str().is_some_and(matches)
    }
}

impl Identity {
    fn of(folder: &Path) -> Option<Self> {
        fs::metadata(folder).ok().map(|metadata| Self(metadata.dev(), metadata.ino()))
    }
}

/// Whether a new name is that of a new file, whose maker has it open, and not of a link.
fn is_open(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

/// The folders to watch; those without a name only for being moved away with all that is in them.
fn interests(sources: &Sources) -> Interests {
    let mut interests = Interests::new();
    let folders_of_patterns = sources.patterns().iter().map(|pattern| pattern.folder.as_path());
    for way in sources.files().chain(folders_of_patterns).map(Way::to) {
        for folder in way.folders {
            interests.entry(folder).or_default();
        }
        for (folder, name) in way.names {
            interests.entry(folder).or_default().names.push(name);
        }
    }
    for pattern in sources.patterns() {
        if let Some(folder) = Way::to(&pattern.folder).end {
            interests.entry(folder).or_default().patterns.push(pattern.clone());
        }
    }
    interests
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn more_happenings_than_can_wait_are_unclear() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("workers.toml");
        let mut sources = Sources::default();
        sources.read(&file).unwrap_err();
        let mut folders = Folders::open().unwrap();
        folders.arm(&sources).unwrap();
        for _ in 0..WAITING_MAX {
            fs::write(&file, "").unwrap();
            fs::remove_file(&file).unwrap();
        }
        let full = async {
            while folders.happenings.len() < WAITING_MAX {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), full).await.unwrap();
        assert_eq!(folders.next().await.unwrap().last(), Some(&Happening::Unclear));
    }
}
