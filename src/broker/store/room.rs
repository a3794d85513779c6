//! Giving the disk back what ended jobs have left empty.
//!
//! SQLite fills the empty pages of its file again and never makes it shorter. That is right until
//! the disk is full: then they are the room that is missing.

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;
use rusqlite::Connection;

use super::StoreError;
use super::schema::{BUSY_TIMEOUT, empty_log, explain};

/// Makes the file shorter if that gives back at least `worth` bytes, and the log empty.
///
/// What is left in use is written anew, through memory and the log: it must be little enough for
/// that. Nothing is waited for; commits wait for this.
pub(super) fn give_back(
    connection: &Connection,
    path: &Path,
    worth: u64,
) -> Result<(), StoreError> {
    let wrong = |error| explain(path, error);
    connection.busy_timeout(Duration::ZERO).map_err(wrong)?;
    let given = try_to_give_back(connection, path, worth);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(wrong)?;
    given
}

fn try_to_give_back(connection: &Connection, path: &Path, worth: u64) -> Result<(), StoreError> {
    let wrong = |error| explain(path, error);
    let number = |pragma| {
        let value = connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        value.map(i64::cast_unsigned)
    };
    empty_log(connection, path)?;
    let page_len = number("page_size").map_err(wrong)?;
    let empty = number("freelist_count").map_err(wrong)?;
    let used = number("page_count").map_err(wrong)?.saturating_sub(empty);
    let used_len = used * page_len;
    if empty * page_len < worth || used_len > worth || 2 * used_len > room(path)? {
        return Ok(());
    }
    // A file for what is in use would need room as well.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(wrong)?;
    let shrunk = connection.execute_batch("VACUUM");
    connection.pragma_update(None, "temp_store", "DEFAULT").map_err(wrong)?;
    shrunk.map_err(wrong)?;
    empty_log(connection, path)
}

/// What is left on the disk for us; some file systems keep a part for root.
fn room(path: &Path) -> Result<u64, StoreError> {
    let found = statvfs(path)
        .map_err(|error| StoreError::Open { path: path.to_owned(), source: error.into() })?;
    let blocks = if geteuid().is_root() { found.blocks_free() } else { found.blocks_available() };
    Ok(blocks * found.fragment_size())
}
