//! Tells when the files on disk are no longer those that were loaded.
//!
//! Folders are watched, not files: editors replace a file by another one, and a Kubernetes volume
//! swaps a symlink somewhere on the path. What counts is the content, so that saving a file
//! unchanged is nothing, and no edit is lost between reading the files and watching them.
//!
//! `links` says which names in which folders matter, `folders` watches them, `pace` decides when
//! to look. A file that somebody is writing is not looked at: its writer is seen by its writes until
//! it closes the file, and two equal looks in a row are wanted. (A read lease would say the same of
//! writers that pause, but fcntl(2) offers it to `unsafe` code only.)
//!
//! The files of the programs that pools run are watched in the same way (`programs`): there a `look`
//! goes by size and time, since a touched file is asked to be news.
//!
//! `notify` is told not to ask for opens and reads, which below /etc or /tmp would wake the daemon
//! many times a second for nothing.

mod folders;
mod links;
mod look;
mod pace;
mod programs;

#[cfg(test)]
mod tests;

use notify::ErrorKind;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;
use tracing::warn;

pub use self::look::ProgramFiles;
pub use self::programs::{ProgramChanged, ProgramWatcher};

use self::folders::Folders;
use self::pace::Pace;
use super::sources::Sources;

/// Watching is not possible.
#[derive(Debug, thiserror::Error)]
#[error(
    "edits cannot be noticed: {}; raise fs.inotify.max_user_instances and max_user_watches, or \
     set reload_on_edit = \"off\" and use reload",
    cause(.0)
)]
pub struct WatchError(#[from] notify::Error);

/// Watches files until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    sources: watch::Sender<Sources>,
}

/// Owns the watched folders.
struct WatchTask {
    loaded: watch::Receiver<Sources>,
    folders: Folders,
    pace: Pace,
    /// What the last look saw.
    seen: Option<Sources>,
    /// What the owner was told of; it may be busy with it.
    told: Option<Sources>,
    changed: mpsc::Sender<()>,
    tasks: TaskTracker,
}

/// The owner is not there any more.
struct OwnerGone;

impl Watcher {
    /// Starts watching; sends into `changed` whenever the disk differs from what was loaded.
    ///
    /// A full channel is as good as one more message, so that a capacity of 1 is enough.
    ///
    /// # Errors
    /// When the kernel has no watch left, or a folder may not be read.
    pub fn start(
        loaded: Sources,
        changed: mpsc::Sender<()>,
        tasks: &TaskTracker,
    ) -> Result<Self, WatchError> {
        let mut folders = Folders::open()?;
        folders.arm(&loaded)?;
        let (sources, mut loaded) = watch::channel(loaded);
        // An edit since the files were read is found by the first look.
        loaded.mark_changed();
        let task = WatchTask {
            loaded,
            folders,
            pace: Pace::default(),
            seen: None,
            told: None,
            changed,
            tasks: tasks.clone(),
        };
        tasks.spawn(task.run());
        Ok(Self { sources })
    }

    /// Watches these files from now on: what the latest load read, also when it failed.
    pub fn watch(&self, loaded: Sources) {
        self.sources.send_replace(loaded);
    }
}

impl WatchTask {
    async fn run(mut self) {
        while self.next().await.is_ok() {}
    }

    async fn next(&mut self) -> Result<(), OwnerGone> {
        let due = self.pace.due();
        let look = sleep_until(due.map_or_else(Instant::now, Instant::from_std));
        tokio::select! {
            // A new list of files is a reason to look: they may differ from what was loaded.
            new = self.loaded.changed() => {
                new.or(Err(OwnerGone))?;
                self.pace.happened(now());
            }
            Some(seen) = self.folders.next() => {
                for happening in seen {
                    self.pace.note(happening, now());
                }
            }
            () = look, if due.is_some() => self.look().await?,
        }
        Ok(())
    }

    /// Reads the files; tells the owner when two looks saw the same news.
    async fn look(&mut self) -> Result<(), OwnerGone> {
        self.pace.looked();
        let loaded = self.loaded.borrow().clone();
        // Before the look: a change of a file behind a new link must not fall between the two.
        if let Err(error) = self.folders.arm(&loaded) {
            warn!(error = %cause(&error), "some edits of the configuration will not be noticed");
        }
        let compared = loaded.clone();
        let read = self.tasks.spawn_blocking(move || compared.read_again());
        let now_there = read.await.or(Err(OwnerGone))?;
        let news = now_there != loaded && self.told.as_ref() != Some(&now_there);
        if news && self.seen.as_ref() == Some(&now_there) {
            self.told = Some(now_there.clone());
            if let Err(TrySendError::Closed(())) = self.changed.try_send(()) {
                return Err(OwnerGone);
            }
        } else if news {
            self.pace.look_again(now());
        }
        self.seen = Some(now_there);
        Ok(())
    }
}

/// What went wrong with which folder, in our words where `notify` only quotes the kernel.
fn cause(error: &notify::Error) -> String {
    let what = match &error.kind {
        ErrorKind::MaxFilesWatch => "no watch is left".to_owned(),
        ErrorKind::Io(error) => error.to_string(),
        _ => return error.to_string(),
    };
    match error.paths.first() {
        Some(folder) => format!("{}: {what}", folder.display()),
        None => what,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
