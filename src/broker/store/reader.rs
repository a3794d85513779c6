//! Reading from the SQLite file beside its writer: contents by id, and all jobs in pieces.
//!
//! It has a read-only connection of its own and holds no transaction between two calls, so the
//! write-ahead log can always be taken back to the file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};

use super::disk::{Damage, SCAN_NORMAL, SCAN_OTHER, priority_number, record};
use super::rows::runs;
use super::schema::{connect_to_read, explain};
use super::{Reader, StoreError};
use crate::broker::record::{Content, Fetched, JobRecord};
use crate::model::{JobId, Priority, Unique};

/// Payload bytes in one answer at which the rest is left for later.
const CONTENTS_BYTES_MAX: usize = 4 << 20;

const FETCH: &str = "
    SELECT uniq, coalesce(jobs.payload, long.payload)
    FROM jobs LEFT JOIN payloads long USING (id)
    WHERE id = ?1 AND coalesce(jobs.payload, long.payload) IS NOT NULL";
const FETCH_RUN: &str = "
    SELECT id, uniq, coalesce(jobs.payload, long.payload)
    FROM jobs LEFT JOIN payloads long USING (id)
    WHERE id BETWEEN ?1 AND ?2 AND coalesce(jobs.payload, long.payload) IS NOT NULL
    ORDER BY id";
const DESCRIBE: &str = "
    SELECT uniq, length(coalesce(jobs.payload, long.payload))
    FROM jobs LEFT JOIN payloads long USING (id)
    WHERE id = ?1 AND coalesce(jobs.payload, long.payload) IS NOT NULL";

/// Where a scan stands: it takes the jobs in the order in which they are to run.
#[derive(Clone, Copy, Debug)]
pub struct ScanPlace {
    priority: Priority,
    after: JobId,
    /// The last job of the run before; later ones are no news.
    through: JobId,
}

/// Reads `jobs.db`.
#[derive(Debug)]
pub(super) struct DiskReader {
    path: PathBuf,
    damage: Arc<Damage>,
    /// The generation of the file that is open.
    generation: u64,
    /// `None` before the first read, and after one that failed.
    connection: Option<Connection>,
}

impl ScanPlace {
    /// The beginning of a scan of the jobs up to this number.
    #[must_use]
    pub fn start(through: JobId) -> Self {
        Self { priority: Priority::High, after: JobId(0), through }
    }

    /// The next priority's beginning; nothing after the last.
    fn next_priority(self) -> Option<Self> {
        let priority = match self.priority {
            Priority::High => Priority::Normal,
            Priority::Normal => Priority::Low,
            Priority::Low => return None,
        };
        Some(Self { priority, after: JobId(0), ..self })
    }
}

impl DiskReader {
    pub(super) fn new(path: PathBuf, damage: Arc<Damage>) -> Self {
        Self { path, damage, generation: 0, connection: None }
    }

    fn connection(&mut self) -> Result<&Connection, StoreError> {
        let generation = self.damage.generation.load(Ordering::Relaxed);
        let open = self.connection.take().filter(|_| self.generation == generation);
        let connection = match open {
            Some(connection) => connection,
            None => connect_to_read(&self.path)?,
        };
        self.generation = generation;
        Ok(self.connection.insert(connection))
    }

    /// The file is opened again; if it is damaged the store is told to mend it.
    fn failed(&mut self, error: &StoreError) {
        self.connection = None;
        // Of a file that was replaced meanwhile it is no news.
        let is_current = self.generation == self.damage.generation.load(Ordering::Relaxed);
        if error.is_damage() && is_current {
            self.damage.found.store(true, Ordering::Relaxed);
        }
    }

    fn content(&mut self, id: JobId) -> Result<Option<Content>, StoreError> {
        let path = self.path.clone();
        let wrong = |error| explain(&path, error);
        let mut statement = self.connection()?.prepare_cached(FETCH).map_err(wrong)?;
        let row = statement.query_row([id.0.cast_signed()], |row| {
            let blob = |at| row.get::<_, Vec<u8>>(at).map(Bytes::from);
            Ok(Content { unique: Unique(blob(0)?), payload: blob(1)? })
        });
        row.optional().map_err(wrong)
    }

    fn fetch(&mut self, id: JobId) -> Fetched {
        match self.content(id) {
            Ok(Some(content)) => Fetched::Content(content),
            Ok(None) => Fetched::Lost,
            Err(error) => {
                self.failed(&error);
                Fetched::Failed
            }
        }
    }

    /// The contents of jobs from one number to another as far as one statement reads them, and at
    /// most up to `bytes_max`.
    fn run(&mut self, (first, last): (JobId, JobId), bytes_max: usize) -> Vec<(JobId, Content)> {
        let mut found = Vec::new();
        let Ok(connection) = self.connection() else { return found };
        let Ok(mut statement) = connection.prepare_cached(FETCH_RUN) else { return found };
        let range = [first, last].map(|id| id.0.cast_signed());
        let Ok(mut rows) = statement.query(range) else { return found };
        let mut bytes = 0;
        let read = |row: &Row<'_>| {
            let blob = |at| row.get::<_, Vec<u8>>(at).map(Bytes::from);
            let id = JobId(row.get::<_, i64>(0)?.cast_unsigned());
            Ok::<_, rusqlite::Error>((id, Content { unique: Unique(blob(1)?), payload: blob(2)? }))
        };
        while bytes < bytes_max
            && let Ok(Some(row)) = rows.next()
            && let Ok((id, content)) = read(row)
            // A damaged table may go round for ever.
            && found.last().is_none_or(|(before, _)| *before < id)
        {
            bytes += content.payload.len();
            found.push((id, content));
        }
        found
    }

    fn piece(&mut self, place: ScanPlace, max: usize) -> Result<Vec<JobRecord>, StoreError> {
        let path = self.path.clone();
        let wrong = |error| explain(&path, error);
        let sql = if place.priority == Priority::Normal { SCAN_NORMAL } else { SCAN_OTHER };
        let mut statement = self.connection()?.prepare_cached(sql).map_err(wrong)?;
        let (after, through) = (place.after.0.cast_signed(), place.through.0.cast_signed());
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let mut rows = statement
            .query((priority_number(place.priority), after, through, limit))
            .map_err(wrong)?;
        let mut records = Vec::new();
        let mut before = after;
        while let Some(row) = rows.next().map_err(wrong)? {
            let id: i64 = row.get(0).map_err(wrong)?;
            let damage = |what| StoreError::Damaged { path: path.clone(), what };
            // A damaged table may go round for ever.
            if id <= before {
                return Err(damage(format!("job {id} comes after job {before}")));
            }
            before = id;
            let unreadable = |error| damage(format!("job {id} cannot be read: {error}"));
            records.push(record(row).map_err(unreadable)?);
        }
        Ok(records)
    }
}

impl Reader for DiskReader {
    fn contents(&mut self, ids: &[JobId]) -> Vec<(JobId, Fetched)> {
        let (mut all, mut bytes) = (Vec::with_capacity(ids.len()), 0);
        for (first, last) in runs(ids.to_vec()) {
            let read = self.run((first, last), CONTENTS_BYTES_MAX.saturating_sub(bytes));
            let mut read = read.into_iter().peekable();
            for id in (first.0..=last.0).map(JobId) {
                let fetched = match read.next_if(|(found, _)| *found == id) {
                    Some((_, content)) => Fetched::Content(content),
                    None if bytes >= CONTENTS_BYTES_MAX => Fetched::Later,
                    // What a statement for many did not find is looked for alone, so that one
                    // damaged row costs no other job.
                    None => self.fetch(id),
                };
                if let Fetched::Content(content) = &fetched {
                    bytes += content.payload.len();
                }
                all.push((id, fetched));
            }
        }
        all
    }

    fn describe(&mut self, ids: &[JobId]) -> HashMap<JobId, (Unique, usize)> {
        let mut found = HashMap::new();
        let Ok(connection) = self.connection() else { return found };
        let Ok(mut statement) = connection.prepare_cached(DESCRIBE) else { return found };
        for id in ids {
            let row = statement.query_row([id.0.cast_signed()], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
            });
            // A job that has ended meanwhile is described by what is known without the disk.
            if let Ok((unique, len)) = row {
                found.insert(*id, (Unique(unique.into()), usize::try_from(len).unwrap_or(0)));
            }
        }
        found
    }

    fn scan(
        &mut self,
        place: ScanPlace,
        max: usize,
    ) -> Result<(Vec<JobRecord>, Option<ScanPlace>), StoreError> {
        let piece = self.piece(place, max);
        if let Err(error) = &piece {
            self.failed(error);
        }
        let records = piece?;
        let next = match records.last() {
            Some(last) if records.len() >= max => Some(ScanPlace { after: last.id, ..place }),
            _ => place.next_priority(),
        };
        Ok((records, next))
    }
}
