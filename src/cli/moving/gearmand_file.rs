//! The queue file of gearmand's libsqlite3 module.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};

use super::MovingJob;
use crate::cli::exit::{CliError, Exit};
use crate::model::{FunctionName, Priority, Unique};
use crate::protocol::{Submission, SubmitMode};

/// What every SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Reads jobs in the order in which gearmand would.
pub(super) struct Reader {
    path: PathBuf,
    connection: Connection,
    select: String,
    last_row: i64,
}

/// Whether the file is one of SQLite.
pub(super) fn is_one(path: &Path) -> Result<bool, CliError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut head));
    read.map_err(|error| CliError::failed(format!("cannot read {}: {error}", path.display())))?;
    Ok(head == MAGIC)
}

impl Reader {
    pub(super) fn open(path: &Path, table: &str) -> Result<Self, CliError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.map_err(|error| wrong(path, &error))?;
        let quoted = table.replace('"', "\"\"");
        let select = format!(
            "SELECT rowid, unique_key, function_name, priority, data, when_to_run
             FROM \"{quoted}\" WHERE rowid > ?1 ORDER BY rowid LIMIT ?2"
        );
        if let Err(error) = connection.prepare(&select) {
            let hint = "is it a queue of gearmand's libsqlite3? its table may have another --table";
            return Err(wrong(path, &error).with_hint(hint));
        }
        Ok(Self { path: path.to_owned(), connection, select, last_row: i64::MIN })
    }

    /// The next jobs; none at the end.
    pub(super) fn next_jobs(&mut self, limit: usize) -> Result<Vec<MovingJob>, CliError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<(i64, MovingJob)>> {
            let mut statement = self.connection.prepare_cached(&self.select)?;
            statement.query_map((self.last_row, limit), job)?.collect()
        };
        let rows = read().map_err(|error| wrong(&self.path, &error))?;
        if let Some((row, _)) = rows.last() {
            self.last_row = *row;
        }
        Ok(rows.into_iter().map(|(_, job)| job).collect())
    }
}

fn job(row: &Row<'_>) -> rusqlite::Result<(i64, MovingJob)> {
    // gearmand writes texts and blobs alike.
    let bytes = |at: usize| -> rusqlite::Result<Vec<u8>> {
        Ok(match row.get_ref(at)? {
            rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
                bytes.to_vec()
            }
            rusqlite::types::ValueRef::Null
            | rusqlite::types::ValueRef::Integer(_)
            | rusqlite::types::ValueRef::Real(_) => Vec::new(),
        })
    };
    let when: i64 = row.get::<_, Option<i64>>(5)?.unwrap_or_default();
    let submission = Submission {
        unique: Unique(bytes(1)?.into()),
        function: FunctionName(bytes(2)?.into()),
        priority: match row.get::<_, Option<i64>>(3)? {
            Some(0) => Priority::High,
            Some(2) => Priority::Low,
            _ => Priority::Normal,
        },
        mode: match u64::try_from(when) {
            Ok(when) if when > 0 => SubmitMode::At(when),
            _ => SubmitMode::Background,
        },
        payload: bytes(4)?.into(),
    };
    Ok((row.get(0)?, MovingJob { submission, reducer: None }))
}

fn wrong(path: &Path, error: &rusqlite::Error) -> CliError {
    CliError::new(Exit::Failed, format!("cannot read {}: {error}", path.display()))
}
