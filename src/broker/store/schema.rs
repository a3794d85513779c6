//! The SQLite file: how it is made, recognised and opened.
//!
//! A short payload is in its job's row: one row less to write and to delete. Longer ones are in a
//! table of their own, so that a change of a job's row does not rewrite its payload, and a start
//! does not read it.
//! There is no index but one of the jobs that are not of normal priority, so that a start finds the
//! urgent ones first: every look-up is in memory, and a unique index over random uniques would cut
//! a million-job store to a tenth of its speed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;

/// `Gear` in SQLite's header: tells our files from other programs'.
pub(super) const APPLICATION_ID: i64 = 0x4765_6172;
/// Raised when a file can no longer be read by versions before.
pub(super) const FORMAT: i64 = 3;
pub(super) const FORMAT_FOUND: &str = "SELECT value FROM meta WHERE key = 'format'";
/// How long a commit waits for somebody who looks into the file with another program.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages in the log at which it is written back, 4 MB; larger ones only move the slowest commits.
const CHECKPOINT_PAGES: i64 = 1000;

/// `SQLITE_IOERR_SHMSIZE`.
const SHARED_INDEX_FULL: i32 = 4874;

pub(super) const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY,
        function BLOB NOT NULL,
        uniq BLOB NOT NULL,
        priority INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        enqueued_at INTEGER NOT NULL -- microseconds since 1970
    ) STRICT;
    CREATE TABLE payloads (id INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;
";
/// Apart from the tables, since the first stores were made without it.
const INDEX: &str = "
    CREATE INDEX IF NOT EXISTS jobs_not_normal ON jobs (priority, id) WHERE priority <> 1";

/// What format 2 has and format 1 had not.
const SECOND_FORMAT: &str = "
    ALTER TABLE jobs ADD COLUMN run_at INTEGER; -- microseconds since 1970
    ALTER TABLE jobs ADD COLUMN reducer BLOB;
    CREATE TABLE dead ( -- jobs that are dead letters
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        cause TEXT NOT NULL,
        worker TEXT NOT NULL,
        exit TEXT NOT NULL,
        output TEXT NOT NULL
    ) STRICT;
    CREATE TABLE schedules (
        id INTEGER PRIMARY KEY,
        function BLOB NOT NULL,
        uniq BLOB NOT NULL,
        made_at INTEGER NOT NULL,
        times TEXT NOT NULL, -- as in crontab(5)
        payload BLOB NOT NULL
    ) STRICT;
    CREATE TABLE paused (pattern TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
";

/// What format 3 has and format 2 had not.
const THIRD_FORMAT: &str = "
    ALTER TABLE jobs ADD COLUMN payload BLOB; -- NULL: it is in payloads
";

/// Makes an empty store at `path`, which must not exist yet.
///
/// It is made under another name and renamed when it is whole, so that a file at `path` is never
/// a half-made one, and an empty or cut one there is damage.
pub(super) fn create(path: &Path, handle_prefix: &str) -> Result<(), StoreError> {
    let opening = |source| StoreError::Open { path: path.to_owned(), source };
    let draft = draft(path, handle_prefix)?;
    fs::rename(&draft, path).map_err(opening)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(opening)
}

/// Makes an empty store under another name, beside `path`.
pub(super) fn draft(path: &Path, handle_prefix: &str) -> Result<PathBuf, StoreError> {
    let draft = path.with_extension("db.new");
    make_private(&draft).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    fill(&draft, handle_prefix).map_err(|error| explain(path, error))?;
    Ok(draft)
}

/// Opens the store at `path` for commits that survive a power cut.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let wrong = |error| explain(path, error);
    // Never created here: a missing file is not the same as an empty queue.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(wrong)?;
    recognise(&connection, path)?;
    let mode = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
        .map_err(wrong)?;
    if mode != "wal" {
        return Err(StoreError::NoLog { path: path.to_owned(), mode });
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(wrong)?;
    upgrade(&mut connection).map_err(wrong)?;
    connection.execute(INDEX, ()).map_err(wrong)?;
    Ok(connection)
}

/// Takes the log back to the file and empties it: what a failed fsync left in it, readable but
/// perhaps not on the disk, is written anew or forgotten.
pub(super) fn empty_log(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let busy: i64 = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))
        .map_err(|error| explain(path, error))?;
    if busy == 0 { Ok(()) } else { Err(StoreError::Busy { path: path.to_owned() }) }
}

/// Opens the store at `path` for reading beside the connection that commits.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connect = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    };
    connect().map_err(|error| explain(path, error))
}

/// Puts SQLite's error in our words.
pub(super) fn explain(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path },
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        _ if is_full(&source) => StoreError::Full { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, what: source.to_string() },
        _ => StoreError::Sqlite { path, source },
    }
}

/// The shared index of the log could not grow: SQLite tells that as a failure of the disk.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == SHARED_INDEX_FULL)
}

/// Payloads may be secret, and the folder may be open to others; SQLite gives its log the same
/// permissions as the file.
fn make_private(draft: &Path) -> io::Result<()> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft).map(drop)
}

fn fill(draft: &Path, handle_prefix: &str) -> rusqlite::Result<()> {
    let mut connection = Connection::open(draft)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(SECOND_FORMAT)?;
    transaction.execute_batch(THIRD_FORMAT)?;
    let mut insert = transaction.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
    insert.execute(("format", FORMAT))?;
    insert.execute(("handle_prefix", handle_prefix))?;
    insert.execute(("reserved", 0))?;
    drop(insert);
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// Brings a store of an earlier format up to date.
fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let found: i64 = connection.query_row(FORMAT_FOUND, (), |row| row.get(0))?;
    if found >= FORMAT {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    if found < 2 {
        transaction.execute_batch(SECOND_FORMAT)?;
    }
    transaction.execute_batch(THIRD_FORMAT)?;
    transaction.execute("UPDATE meta SET value = ?1 WHERE key = 'format'", [FORMAT])?;
    transaction.commit()
}

fn recognise(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let wrong = |error| explain(path, error);
    let id: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(wrong)?;
    if id != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let found: i64 = connection.query_row(FORMAT_FOUND, (), |row| row.get(0)).map_err(wrong)?;
    if found > FORMAT {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(())
}
