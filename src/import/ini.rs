//! Sections, keys and values, in the dialects of Python's ConfigParser and of PHP.
//!
//! A parser of our own, since no crate keeps the lines for messages and knows both dialects: a
//! comment behind a value needs a blank before it in one and ends at a quote in the other, and only
//! one goes on in indented lines.

use std::path::Path;

use super::{ImportError, Place};

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// ConfigParser as supervisord sets it up.
    Python,
    /// parse_ini_file().
    Php,
}

/// A file, or several as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ini {
    /// In the order of the file; each name once.
    pub(super) sections: Vec<Section>,
}

/// `[name]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    /// Each key once.
    pub(super) entries: Vec<Entry>,
}

/// `key = value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: Place,
}

impl Ini {
    /// Reads a text; `file` is what messages call it.
    pub(super) fn parse(file: &Path, text: &str, dialect: Dialect) -> Result<Self, ImportError> {
        let mut ini = Self::default();
        let mut current: Option<Section> = None;
        let mut indent = None;
        for (line, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let place = Place { file: file.to_owned(), line: line + 1 };
            let depth = text.len() - text.trim_start().len();
            let text = dialect.without_comment(text).trim();
            if text.is_empty() {
                continue;
            }
            if dialect == Dialect::Python && indent.is_some_and(|key| depth > key) {
                let entry = current.as_mut().and_then(|section| section.entries.last_mut());
                if let Some(entry) = entry {
                    entry.value.push('\n');
                    entry.value.push_str(text);
                }
                continue;
            }
            if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                ini.merge(current.take());
                current = Some(Section { name: name.to_owned(), place, entries: Vec::new() });
                indent = None;
                continue;
            }
            let Some(section) = &mut current else {
                return Err(place.wrong("a key before the first section"));
            };
            let entry = dialect.entry(text, place)?;
            section.entries.retain(|other| other.key != entry.key);
            section.entries.push(entry);
            indent = Some(depth);
        }
        ini.merge(current);
        Ok(ini)
    }

    /// Adds the sections of another file; its keys replace those of the same section.
    pub(super) fn append(&mut self, other: Self) {
        for section in other.sections {
            self.merge(Some(section));
        }
    }

    /// Puts what is in `[HOST:NAME]` into `[NAME]`, which it goes before, for this host.
    pub(super) fn settle_hosts(&mut self, host: &str) {
        let mut own = Vec::new();
        self.sections.retain_mut(|section| {
            let name = section.name.strip_prefix(host).and_then(|name| name.strip_prefix(':'));
            let Some(name) = name.map(str::to_owned).filter(|_| !host.is_empty()) else {
                return true;
            };
            own.push(Section { name, ..section.clone() });
            false
        });
        self.append(Self { sections: own });
    }

    /// Puts a text in place of another one, in all values.
    pub(super) fn replace(&mut self, from: &str, to: &str) {
        for entry in self.sections.iter_mut().flat_map(|section| &mut section.entries) {
            if entry.value.contains(from) {
                entry.value = entry.value.replace(from, to);
            }
        }
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Sections `[kind:name]`, with their names.
    pub(super) fn of_kind<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Section)> {
        self.sections.iter().filter_map(move |section| {
            let name = section.name.strip_prefix(kind)?.strip_prefix(':')?;
            Some((name.trim(), section))
        })
    }

    fn merge(&mut self, section: Option<Section>) {
        let Some(section) = section else { return };
        match self.sections.iter_mut().find(|other| other.name == section.name) {
            Some(known) => {
                known.entries.retain(|old| section.entries.iter().all(|new| new.key != old.key));
                known.entries.extend(section.entries);
            }
            None => self.sections.push(section),
        }
    }
}

impl Section {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Dialect {
    fn without_comment(self, line: &str) -> &str {
        if line.trim_start().starts_with(['#', ';']) {
            return "";
        }
        let mut quote = None;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            let begins = match self {
                Self::Python => matches!(c, ';' | '#') && before.is_whitespace(),
                Self::Php => c == ';' && quote.is_none(),
            };
            if begins {
                return line.get(..at).unwrap_or_default();
            }
            match quote {
                Some(open) if open == c => quote = None,
                None if matches!(c, '"' | '\'') => quote = Some(c),
                Some(_) | None => {}
            }
            before = c;
        }
        line
    }

    fn entry(self, text: &str, place: Place) -> Result<Entry, ImportError> {
        let marks: &[char] = match self {
            Self::Python => &['=', ':'],
            Self::Php => &['='],
        };
        let Some((key, value)) = text.split_once(marks) else {
            return Err(place.wrong(format!("'{text}' is neither [SECTION] nor KEY = VALUE")));
        };
        let (key, value) = (key.trim(), value.trim());
        Ok(match self {
            Self::Python => Entry { key: key.to_ascii_lowercase(), value: value.to_owned(), place },
            Self::Php => Entry { key: key.to_owned(), value: php_value(value), place },
        })
    }
}

/// What parse_ini_file() makes of a value.
fn php_value(text: &str) -> String {
    for quote in ['"', '\''] {
        let inside = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
        if let Some(inside) = inside {
            return inside.to_owned();
        }
    }
    match text.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" => "1".to_owned(),
        "off" | "no" | "false" | "none" | "null" => String::new(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: Dialect, text: &str, expected: &[(&str, &str, &str)]) {
        let ini = Ini::parse(Path::new("x.ini"), text, dialect).unwrap();
        let found: Vec<_> = ini
            .sections
            .iter()
            .flat_map(|section| section.entries.iter().map(move |entry| (section, entry)))
            .map(|(section, entry)| (&*section.name, &*entry.key, &*entry.value))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn pythons_values_go_on_in_indented_lines_and_comments_need_a_blank() {
        check(
            Dialect::Python,
            "; c\n[program:a]\nCommand = x;y 'p ; q'\nenvironment=A=\"1\", ; one\n  # c\n\n   B=2\n\
             user:root # who\n[b]\nx=1\n[program:a]\nuser=me\n",
            &[
                ("program:a", "command", "x;y 'p"),
                ("program:a", "environment", "A=\"1\",\nB=2"),
                ("program:a", "user", "me"),
                ("b", "x", "1"),
            ],
        );
    }

    #[test]
    fn phps_values_may_be_quoted_and_words() {
        check(
            Dialect::Php,
            "[GearmanManager]\nprefix=\"a;b\" ; c\nauto_update = On\ndaemon=false;c\n  host = h:1\n",
            &[
                ("GearmanManager", "prefix", "a;b"),
                ("GearmanManager", "auto_update", "1"),
                ("GearmanManager", "daemon", ""),
                ("GearmanManager", "host", "h:1"),
            ],
        );
    }

    #[test]
    fn a_line_that_is_nothing_has_its_place() {
        for (text, message) in [
            ("x = 1", "x.ini:1: a key before the first section"),
            ("[a]\n\nx", "x.ini:3: 'x' is neither [SECTION] nor KEY = VALUE"),
        ] {
            let error = Ini::parse(Path::new("x.ini"), text, Dialect::Python).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
