//! A typed reader over TOML tables that know their places.
//!
//! A reader asks a [`Table`] for keys one by one. A value that cannot be taken is reported with its
//! place and the reader goes on, so that one pass finds every mistake; a key that nobody asked for
//! is unknown. Environment variables are put in here, so that no reader sees `${VAR}`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use super::error::ConfigError;
use super::expand::Variables;
use super::source::Source;
use super::value::Value;
use super::wrong::{Parsed, Wrong};

/// Names this alike are taken for each other's typing mistake (Jaro-Winkler, 1 is equal).
const SIMILARITY_MIN: f64 = 0.75;

/// Collects mistakes, and the keys that readers know.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: RefCell<Vec<ConfigError>>,
    keys: RefCell<BTreeSet<String>>,
}

/// What the tables of one file share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) source: &'a Source,
    pub(super) variables: &'a Variables,
    pub(super) report: &'a Report,
}

/// A table under its reader.
#[derive(Debug)]
pub(super) struct Table<'a> {
    scope: Scope<'a>,
    /// Its name with those around it; empty for the file itself.
    path: String,
    /// Its place in the file.
    span: Range<usize>,
    /// `None`: the file does not have it, and every key has its default.
    entries: Option<&'a DeTable<'a>>,
    /// Where keys are looked for that it does not have.
    fallback: Option<&'a Table<'a>>,
    asked: RefCell<BTreeSet<&'static str>>,
}

/// Where a key stands, for mistakes that are seen only later.
#[derive(Clone, Debug)]
pub(super) struct Site(ConfigError);

impl Report {
    pub(super) fn add(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }

    /// Each mistake once: those of `main` first, then file by file, in the order of their places.
    pub(super) fn into_errors(self, main: &Path) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by(|a, b| {
            let rank = |error: &ConfigError| (error.file != main, error.place);
            rank(a).0.cmp(&rank(b).0).then_with(|| a.file.cmp(&b.file)).then(a.place.cmp(&b.place))
        });
        // A mistake in [defaults] is met again with each pool.
        errors.dedup();
        errors
    }

    pub(super) fn into_keys(self) -> BTreeSet<String> {
        self.keys.into_inner()
    }
}

impl Site {
    /// What is wrong there.
    pub(super) fn wrong(&self, wrong: Wrong) -> ConfigError {
        ConfigError { problem: wrong.problem, hint: wrong.hint, ..self.0.clone() }
    }
}

impl<'a> Scope<'a> {
    /// Reports a mistake; `span` is where it is unless the mistake knows better.
    pub(super) fn report(&self, key: &str, span: Range<usize>, wrong: Wrong) {
        let span = wrong.span.unwrap_or(span);
        self.report.add(ConfigError {
            file: self.source.name.clone(),
            place: Some(self.source.place(span.start)),
            key: key.to_owned(),
            problem: wrong.problem,
            hint: wrong.hint,
        });
    }

    /// The table that is the file.
    pub(super) fn root(self, entries: &'a DeTable<'a>) -> Table<'a> {
        Table::new(self, String::new(), 0..0, Some(entries))
    }
}

impl<'a> Table<'a> {
    /// Where a key stands, wherever that is; the table itself when it is left out.
    pub(super) fn site(&self, key: &'static str) -> Site {
        let (scope, path, span) = match self.get(key) {
            Some(value) => (value.scope, value.path, value.span),
            None => (self.scope, join(&self.path, key), self.span.clone()),
        };
        Site(ConfigError {
            file: scope.source.name.clone(),
            place: Some(scope.source.place(span.start)),
            key: path,
            problem: String::new(),
            hint: None,
        })
    }

    pub(super) fn new(
        scope: Scope<'a>,
        path: String,
        span: Range<usize>,
        entries: Option<&'a DeTable<'a>>,
    ) -> Self {
        Self { scope, path, span, entries, fallback: None, asked: RefCell::default() }
    }

    /// The same, with mistakes of the whole told at another place.
    pub(super) fn at(mut self, span: Range<usize>) -> Self {
        self.span = span;
        self
    }

    /// The same, with keys that it lacks taken from another table.
    pub(super) fn or(mut self, fallback: &'a Table<'a>) -> Self {
        self.fallback = Some(fallback);
        self
    }

    pub(super) fn scope(&self) -> Scope<'a> {
        self.scope
    }

    /// The folder of the file that holds it.
    pub(super) fn folder(&self) -> &'a Path {
        self.scope.source.folder()
    }

    /// The value of a key, from the fallback if need be.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.own(key).or_else(|| self.fallback?.get(key))
    }

    /// The value of a key in the table itself.
    fn own(&self, key: &'static str) -> Option<Value<'a>> {
        let path = join(&self.path, key);
        self.scope.report.keys.borrow_mut().insert(path.clone());
        self.asked.borrow_mut().insert(key);
        let value = self.entries?.get(key)?;
        Some(Value { scope: self.scope, path, is: value.get_ref(), span: value.span() })
    }

    /// Whether a key stands in the table itself.
    pub(super) fn owns(&self, key: &'static str) -> bool {
        self.own(key).is_some()
    }

    /// Reads a key that may be left out. A value that cannot be taken is reported and left out.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        take: impl FnOnce(&Value<'a>) -> Parsed<T>,
    ) -> Option<T> {
        self.get(key)?.read(take)
    }

    /// A table in it; an empty one when it is left out.
    pub(super) fn table(&self, key: &'static str) -> Table<'a> {
        let absent = || Table::new(self.scope, join(&self.path, key), self.span.clone(), None);
        self.read(key, Value::table).unwrap_or_else(absent)
    }

    /// The tables under a key for which the fallback's one shows through, the fallback's first.
    pub(super) fn layers(&self, key: &'static str) -> Vec<Table<'a>> {
        let under = self.fallback.and_then(|fallback| fallback.own(key));
        under.into_iter().chain(self.own(key)).filter_map(|v| v.read(Value::table)).collect()
    }

    /// Every entry, for tables whose keys are the user's own: none of them is unknown.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, Value<'a>)> {
        let entries = self.entries.into_iter().flat_map(DeTable::iter);
        entries.map(|(key, value)| {
            let path = join(&self.path, key.get_ref());
            let found = Value { scope: self.scope, path, is: value.get_ref(), span: value.span() };
            (key.get_ref().as_ref(), key.span(), found)
        })
    }

    /// Reports a mistake of the table as a whole, or of a key that it lacks.
    pub(super) fn wrong(&self, key: &str, wrong: Wrong) {
        self.scope.report(&join(&self.path, key), self.span.clone(), wrong);
    }

    /// Reports a mistake of one of the entries.
    pub(super) fn wrong_entry(&self, key: &str, span: Range<usize>, wrong: Wrong) {
        self.scope.report(&join(&self.path, key), span, wrong);
    }

    /// Reports a mistake at the value of a key, wherever that value stands.
    pub(super) fn wrong_at(&self, key: &'static str, wrong: Wrong) {
        match self.get(key) {
            Some(value) => value.scope.report(&value.path, value.span, wrong),
            None => self.wrong(key, wrong),
        }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, span, value) in self.entries() {
            if !asked.contains(key) {
                let wrong = Wrong::new("unknown key").hint(meant(key, asked.iter().copied()));
                self.scope.report(&value.path, span, wrong);
            }
        }
    }
}

/// What to say about a name that is none of these.
pub(super) fn meant<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let alike = |known: &'n str| (strsim::jaro_winkler(name, known), known);
    let nearest = known.clone().map(alike).max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((likeness, nearest)) if likeness >= SIMILARITY_MIN => {
            format!("did you mean {nearest}?")
        }
        _ => {
            let known: Vec<_> = known.collect();
            format!("use {}", known.join(", "))
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() || key.is_empty() { format!("{path}{key}") } else { format!("{path}.{key}") }
}
