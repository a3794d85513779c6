//! Tells when the files of a pool's program are no longer those that its workers began with.
//!
//! One task and one inotify instance for all pools. After an event it is quiet for a second, so that
//! a pull or a copy of many files is one change; a writer at work is waited for; and what is told
//! was seen by two looks in a row. A look that finds new folders watches them and is taken again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::folders::{Folders, Interests};
use super::links::Way;
use super::look::{Look, ProgramFiles};
use super::pace::{Happening, Pace};
use super::{WatchError, cause, now};
use crate::model::PoolName;

/// Without an event for so long, a deploy is taken as done.
const QUIET: Duration = Duration::from_secs(1);
/// Further events put it off for so long at most.
const QUIET_MAX: Duration = Duration::from_mins(1);
/// Orders under way at most; whoever gives one waits for room.
const ORDERS_MAX: usize = 64;

/// The files of a pool's program have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramChanged {
    /// Whose.
    pub pool: PoolName,
    /// Which; none when a symlink on the way was swapped to the same files.
    pub files: Vec<PathBuf>,
}

/// Watches the programs of pools until it is dropped.
#[derive(Clone, Debug)]
pub struct ProgramWatcher {
    orders: mpsc::Sender<Order>,
}

/// Watch these files of a pool from now on, or none.
#[derive(Debug)]
struct Order {
    pool: PoolName,
    files: Option<ProgramFiles>,
    begun: SystemTime,
}

/// One pool's program.
#[derive(Debug)]
struct Program {
    files: ProgramFiles,
    pace: Pace,
    /// When its workers may have begun with what was there.
    begun: SystemTime,
    /// What the workers began with; `None` before the first look.
    known: Option<Look>,
    /// What the last look saw, if it differed.
    seen: Option<Look>,
    interests: Interests,
}

struct ProgramTask {
    orders: mpsc::Receiver<Order>,
    folders: Folders,
    programs: BTreeMap<PoolName, Program>,
    changed: mpsc::Sender<ProgramChanged>,
    tasks: TaskTracker,
}

/// The owner is not there any more.
struct OwnerGone;

impl ProgramWatcher {
    /// Starts watching nothing.
    ///
    /// # Errors
    /// When the kernel has no watch left.
    pub fn start(
        changed: mpsc::Sender<ProgramChanged>,
        tasks: &TaskTracker,
    ) -> Result<Self, WatchError> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let task = ProgramTask {
            orders: inbox,
            folders: Folders::open()?,
            programs: BTreeMap::new(),
            changed,
            tasks: tasks.clone(),
        };
        tasks.spawn(task.run());
        Ok(Self { orders })
    }

    /// Watches these files of a pool, whose workers are about to begin with what is there; `None`:
    /// none any more.
    pub async fn watch(&self, pool: PoolName, files: Option<ProgramFiles>) {
        let order = Order { pool, files, begun: SystemTime::now() };
        if self.orders.send(order).await.is_err() {
            warn!("changes of workers' files are no longer noticed");
        }
    }
}

impl ProgramTask {
    async fn run(mut self) {
        while self.next().await.is_ok() {}
    }

    async fn next(&mut self) -> Result<(), OwnerGone> {
        let next = self.programs.iter().filter_map(|(pool, it)| Some((it.pace.due()?, pool)));
        let (due, pool) = next.min().map(|(due, pool)| (due, pool.clone())).unzip();
        let look = sleep_until(due.map_or_else(tokio::time::Instant::now, Into::into));
        tokio::select! {
            order = self.orders.recv() => self.take(order.ok_or(OwnerGone)?),
            Some(seen) = self.folders.next() => {
                for happening in seen {
                    self.note(&happening);
                }
            }
            () = look, if due.is_some() => {
                if let Some(pool) = pool {
                    self.look(&pool).await?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, Order { pool, files, begun }: Order) {
        let Some(files) = files else {
            self.programs.remove(&pool);
            return self.arm();
        };
        let mut pace = Pace::new(QUIET, QUIET_MAX);
        pace.look_again(now());
        let interests = Interests::new();
        let program = Program { files, pace, begun, known: None, seen: None, interests };
        self.programs.insert(pool, program);
    }

    fn note(&mut self, happening: &Happening) {
        for program in self.programs.values_mut() {
            let matters = match happening {
                Happening::Unclear => true,
                Happening::Written(path) | Happening::Closed(path) => {
                    path.parent().is_some_and(|folder| program.interests.contains_key(folder))
                }
            };
            if matters {
                program.pace.note(happening.clone(), now());
            }
        }
    }

    /// Watches the folders of all programs.
    fn arm(&mut self) {
        let mut all = Interests::new();
        for (folder, interest) in self.programs.values().flat_map(|it| &it.interests) {
            all.entry(folder.clone()).or_default().extend(interest);
        }
        if let Err(error) = self.folders.arm_to(all) {
            warn!(error = %cause(&error), "some changes of workers' files will not be noticed");
        }
    }

    async fn look(&mut self, pool: &PoolName) -> Result<(), OwnerGone> {
        let Some(program) = self.programs.get_mut(pool) else { return Ok(()) };
        program.pace.looked();
        let files = program.files.clone();
        let look = self.tasks.spawn_blocking(move || files.look());
        let look = look.await.or(Err(OwnerGone))?;
        let interests = interests(&look);
        if interests != program.interests {
            // What happened in a new folder before it was watched is in the next look.
            program.interests = interests;
            program.pace.look_again(now());
            if look.is_cut {
                warn!(%pool, "watch means more than 100,000 files; only a part is looked at");
            }
            self.arm();
            return Ok(());
        }
        match program.judge(look) {
            None => Ok(()),
            Some(files) => {
                let changed = ProgramChanged { pool: pool.clone(), files };
                self.changed.send(changed).await.or(Err(OwnerGone))
            }
        }
    }
}

impl Program {
    /// Takes a look of watched folders in; returns the files that changed, if that is sure.
    fn judge(&mut self, look: Look) -> Option<Vec<PathBuf>> {
        if !look.is_whole {
            // In the midst of a deploy; its return is an event.
            return None;
        }
        let files = match &self.known {
            None => look.changed_after(since_epoch(self.begun)),
            Some(known) if look.differs(known) => look.changed(known),
            Some(_) => {
                self.seen = None;
                return None;
            }
        };
        if self.known.is_none() && files.is_empty() {
            self.known = Some(look);
            return None;
        }
        let is_settled = self.seen.as_ref().is_some_and(|seen| !look.differs(seen));
        if is_settled {
            self.seen = None;
            self.known = Some(look);
            return Some(files);
        }
        self.seen = Some(look);
        self.pace.look_again(now());
        None
    }
}

/// The folders whose events matter.
fn interests(look: &Look) -> Interests {
    let mut interests = Interests::new();
    for way in look.ways.iter().map(|path| Way::to(path)) {
        for folder in way.folders {
            interests.entry(folder).or_default();
        }
        for (folder, name) in way.names {
            interests.entry(folder).or_default().name(name);
        }
    }
    for (folder, names) in &look.folders {
        let interest = interests.entry(folder.clone()).or_default();
        for name in names {
            interest.pattern(folder, name);
        }
    }
    interests
}

fn since_epoch(at: SystemTime) -> (i64, i64) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    (seconds, i64::from(since.subsec_nanos()))
}
