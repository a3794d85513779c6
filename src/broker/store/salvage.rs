//! What is done about a damaged file: everything that can be read goes into a new one, and the
//! damaged one is kept beside it under another name.
//!
//! The new file is made whole under a third name first, so that a crash in between leaves either
//! the damaged store or the new one, and never an empty place that a start would fill with an
//! empty store.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row};

use super::schema::{connect_to_read, draft, explain};
use super::{StoreError, header};

/// Rows that are read with one statement.
const PIECE_LEN: i64 = 256;
/// The highest id there can be.
const LAST_ID: i64 = i64::MAX;

/// Makes a new store of what can be read of the one at `path`; tells where the damaged one is.
///
/// A file whose tables cannot be found is no empty one: it is read below a new store's first page,
/// or not replaced at all.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    tidied(path, set_aside_known(path))
}

fn set_aside_known(path: &Path) -> Result<PathBuf, StoreError> {
    let old = connect_to_read(path)?;
    let (tables, prefix) = (has_tables(&old), meta(&old, "handle_prefix"));
    drop(old);
    if tables && prefix.is_some() {
        return replace(path, path);
    }
    match set_aside_unknown(path)? {
        Some(aside) => Ok(aside),
        None if tables => replace(path, path),
        None => Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "its first page is unreadable, and its tables cannot be found".to_owned(),
        }),
    }
}

/// Whether the tables that a store has had since the first format are known in its first page.
fn has_tables(old: &Connection) -> bool {
    ["meta", "jobs", "payloads"]
        .into_iter()
        .all(|table| columns_of(old, table).is_ok_and(|columns| !columns.is_empty()))
}

/// The same for a file that SQLite does not know for its own; `None` when it is none of ours.
pub(super) fn set_aside_unknown(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let replaced = header::readable_copy(path)
        .and_then(|copy| copy.map(|copy| replace(path, &copy)).transpose());
    let replaced = tidied(path, replaced)?;
    clear(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    Ok(replaced)
}

/// Removes copies that were of use only while a store was mended or made.
pub(super) fn clear(path: &Path) -> io::Result<()> {
    header::remove(&with_suffix(path, ".mended"))?;
    header::remove(&with_suffix(path, ".new"))
}

/// What was done, with nothing left of it if it failed: the copies would fill the disk.
pub(super) fn tidied<T>(path: &Path, done: Result<T, StoreError>) -> Result<T, StoreError> {
    done.map_err(|error| {
        // What cannot be removed now is removed by the next start.
        clear(path).unwrap_or_default();
        let full = match &error {
            StoreError::Full { .. } => true,
            StoreError::Open { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            StoreError::Foreign { .. }
            | StoreError::Newer { .. }
            | StoreError::Damaged { .. }
            | StoreError::NoLog { .. }
            | StoreError::Busy { .. }
            | StoreError::NoRoomToMend { .. }
            | StoreError::NotMended { .. }
            | StoreError::Sqlite { .. } => false,
        };
        if full { no_room(path) } else { error }
    })
}

/// There must be room for a copy of the file, and for the new one.
fn no_room(path: &Path) -> StoreError {
    let len = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let needed = 2 * (len(path) + len(&with_suffix(path, "-wal")));
    StoreError::NoRoomToMend { path: path.to_owned(), needed_mb: needed.div_ceil(1_000_000) }
}

/// Puts a new store with what can be read of `source` in the place of the one at `path`.
fn replace(path: &Path, source: &Path) -> Result<PathBuf, StoreError> {
    let wrong = |error| explain(path, error);
    let opening = |source| StoreError::Open { path: path.to_owned(), source };
    let old = connect_to_read(source)?;
    // Of a store without a readable prefix the handles cannot be known again anyway.
    let prefix = meta(&old, "handle_prefix").and_then(|value| match value {
        Value::Text(prefix) => Some(prefix),
        _ => None,
    });
    let draft = draft(path, prefix.as_deref().unwrap_or("H:restored"))?;
    let mut new = Connection::open(&draft).map_err(wrong)?;
    copy_all(&old, &mut new).map_err(wrong)?;
    new.close().map_err(|(_, error)| wrong(error))?;
    drop(old);
    let aside = link_aside(path).map_err(opening)?;
    fs::rename(&draft, rebuilt(path)).map_err(opening)?;
    finish(path).map_err(opening)?;
    Ok(aside)
}

/// Puts a new store in the place of the damaged one, if one has been made and this was cut short.
pub(super) fn finish(path: &Path) -> io::Result<()> {
    let rebuilt = rebuilt(path);
    if !rebuilt.try_exists()? {
        return Ok(());
    }
    sync_folder(path)?;
    // The log goes before: beside the new file it would be taken for that one's.
    for part in ["-wal", "-shm"] {
        match fs::remove_file(with_suffix(path, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(rebuilt, path)?;
    sync_folder(path)
}

fn rebuilt(path: &Path) -> PathBuf {
    with_suffix(path, ".rebuilt")
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Gives the damaged file and its log second names that are free.
fn link_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    let aside = loop {
        let aside = with_suffix(path, &format!(".damaged-{number}"));
        match fs::hard_link(path, &aside) {
            Ok(()) => break aside,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    match fs::hard_link(with_suffix(path, "-wal"), with_suffix(&aside, "-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(aside),
    }
}

const WITHOUT_PAYLOAD: &str =
    "DELETE FROM jobs WHERE payload IS NULL AND id NOT IN (SELECT id FROM payloads)";

fn meta(old: &Connection, key: &str) -> Option<Value> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    old.query_row(sql, [key], |row| row.get(0)).ok()
}

fn copy_all(old: &Connection, new: &mut Connection) -> rusqlite::Result<()> {
    let transaction = new.transaction()?;
    let tables = names(
        &transaction,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'meta'",
    )?;
    for table in tables {
        let wanted = columns_of(&transaction, &table)?;
        let Ok(known) = columns_of(old, &table) else { continue };
        let columns: Vec<String> =
            wanted.into_iter().filter(|column| known.contains(column)).collect();
        if !columns.is_empty() {
            copy(old, &transaction, &table, &columns)?;
        }
    }
    // A job without its payload cannot be run.
    transaction.execute(WITHOUT_PAYLOAD, ())?;
    transaction.execute("DELETE FROM payloads WHERE id NOT IN (SELECT id FROM jobs)", ())?;
    let reserved = match meta(old, "reserved") {
        Some(Value::Integer(reserved)) => reserved,
        _ => handles_lost(),
    };
    transaction.execute("UPDATE meta SET value = ?1 WHERE key = 'reserved'", [reserved])?;
    transaction.commit()
}

/// A number far above all that were given out: nobody made a million jobs each second since 1970.
fn handles_lost() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(LAST_ID / 2)
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    names(connection, &format!("SELECT name FROM pragma_table_info('{table}')"))
}

fn names(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    connection.prepare(sql)?.query_map((), |row| row.get(0))?.collect()
}

/// Copies what can be read of a table, piece by piece, and goes on behind what cannot.
fn copy(
    old: &Connection,
    new: &Connection,
    table: &str,
    columns: &[String],
) -> rusqlite::Result<()> {
    let list = columns.join(", ");
    let marks = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT OR IGNORE INTO {table} ({list}) VALUES ({marks})");
    let mut insert = new.prepare(&insert)?;
    let mut put = |row: &Row<'_>| {
        let values: rusqlite::Result<Vec<Value>> = (0..columns.len()).map(|n| row.get(n)).collect();
        let values = values?;
        let id = values.first().cloned();
        insert.execute(rusqlite::params_from_iter(values))?;
        Ok::<_, rusqlite::Error>(id)
    };
    if columns.first().is_none_or(|first| first != "id") {
        let Ok(mut all) = old.prepare(&format!("SELECT {list} FROM {table}")) else {
            return Ok(());
        };
        let mut rows = all.query(())?;
        while let Ok(Some(row)) = rows.next() {
            put(row)?;
        }
        return Ok(());
    }
    let select = format!("SELECT {list} FROM {table} WHERE id >= ?1 ORDER BY id LIMIT {PIECE_LEN}");
    let Ok(mut select) = old.prepare(&select) else { return Ok(()) };
    let mut from = 0;
    loop {
        let mut rows = select.query([from])?;
        let before = from;
        let mut damaged = false;
        loop {
            match rows.next() {
                Ok(Some(row)) => match put(row)? {
                    Some(Value::Integer(id)) if id >= from => from = id.saturating_add(1),
                    _ => damaged = true,
                },
                Ok(None) => break,
                Err(_) => {
                    damaged = true;
                    break;
                }
            }
        }
        drop(rows);
        // Each piece begins behind the ids before it, so what is out of order does not go round.
        if from > before {
            continue;
        }
        match damaged.then(|| next_readable(old, table, from)).flatten() {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// The first id behind damage at which reading goes on; it is found in steps that double, and then
/// between the last two.
fn next_readable(old: &Connection, table: &str, damaged: i64) -> Option<i64> {
    let sql = format!("SELECT * FROM {table} WHERE id >= ?1 ORDER BY id LIMIT 1");
    let mut select = old.prepare(&sql).ok()?;
    let mut read = |from: i64| {
        let whole = |row: &Row<'_>| {
            let columns = row.as_ref().column_count();
            (0..columns).try_for_each(|n| row.get::<_, Value>(n).map(drop))?;
            row.get::<_, i64>(0)
        };
        select.query_row([from], whole).optional()
    };
    let (mut bad, mut step) = (damaged, 1_i64);
    let mut good = loop {
        let from = damaged.checked_add(step)?;
        if let Ok(found) = read(from) {
            break (from, found?);
        }
        (bad, step) = (from, step.checked_mul(2)?);
    };
    while good.0 - bad > 1 {
        let middle = bad + (good.0 - bad) / 2;
        match read(middle) {
            Ok(Some(found)) => good = (middle, found),
            Ok(None) | Err(_) => bad = middle,
        }
    }
    // A damaged table may answer with what was asked for before.
    Some(good.1).filter(|found| *found > damaged)
}
