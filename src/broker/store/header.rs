//! A store whose first page is damaged: a copy of it with a page that can be read.
//!
//! Without its header SQLite takes the file for none of its own. That it is ours shows when its
//! tables can be read below a header, or a first page, of a new store: all stores of a format have
//! them in the same places.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::StoreError;
use super::salvage::with_suffix;
use super::schema::{connect, connect_to_read, draft, explain};

const PAGE_LEN: usize = 4096;
const HEADER_LEN: usize = 100;
/// Where the header tells how many pages there are, and which of them are free.
const PAGES_AT: std::ops::Range<usize> = 28..32;
const FREE_AT: std::ops::Range<usize> = 32..40;

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
        if is_ours(&copy) {
            return Ok(Some(copy));
        }
    }
    remove(&copy).map_err(opening)?;
    Ok(None)
}

/// Removes a copy and what SQLite put beside it.
pub(super) fn remove(copy: &Path) -> io::Result<()> {
    for part in ["", "-wal", "-shm"] {
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

fn is_ours(copy: &Path) -> bool {
    let prefix = |connection: Connection| {
        let sql = "SELECT value FROM meta WHERE key = 'handle_prefix'";
        connection.query_row(sql, (), |row| row.get::<_, String>(0)).ok()
    };
    connect_to_read(copy).ok().and_then(prefix).is_some()
}
