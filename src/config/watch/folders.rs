//! Watched folders: inotify(7), narrowed to the names that matter.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest as Readiness;
use tokio::io::unix::AsyncFd;

use super::links::Way;
use super::pace::Happening;
use crate::config::sources::{IncludePattern, Sources};

/// The folder itself was moved or removed.
const ITSELF: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);
/// Something became another file.
const REPLACED: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO);
/// A file's content changed. Opening and reading are not asked for: we do that ourselves.
const WRITTEN: AddWatchFlags = AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_CLOSE_WRITE);
/// Events were lost, or a folder is no more.
const UNCLEAR: AddWatchFlags = AddWatchFlags::IN_Q_OVERFLOW
    .union(AddWatchFlags::IN_UNMOUNT)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// The folders that are watched.
#[derive(Debug)]
pub(super) struct Folders {
    inotify: AsyncFd<Descriptor>,
    watched: HashMap<WatchDescriptor, Interest>,
}

/// Which names in a folder matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interest {
    folder: PathBuf,
    names: Vec<OsString>,
    patterns: Vec<IncludePattern>,
}

/// Tokio asks for a raw number where nix lends a borrowed one.
#[derive(Debug)]
struct Descriptor(Inotify);

impl Folders {
    /// Opens an inotify instance.
    pub(super) fn open() -> Result<Self, Errno> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe and asks for what holds: the descriptor is owned \
                      here and stays the same"
        )]
        let inotify = AsyncFd::with_interest(Descriptor(inotify), Readiness::READABLE);
        let as_errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or_default());
        Ok(Self { inotify: inotify.map_err(as_errno)?, watched: HashMap::new() })
    }

    /// Watches what stands on the way to these files now, and nothing else.
    pub(super) fn arm(&mut self, sources: &Sources) -> Result<(), Errno> {
        let mut watched = HashMap::new();
        let mut failed = Ok(());
        for interest in interests(sources) {
            let passed = interest.names.is_empty() && interest.patterns.is_empty();
            let mask = if passed { ITSELF } else { ITSELF | REPLACED | WRITTEN };
            match self.inotify.get_ref().0.add_watch(&interest.folder, mask) {
                Ok(descriptor) => {
                    watched.insert(descriptor, interest);
                }
                // It went since the way was looked at; its own event follows.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => failed = Err(error),
            }
        }
        let old = std::mem::replace(&mut self.watched, watched);
        for gone in old.keys().filter(|descriptor| !self.watched.contains_key(descriptor)) {
            // EINVAL: the kernel dropped the watch together with its folder.
            match self.inotify.get_ref().0.rm_watch(*gone) {
                Ok(()) | Err(Errno::EINVAL) => {}
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    /// Waits until something happens that matters. Cancel safe.
    pub(super) async fn next(&mut self) -> Vec<Happening> {
        loop {
            let read =
                |descriptor: &Descriptor| descriptor.0.read_events().map_err(io::Error::from);
            let Ok(events) = self.inotify.async_io(Readiness::READABLE, read).await else {
                return vec![Happening::Unclear];
            };
            let happenings: Vec<_> =
                events.into_iter().filter_map(|event| self.happening(event)).collect();
            if !happenings.is_empty() {
                return happenings;
            }
        }
    }

    fn happening(&self, event: InotifyEvent) -> Option<Happening> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return Some(Happening::Unclear);
        }
        let interest = self.watched.get(&event.wd)?;
        if event.mask.intersects(UNCLEAR) {
            return Some(Happening::Unclear);
        }
        let name = event.name.filter(|name| interest.includes(name))?;
        let entry = (event.wd.as_raw(), name);
        let created = event.mask.contains(AddWatchFlags::IN_CREATE);
        if event.mask.contains(AddWatchFlags::IN_MODIFY) || created && interest.is_open(&entry.1) {
            return Some(Happening::Written(entry));
        }
        event.mask.intersects(REPLACED | WRITTEN).then_some(Happening::Closed(entry))
    }
}

impl Interest {
    /// Whether a new name is that of a new file, whose maker has it open, and not of a link.
    fn is_open(&self, name: &OsString) -> bool {
        fs::symlink_metadata(self.folder.join(name))
            .is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
    }

    fn includes(&self, name: &OsString) -> bool {
        let matches = |name| self.patterns.iter().any(|pattern| pattern.matches(name));
        self.names.contains(name) || name.to_str().is_some_and(matches)
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The folders to watch; those without a name only for being moved away with all that is in them.
fn interests(sources: &Sources) -> impl Iterator<Item = Interest> {
    let mut interests: BTreeMap<PathBuf, Interest> = BTreeMap::new();
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
    interests.into_iter().map(|(folder, interest)| Interest { folder, ..interest })
}
