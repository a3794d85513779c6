//! One file's text: its places, and what TOML says about its syntax.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, Error};

use super::error::Place;
use super::wrong::Wrong;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Source {
    /// As it was named, for messages.
    pub(super) name: PathBuf,
    /// Absolute; symlinks in it are kept, so that relative paths follow a swap.
    pub(super) path: PathBuf,
    /// Its bytes as text.
    pub(super) text: String,
}

impl Source {
    /// The file's folder, where its relative paths start.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Reads the text as TOML: what could be read, and every mistake of syntax.
    ///
    /// The table is `None` when too little can be trusted for looking at its keys.
    pub(super) fn parse(&self) -> (Option<DeTable<'_>>, Vec<Wrong>) {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let readable = errors.iter().all(lacks_only_quotes);
        let mut wrongs: Vec<_> = errors.iter().map(|error| self.sentence(error)).collect();
        wrongs.sort_by_key(|wrong| wrong.span.clone().unwrap_or_default().start);
        // What follows on the same line is most often the same mistake.
        wrongs.dedup_by_key(|wrong| self.place(wrong.span.clone().unwrap_or_default().start).line);
        (readable.then(|| table.into_inner()), wrongs)
    }

    /// Line and column of a byte.
    pub(super) fn place(&self, offset: usize) -> Place {
        place(self.text.as_bytes(), offset)
    }

    fn sentence(&self, error: &Error) -> Wrong {
        let span = error.span().unwrap_or(0..0);
        let (what, expected) = match error.message().split_once(", expected ") {
            Some((what, expected)) => (what, Some(expected)),
            None => (error.message(), None),
        };
        let found = self.text.get(span.clone()).unwrap_or_default();
        let wrong = match what {
            "string values must be quoted" if found.is_empty() => {
                Wrong::new("a value is missing").hint("write it behind the '='")
            }
            "string values must be quoted" => {
                Wrong::new("text without quotes").hint(format!("write \"{found}\""))
            }
            "duplicate key" => {
                Wrong::new(format!("{found} stands here a second time")).hint("remove one of them")
            }
            "invalid unquoted key" => {
                Wrong::new("a key of other than letters, digits, '_' and '-'")
                    .hint("write it in quotes")
            }
            "key with no value" => Wrong::new("a key without a value").hint("write KEY = VALUE"),
            "invalid basic string" | "invalid literal string" => {
                Wrong::new("a string without its closing quote").hint("add it")
            }
            _ => match expected {
                Some(expected) => Wrong::new(what).hint(format!("write {expected}")),
                None => Wrong::new(what),
            },
        };
        wrong.at(span)
    }
}

/// Takes bytes as text, or says where they are none.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, Place> {
    String::from_utf8(bytes)
        .map_err(|error| place(error.as_bytes(), error.utf8_error().valid_up_to()))
}

/// Line and column of a byte; also of one that is behind the end or inside a character.
fn place(bytes: &[u8], offset: usize) -> Place {
    let before = bytes.get(..offset.min(bytes.len())).unwrap_or_default();
    let lines = before.split(|byte| *byte == b'\n');
    let in_line = String::from_utf8_lossy(lines.clone().next_back().unwrap_or_default());
    Place {
        line: lines.count(),
        // A byte order mark is not seen in an editor.
        column: in_line.chars().filter(|c| *c != '\u{feff}').count() + 1,
    }
}

fn lacks_only_quotes(error: &Error) -> bool {
    error.message().starts_with("string values must be quoted")
        && error.span().is_some_and(|Range { start, end }| start < end)
}
