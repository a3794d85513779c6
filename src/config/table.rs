//! A typed reader over TOML tables that know their places.
//!
//! A reader asks a [`Table`] for keys one by one. A value that cannot be taken is reported with its
//! place and the reader goes on, so that one pass finds every mistake; a key that nobody asked for
//! is unknown. Environment variables are put in here, so that no reader sees `${VAR}`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::expand::{Variables, expand};
use super::source::Source;
use super::values;
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

/// A value that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    scope: Scope<'a>,
    path: String,
    is: &'a DeValue<'a>,
    span: Range<usize>,
}

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
    fn new(
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

impl<'a> Value<'a> {
    /// Takes the value, or reports why it cannot be taken.
    pub(super) fn read<T>(&self, take: impl FnOnce(&Value<'a>) -> Parsed<T>) -> Option<T> {
        take(self).map_err(|wrong| self.scope.report(&self.path, self.span.clone(), wrong)).ok()
    }

    pub(super) fn is_table(&self) -> bool {
        self.is.is_table()
    }

    pub(super) fn is_text(&self) -> bool {
        self.is.is_str()
    }

    pub(super) fn is_flag(&self) -> bool {
        self.is.is_bool()
    }

    pub(super) fn is_array(&self) -> bool {
        self.is.is_array()
    }

    /// A table, to be read key by key.
    pub(super) fn table(&self) -> Parsed<Table<'a>> {
        let entries = self.is.as_table().ok_or_else(|| {
            self.unfit("a table").hint(format!("write [{}] or {{ KEY = VALUE, … }}", self.path))
        })?;
        Ok(Table::new(self.scope, self.path.clone(), self.span.clone(), Some(entries)))
    }

    /// A string with its variables put in.
    pub(super) fn text(&self) -> Parsed<String> {
        let text = self.is.as_str().ok_or_else(|| match self.is {
            DeValue::Integer(number) => {
                self.unfit("a string").hint(format!("write \"{}\"", number.as_str()))
            }
            _ => self.unfit("a string").hint("write it in quotes"),
        })?;
        expand(text, self.scope.variables)
    }

    /// A string that is turned into something.
    pub(super) fn parse<T>(&self, parse: impl FnOnce(&str) -> Parsed<T>) -> Parsed<T> {
        parse(&self.text()?)
    }

    /// A whole number from 0; a numeric string is one too.
    pub(super) fn number(&self) -> Parsed<u32> {
        match self.is {
            DeValue::Integer(n) => {
                let number = u32::from_str_radix(n.as_str(), n.radix()).ok();
                number.ok_or_else(|| values::no_number(&n.to_string()))
            }
            DeValue::String(_) => self.parse(values::number),
            _ => Err(self.unfit("a whole number").hint("write one without quotes, as in 4")),
        }
    }

    /// A whole number that may have a sign; a numeric string is one too.
    pub(super) fn integer(&self) -> Parsed<i64> {
        let (text, radix) = match self.is {
            DeValue::Integer(n) => (n.as_str().to_owned(), n.radix()),
            DeValue::String(_) => (self.text()?.trim().to_owned(), 10),
            _ => return Err(self.unfit("a whole number").hint("write one, as in -5")),
        };
        i64::from_str_radix(&text, radix).ok().ok_or_else(|| {
            Wrong::new(format!("'{text}' is not a whole number")).hint("write one, as in -5")
        })
    }

    /// A number that may have a sign and a fraction; a numeric string is one too.
    pub(super) fn decimal(&self) -> Parsed<f64> {
        let unfit = || self.unfit("a number").hint("write one, as in 2.0");
        let text = match self.is {
            DeValue::Integer(n) if n.radix() == 10 => n.as_str().to_owned(),
            DeValue::Float(n) => n.as_str().to_owned(),
            DeValue::String(_) => self.text()?,
            _ => return Err(unfit()),
        };
        let number = text.replace('_', "").trim().parse().ok();
        number.filter(|number: &f64| number.is_finite()).ok_or_else(|| {
            Wrong::new(format!("'{text}' is not a number")).hint("write one, as in 2.0")
        })
    }

    /// A list of whole numbers, one number, or a string with commas.
    pub(super) fn numbers(&self) -> Parsed<Vec<u32>> {
        match self.is {
            DeValue::Array(items) => {
                let at = |item: &'a Spanned<DeValue<'a>>| {
                    let value = Value { is: item.get_ref(), span: item.span(), ..self.clone() };
                    value.number().map_err(|wrong| wrong.at(item.span()))
                };
                items.iter().map(at).collect()
            }
            DeValue::String(_) => self.each(values::number),
            _ => Ok(vec![self.number()?]),
        }
    }

    /// `true` or `false`, also as a string.
    pub(super) fn flag(&self) -> Parsed<bool> {
        match self.is {
            DeValue::Boolean(flag) => Ok(*flag),
            DeValue::String(_) => self.parse(values::flag),
            _ => Err(self.unfit("true or false").hint("write true or false")),
        }
    }

    /// A duration such as `"2m 30s"`.
    pub(super) fn duration(&self) -> Parsed<Duration> {
        match self.is {
            DeValue::Integer(number) => Err(Wrong::new("a duration needs its unit")
                .hint(format!("write \"{}s\" for seconds", number.as_str()))),
            _ => self.parse(values::duration),
        }
    }

    /// A number of bytes such as `"64MiB"`.
    pub(super) fn size(&self) -> Parsed<u64> {
        match self.is {
            DeValue::Integer(number) => Err(Wrong::new("a size needs its unit")
                .hint(format!("write \"{}B\", or as in \"64MiB\"", number.as_str()))),
            _ => self.parse(values::size),
        }
    }

    /// Permission bits: an octal string, or a TOML octal number.
    pub(super) fn mode(&self) -> Parsed<u32> {
        match self.is {
            DeValue::Integer(n) if n.radix() == 8 => values::mode(n.as_str()),
            DeValue::Integer(n) => Err(Wrong::new("permission bits are octal")
                .hint(format!("write \"0{}\"", n.as_str().trim_start_matches('0')))),
            _ => self.parse(values::mode),
        }
    }

    /// A path, relative to the file that holds it.
    pub(super) fn path(&self) -> Parsed<PathBuf> {
        let text = self.text()?;
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::new("an empty path").hint("write one, or leave the key out"));
        }
        Ok(self.scope.source.folder().join(text))
    }

    /// A list of paths, or one string with commas, relative to the file that holds it.
    pub(super) fn paths(&self) -> Parsed<Vec<PathBuf>> {
        let paths = self.each(|path| Ok(self.scope.source.folder().join(path)))?;
        if paths.is_empty() {
            return Err(Wrong::new("an empty list").hint("write a path, or leave the key out"));
        }
        Ok(paths)
    }

    /// A list of strings, or one string with commas; each with its place.
    pub(super) fn list(&self) -> Parsed<Vec<(String, Range<usize>)>> {
        match self.is {
            DeValue::Array(items) => items.iter().map(|item| self.item(item)).collect(),
            DeValue::String(_) => {
                let text = self.text()?;
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(items.map(|item| (item.to_owned(), self.span.clone())).collect())
            }
            _ => Err(self.unfit("a list of strings").hint("write [\"…\", \"…\"]")),
        }
    }

    /// A list whose every item is turned into something; the first that cannot be is the mistake.
    pub(super) fn each<T>(&self, mut parse: impl FnMut(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
        let parse_at = |(item, span): (String, _)| parse(&item).map_err(|wrong| wrong.at(span));
        self.list()?.into_iter().map(parse_at).collect()
    }

    /// A string, number or boolean as text, as the environment of a process holds it.
    pub(super) fn scalar(&self) -> Parsed<String> {
        match self.is {
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            _ => self.text(),
        }
    }

    fn item(&self, item: &'a Spanned<DeValue<'a>>) -> Parsed<(String, Range<usize>)> {
        let value = Value { is: item.get_ref(), span: item.span(), ..self.clone() };
        let text = value.text().map_err(|wrong| wrong.at(item.span()))?;
        Ok((text, item.span()))
    }

    fn unfit(&self, wanted: &str) -> Wrong {
        let article = if self.is.type_str().starts_with(['a', 'i']) { "an" } else { "a" };
        Wrong::new(format!("{wanted} is wanted, not {article} {}", self.is.type_str()))
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
