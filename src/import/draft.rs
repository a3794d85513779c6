//! The file that comes out: tables of keys, with comments for what has no equal.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::ini::Entry;
use super::{ImportError, Place};

/// Longest name of a pool.
const POOL_NAME_LEN_MAX: usize = 64;

/// What a file became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The text of a `workers.toml`.
    pub toml: String,
    /// How many pools it has.
    pub pools: usize,
    /// How many workers they have.
    pub workers: u32,
    /// What to know about it: first of the whole, then table by table.
    pub notes: Vec<Note>,
}

/// Something that has no equal, or that has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stood.
    pub place: Place,
    /// What, and why.
    pub text: String,
}

/// A file in the making.
#[derive(Debug)]
pub(super) struct Draft {
    head: String,
    tables: Vec<Block>,
    notes: Vec<Note>,
    names: BTreeSet<String>,
}

/// `[header]` with keys.
#[derive(Debug, Default)]
pub(super) struct Block {
    header: String,
    notes: Vec<Note>,
    entries: Vec<(String, String)>,
    workers: Option<u32>,
}

impl Draft {
    pub(super) fn new(head: String) -> Self {
        Self { head, tables: Vec::new(), notes: Vec::new(), names: BTreeSet::new() }
    }

    /// A remark on the whole.
    pub(super) fn note(&mut self, place: &Place, text: impl Into<String>) {
        self.notes.push(Note { place: place.clone(), text: text.into() });
    }

    pub(super) fn add(&mut self, block: Block) {
        self.tables.push(block);
    }

    /// A name for a pool that is allowed and not taken, near to the one that it had.
    pub(super) fn pool_name(&mut self, wanted: &str) -> String {
        let mut name = plain_name(wanted);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            name.insert(0, '_');
        }
        name.truncate(POOL_NAME_LEN_MAX);
        let mut free = name.clone();
        for number in 2_u32.. {
            // `all` is everybody to the commands.
            if free != "all" && self.names.insert(free.clone()) {
                break;
            }
            let end = format!("_{number}");
            name.truncate(POOL_NAME_LEN_MAX - end.len());
            free = format!("{name}{end}");
        }
        free
    }

    pub(super) fn finish(self) -> Translation {
        let mut toml = self.head;
        for note in &self.notes {
            comment(&mut toml, note);
        }
        let mut notes = self.notes;
        let (mut pools, mut workers) = (0, 0_u32);
        for block in self.tables {
            if let Some(count) = block.workers {
                pools += 1;
                workers = workers.saturating_add(count);
            }
            toml.push('\n');
            for note in &block.notes {
                comment(&mut toml, note);
            }
            toml.push_str(&format_block(&block));
            notes.extend(block.notes);
        }
        Translation { toml, pools, workers, notes }
    }
}

impl Block {
    pub(super) fn new(header: impl Into<String>) -> Self {
        Self { header: header.into(), ..Self::default() }
    }

    /// `[pool.NAME]` of so many workers.
    pub(super) fn pool(name: &str, count: u32) -> Self {
        let header = format!("pool.{}", key(name));
        let entries =
            if count == 1 { Vec::new() } else { vec![("count".into(), count.to_string())] };
        Self { header, entries, workers: Some(count), notes: Vec::new() }
    }

    /// A key with a value as TOML writes it.
    pub(super) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.entries.push((key.to_owned(), value.into()));
    }

    pub(super) fn set_text(&mut self, key: &str, value: &str) {
        self.set(key, quoted(value));
    }

    pub(super) fn note(&mut self, place: &Place, text: impl Into<String>) {
        self.notes.push(Note { place: place.clone(), text: text.into() });
    }

    /// Says that a key has no equal, and why.
    pub(super) fn without_equal(&mut self, entry: &Entry, why: &str) {
        self.note(&entry.place, no_equal(entry, why));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.notes.is_empty()
    }
}

/// `priority = 5 has no equal: workers are started together`
pub(super) fn no_equal(entry: &Entry, why: &str) -> String {
    let value = entry.value.split('\n').next().unwrap_or_default();
    format!("{} = {value} has no equal: {why}", entry.key)
}

/// A string as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A list of strings as TOML writes it.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", texts.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// A table in one line.
pub(super) fn inline<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> String {
    let pair = |(name, value): &(K, V)| format!("{} = {}", key(name.as_ref()), value.as_ref());
    format!("{{ {} }}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
}

/// A text in which a dollar is a dollar.
pub(super) fn escaped(text: &str) -> String {
    text.replace("$$", "$$$$").replace("${", "$${")
}

/// A whole number of a key.
pub(super) fn number(entry: &Entry, value: &str) -> Result<u32, ImportError> {
    let wrong =
        || entry.place.wrong(format!("{} = {value} is not a whole number from 0", entry.key));
    value.trim().parse().ok().ok_or_else(wrong)
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A name without what neither pools nor labels may be called.
pub(super) fn plain_name(wanted: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    wanted.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

fn comment(toml: &mut String, note: &Note) {
    for line in format!("{}: {}", note.place, note.text).lines() {
        // A control byte of the old file would make the comment a mistake.
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        writeln!(toml, "# {line}").ok();
    }
}

fn format_block(block: &Block) -> String {
    let mut text = format!("[{}]\n", block.header);
    for (name, value) in &block.entries {
        writeln!(text, "{name} = {value}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pools_are_allowed_and_different() {
        let mut draft = Draft::new(String::new());
        let names = ["a b", "a_b", "all", "-x", &"n".repeat(70), &"n".repeat(70)];
        let names: Vec<_> = names.iter().map(|name| draft.pool_name(name)).collect();
        assert_eq!(&names[..4], ["a_b", "a_b_2", "all_2", "_-x"]);
        assert_eq!(names[4].len(), 64);
        assert_eq!(names[5], format!("{}_2", "n".repeat(62)));
    }

    #[test]
    fn a_dollar_stays_a_dollar() {
        for (text, toml) in [("$1 $x", "$1 $x"), ("${A}", "$${A}"), ("$$", "$$$$")] {
            assert_eq!(escaped(text), toml);
        }
    }
}
