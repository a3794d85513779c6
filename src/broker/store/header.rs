//! A store whose first page is damaged: a copy of it with a page that can be read.
//!
//! Without its header SQLite takes the file for none of its own. That it is ours shows when its
//! tables can be read below a header, or a first page, of a new store: stores that were made in one
//! format have them in the same places. Those of an upgraded one may be elsewhere; without its first
//! page it is left alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::salvage::with_suffix;
use super::schema::{FORMAT, FORMAT_FOUND, connect, connect_to_read, draft, explain};

const PAGE_LEN: usize = 4096;
const HEADER_LEN: usize = 100;
/// Where the header tells how many pages there are, and which of them are free.
const PAGES_AT: std::ops::Range<usize> = 28..32;
const FREE_AT: std::ops::Range<usize> = 32..40;

/// Rows that another table's page shows where these tables, and the index, ought to be.
const STRANGERS: [&str; 4] = [
    "SELECT count(*) FROM dead WHERE typeof(at) <> 'integer' OR typeof(cause) <> 'text'
        OR typeof(worker) <> 'text' OR typeof(exit) <> 'text' OR typeof(output) <> 'text'",
    "SELECT count(*) FROM schedules WHERE typeof(function) <> 'blob' OR typeof(uniq) <> 'blob'
        OR typeof(made_at) <> 'integer' OR typeof(times) <> 'text' OR typeof(payload) <> 'blob'",
    "SELECT count(*) FROM paused WHERE typeof(pattern) <> 'text'",
    "SELECT count(*) FROM jobs INDEXED BY jobs_not_normal
        WHERE priority <> 1 AND typeof(priority) <> 'integer'",
];

/// Makes a copy of the file that can be read, if it is a store of ours; `None` when it is not.
pub(super) fn readable_copy(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let opening = |source| StoreError::Open { path: path.to_owned(), source };
    let pages = path.metadata().map_err(opening)?.len() / PAGE_LEN as u64;
    if pages < 2 {
        return Ok(None);
    }
    let model = model_page(path)?;
    let copy = with_suffix(path, ".mended");
    for len in [HEADER_LEN, PAGE_LEN] {
        let Some(page) = model.get(..len) else { continue };
        write_copy(path, &copy, page, pages).map_err(opening)?;
        match is_ours(path, &copy) {
            // Below a header alone, the places of the tables are the file's own.
            Ok(true) if len == HEADER_LEN || has_its_places(&copy) => return Ok(Some(copy)),
            Ok(_) => {}
            Err(error) => {
                remove(&copy).map_err(opening)?;
                return Err(error);
            }
        }
    }
    remove(&copy).map_err(opening)?;
    Ok(None)
}

/// Removes a copy and what SQLite put beside it.
pub(super) fn remove(copy: &Path) -> io::Result<()> {
    for part in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(with_suffix(copy, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The first page of a new store.
fn model_page(path: &Path) -> Result<Vec<u8>, StoreError> {
    let opening = |source| StoreError::Open { path: path.to_owned(), source };
    let model = draft(path, "")?;
    connect(&model)?.close().map_err(|(_, error)| explain(path, error))?;
    let mut page = vec![0; PAGE_LEN];
    let read = File::open(&model).and_then(|mut file| file.read_exact(&mut page));
    read.and_then(|()| remove(&model)).map_err(opening)?;
    Ok(page)
}

/// The file and its log under another name, beginning with `page`.
fn write_copy(path: &Path, copy: &Path, page: &[u8], pages: u64) -> io::Result<()> {
    remove(copy)?;
    // It keeps the permissions.
    fs::copy(path, copy)?;
    match fs::copy(with_suffix(path, "-wal"), with_suffix(copy, "-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut page = page.to_vec();
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    page.splice(PAGES_AT, pages.to_be_bytes());
    page.splice(FREE_AT, [0; 8]);
    OpenOptions::new().write(true).open(copy)?.write_all(&page)
}

/// Whether the store's own words can be read in the copy.
fn is_ours(path: &Path, copy: &Path) -> Result<bool, StoreError> {
    let Ok(copy) = connect_to_read(copy) else { return Ok(false) };
    let sql = "SELECT value FROM meta WHERE key = 'handle_prefix'";
    if copy.query_row(sql, (), |row| row.get::<_, String>(0)).is_err() {
        return Ok(false);
    }
    match copy.query_row(FORMAT_FOUND, (), |row| row.get(0)) {
        Ok(found) if found > FORMAT => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT })
        }
        _ => Ok(true),
    }
}

/// Whether the tables later formats added are where the model has them: an upgraded store may have
/// them in other places, and its dead letters must not come back as waiting jobs.
fn has_its_places(copy: &Path) -> bool {
    let Ok(copy) = connect_to_read(copy) else { return false };
    STRANGERS.iter().all(|strangers| {
        copy.query_row(strangers, (), |row| row.get::<_, i64>(0)).is_ok_and(|count| count == 0)
    })
}
