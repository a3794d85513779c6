//! Giving the disk back what ended jobs have left empty.
//!
//! SQLite fills the empty pages of its file again and never makes it shorter. That is right until
//! the disk is full: then they are the room that is missing.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use rusqlite::Connection;

use super::StoreError;
use super::schema::{empty_log, explain};

/// Makes the file shorter if that gives back at least `worth` bytes, and the log empty.
///
/// What is left in use is written anew, to the log first: it must be little enough for that.
pub(super) fn give_back(
    connection: &Connection,
    path: &Path,
    worth: u64,
) -> Result<(), StoreError> {
    let wrong = |error| explain(path, error);
    let number = |pragma| {
        let value = connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        value.map(i64::cast_unsigned)
    };
    empty_log(connection, path)?;
    let page_len = number("page_size").map_err(wrong)?;
    let empty = number("freelist_count").map_err(wrong)?;
    let used = number("page_count").map_err(wrong)?.saturating_sub(empty);
    if empty * page_len < worth || 2 * used * page_len > room(path)? {
        return Ok(());
    }
    // What is in use is small, and a file for it would need room as well.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(wrong)?;
    let shrunk = connection.execute_batch("VACUUM");
    connection.pragma_update(None, "temp_store", "DEFAULT").map_err(wrong)?;
    shrunk.map_err(wrong)?;
    empty_log(connection, path)
}

/// What is left on the disk for who is not root.
fn room(path: &Path) -> Result<u64, StoreError> {
    let found = statvfs(path)
        .map_err(|error| StoreError::Open { path: path.to_owned(), source: error.into() })?;
    Ok(found.blocks_available() * found.fragment_size())
}
