//! The keys that relate a pool to others: `labels`.

use super::table::{Table, Value};
use super::wrong::{Parsed, Wrong};

/// Longest label; it is typed.
const LABEL_LEN_MAX: usize = 64;

/// How a pool relates to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Names that it shares with others: `@LABEL` on the command line.
    pub labels: Vec<String>,
}

impl Order {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>) -> Self {
        Self { labels: table.read("labels", labels).unwrap_or_default() }
    }

    /// The keys that differ.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let keys = [("labels", self.labels != other.labels)];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

fn labels(value: &Value<'_>) -> Parsed<Vec<String>> {
    let mut seen: Vec<String> = Vec::new();
    value.each(|label| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if label.is_empty() || label.len() > LABEL_LEN_MAX || !label.chars().all(plain) {
            let wrong = Wrong::new(format!("'{label}' cannot be a label"));
            return Err(wrong.hint("use letters, digits, '_', '-' and '.', at most 64"));
        }
        if seen.iter().any(|other| other == label) {
            return Err(Wrong::new(format!("{label} is listed twice")).hint("remove one"));
        }
        seen.push(label.to_owned());
        Ok(label.to_owned())
    })
}
