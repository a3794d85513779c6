//! The store in SQLite: a commit is on disk when it returns.
//!
//! One connection writes, with a write-ahead log and an fsync per commit. After a commit that
//! failed nothing is known of what reached the disk, so the connection is given up and the file
//! opened anew by the next commit, which first empties the log, so that nothing of it is trusted
//! that the disk did not confirm, and takes back what the failed one may have left. A full disk is
//! no such failure: then room is made for changes that add nothing, and the others are refused.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rusqlite::{Connection, Row, Transaction};
use tracing::{debug, error};

use super::ballast::{self, Ballast};
use super::extras;
use super::reader::DiskReader;
use super::room::give_back;
use super::rows::write;
use super::schema::{connect, create, empty_log, explain};
use super::{Meta, Reader, StateDir, Store, StoreError, salvage};
use crate::broker::record::{Change, Extras, JobRecord};
use crate::model::{FunctionName, JobId, Priority, Unique};

const FILE: &str = "jobs.db";
const BALLAST: &str = "ballast";
/// How long after a mending that was refused the next one is tried, at least; it may copy much, so
/// it is at most a tenth of what the store does.
const MEND_AGAIN_AFTER: Duration = Duration::from_secs(10);
const MEND_PAUSES: u32 = 9;

/// Jobs of a priority from one id to another; the payload only where it is the unique. The first
/// one walks the table, the second one an index that has only what is not of normal priority.
pub(super) const SCAN_NORMAL: &str = "
    SELECT id, function, uniq, priority, attempts, enqueued_at,
        CASE uniq WHEN x'2d' THEN
            coalesce(payload, (SELECT p.payload FROM payloads p WHERE p.id = jobs.id)) END,
        run_at, reducer
    FROM jobs WHERE priority = ?1 AND id > ?2 AND id <= ?3 ORDER BY id LIMIT ?4";
pub(super) const SCAN_OTHER: &str = "
    SELECT id, function, uniq, priority, attempts, enqueued_at,
        CASE uniq WHEN x'2d' THEN
            coalesce(payload, (SELECT p.payload FROM payloads p WHERE p.id = jobs.id)) END,
        run_at, reducer
    FROM jobs WHERE priority <> 1 AND priority = ?1 AND id > ?2 AND id <= ?3
    ORDER BY id LIMIT ?4";

/// What the store and its readers tell each other of damage.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// A reader found some; the next commit mends it.
    pub(super) found: AtomicBool,
    /// How often the file was replaced; an open connection is then of the old one.
    pub(super) generation: AtomicU64,
}

/// Keeps records in `jobs.db` in the state folder.
pub struct DiskStore {
    path: PathBuf,
    /// `None` after a commit that failed.
    connection: Option<Connection>,
    ballast: Ballast,
    damage: Arc<Damage>,
    /// Jobs of a commit whose fsync failed: it may be on disk all the same, but whoever asked for
    /// it was told that it is not.
    doubtful: Vec<JobId>,
    /// Why the damaged file could not be mended, and when that is tried again.
    refused: Option<(String, Instant)>,
}

impl DiskStore {
    /// Opens the store of a state folder, and makes it when the folder has none.
    ///
    /// `handle_prefix` is what handles of a new store begin with.
    ///
    /// # Errors
    /// When the file is not ours, is damaged, is from a later version, or cannot be written.
    pub fn open(dir: &StateDir, handle_prefix: &str) -> Result<Self, StoreError> {
        let path = dir.path().join(FILE);
        salvage::finish(&path)
            .and_then(|()| salvage::clear(&path))
            .map_err(|source| StoreError::Open { path: path.clone(), source })?;
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => create(&path, handle_prefix)?,
            Err(source) => return Err(StoreError::Open { path, source }),
        }
        let mut ballast = Ballast::open(dir.path().join(BALLAST));
        let connection = connect(&path).or_else(|error| match error {
            StoreError::Full { .. } => {
                ballast.drop_it();
                connect(&path)
            }
            StoreError::Damaged { .. } => {
                rebuild(&path)?;
                connect(&path)
            }
            foreign @ StoreError::Foreign { .. } => match salvage::set_aside_unknown(&path)? {
                Some(aside) => {
                    tell_of(&aside);
                    connect(&path)
                }
                None => Err(foreign),
            },
            other => Err(other),
        })?;
        Ok(Self {
            path,
            connection: Some(connection),
            ballast,
            damage: Arc::default(),
            doubtful: Vec::new(),
            refused: None,
        })
    }

    /// The open connection; a commit that failed closed it.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            let connection = connect(&self.path)?;
            empty_log(&connection, &self.path)?;
            connection
        };
        Ok(self.connection.insert(connection))
    }

    fn commit_with_room(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let adds = changes.iter().any(Change::adds);
        if self.ballast.is_due() {
            self.look_for_room();
        }
        if self.ballast.is_missing() && adds {
            return Err(StoreError::Full { path: self.path.clone() });
        }
        match self.try_commit(changes) {
            Err(StoreError::Full { .. }) if !self.ballast.is_missing() => {
                self.ballast.drop_it();
                if adds {
                    return Err(StoreError::Full { path: self.path.clone() });
                }
                self.try_commit(changes)
            }
            done => done,
        }
    }

    /// Makes the ballast again where that can be done, if need be of what ended jobs have left.
    fn look_for_room(&mut self) {
        self.ballast.restore();
        if !self.ballast.is_missing() {
            return;
        }
        let path = self.path.clone();
        let connection = self.connection();
        // The disk stays full, and the next try may succeed.
        if let Err(error) = connection.and_then(|open| give_back(open, &path, ballast::LEN.into()))
        {
            debug!(%error, "the job store cannot be made smaller");
        }
        self.ballast.restore();
    }

    fn read_extras(&mut self) -> Result<Extras, StoreError> {
        let path = self.path.clone();
        extras::read(self.connection()?).map_err(|error| explain(&path, error))
    }

    /// Puts a new file with what can be read in the place of a damaged one; not at once again when
    /// that was refused.
    fn rebuild(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        if let Some((reason, again_at)) = &self.refused
            && began < *again_at
        {
            return Err(StoreError::NotMended { reason: reason.clone() });
        }
        self.connection = None;
        self.damage.found.store(true, Ordering::Relaxed);
        let mended = rebuild(&self.path);
        self.refused = mended.as_ref().err().map(|error| {
            let pause = MEND_AGAIN_AFTER.max(began.elapsed() * MEND_PAUSES);
            (error.to_string(), Instant::now() + pause)
        });
        mended?;
        self.damage.generation.fetch_add(1, Ordering::Relaxed);
        self.damage.found.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn try_commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let path = self.path.clone();
        let undo: Vec<Change> = self.doubtful.iter().copied().map(Change::Purge).collect();
        let connection = self.connection()?;
        let written = write(connection, undo.iter().chain(changes));
        let (error, doubtful) = match written.map(Transaction::commit) {
            Ok(Ok(())) => {
                self.doubtful.clear();
                return Ok(());
            }
            Ok(Err(error)) => (error, true),
            Err(error) => (error, false),
        };
        let error = explain(&path, error);
        if matches!(error, StoreError::Full { .. }) {
            // SQLite has rolled it back whole; closing would need room to open again.
            return Err(error);
        }
        self.connection = None;
        if doubtful {
            self.doubtful.extend(changes.iter().filter_map(|change| match change {
                Change::Put(record) => Some(record.id),
                Change::Update(_)
                | Change::Delete(_)
                | Change::Purge(_)
                | Change::PutSchedule(_)
                | Change::DeleteSchedule(_)
                | Change::Pause(_)
                | Change::Resume(_)
                | Change::ReserveHandles { .. } => None,
            }));
        }
        Err(error)
    }
}

impl Store for DiskStore {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.damage.found.load(Ordering::Relaxed) {
            self.rebuild()?;
        }
        match self.commit_with_room(changes) {
            Err(error) if error.is_damage() => {
                self.rebuild()?;
                self.commit_with_room(changes)
            }
            done => done,
        }
    }

    fn has_room(&self) -> bool {
        !self.ballast.is_missing()
    }

    fn meta(&mut self) -> Result<Meta, StoreError> {
        let path = self.path.clone();
        let connection = self.connection()?;
        let wrong = |error| explain(&path, error);
        let handle_prefix = meta(connection, "handle_prefix").map_err(wrong)?;
        let reserved: i64 = meta(connection, "reserved").map_err(wrong)?;
        Ok(Meta { handle_prefix, reserved: JobId(reserved.cast_unsigned()) })
    }

    fn reader(&self) -> Option<Box<dyn Reader>> {
        Some(Box::new(DiskReader::new(self.path.clone(), Arc::clone(&self.damage))))
    }

    fn extras(&mut self) -> Result<Extras, StoreError> {
        match self.read_extras() {
            Err(StoreError::Damaged { .. }) => {
                self.rebuild()?;
                self.read_extras()
            }
            read => read,
        }
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("path", &self.path).finish_non_exhaustive()
    }
}

fn rebuild(path: &Path) -> Result<(), StoreError> {
    tell_of(&salvage::set_aside(path)?);
    Ok(())
}

fn tell_of(aside: &Path) {
    error!(
        damaged = %aside.display(),
        "the job store was damaged: what could be read is in a new one, the damaged one was kept"
    );
}

fn meta<T: rusqlite::types::FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<T> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
}

/// A row of a scan.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<JobRecord> {
    let blob = |at| row.get::<_, Vec<u8>>(at).map(Bytes::from);
    let priority = row.get::<_, i64>(3)?;
    Ok(JobRecord {
        id: JobId(row.get::<_, i64>(0)?.cast_unsigned()),
        function: FunctionName(blob(1)?),
        unique: Unique(blob(2)?),
        priority: priority_of(priority)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(3, priority))?,
        attempts: row.get(4)?,
        enqueued_at: time_of(row.get(5)?),
        payload: row.get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default().into(),
        run_at: row.get::<_, Option<i64>>(7)?.map(time_of),
        reducer: row.get::<_, Option<Vec<u8>>>(8)?.map(Bytes::from),
    })
}

pub(super) fn priority_number(priority: Priority) -> i64 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

fn priority_of(number: i64) -> Option<Priority> {
    Priority::ALL.into_iter().find(|priority| priority_number(*priority) == number)
}

/// Microseconds since 1970; a clock before that counts as 1970.
pub(super) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn time_of(micros: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests;
