//! What is wrong with a file: data first, one line of text each.

use std::fmt::{self, Write};
use std::path::PathBuf;

use super::sources::Sources;

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Where in it; `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// The key with its tables, as in `pool.wordcount.count`; empty outside any key.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead, or what to do.
    pub hint: Option<String>,
}

/// A place in a text file; both numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// Every mistake of a file and its includes, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// Never empty.
    pub errors: Vec<ConfigError>,
    /// What was read until then: a mistake may be mended in any of these files.
    pub sources: Sources,
}

impl ConfigErrors {
    /// One line for each mistake.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.errors.iter().map(ToString::to_string).collect()
    }
}

impl std::error::Error for ConfigErrors {}

/// `file:line:column: key: what is wrong; what to write`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", OneLine(&self.file.to_string_lossy()))?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", OneLine(&self.key))?;
        }
        write!(f, ": {}", OneLine(&self.problem))?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {}", OneLine(hint)))
    }
}

/// Text that quotes a file, in which line ends and what a terminal would obey are spelled out.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

/// One line for each mistake.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_and_what_to_write() {
        let mut error = ConfigError {
            file: "workers.toml".into(),
            place: Some(Place { line: 9, column: 1 }),
            key: "pool.wordcount.cuont".to_owned(),
            problem: "unknown key".to_owned(),
            hint: Some("did you mean count?".to_owned()),
        };
        let whole = "workers.toml:9:1: pool.wordcount.cuont: unknown key; did you mean count?";
        assert_eq!(error.to_string(), whole);

        (error.place, error.hint) = (None, None);
        error.key.clear();
        assert_eq!(error.to_string(), "workers.toml: unknown key");
    }

    #[test]
    fn a_value_of_several_lines_is_told_in_one() {
        let error = ConfigError {
            file: "workers.toml".into(),
            place: None,
            key: "broker.listen".to_owned(),
            problem: "'a\nb\u{1b}[2J' is not an address".to_owned(),
            hint: None,
        };
        let line = "workers.toml: broker.listen: 'a\\nb\\u{1b}[2J' is not an address";
        assert_eq!(error.to_string(), line);
    }
}
