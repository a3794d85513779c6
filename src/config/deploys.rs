//! The keys of how a new program reaches a pool's workers.
//!
//! A change of these keys touches no worker; the next roll goes by them.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::table::Table;
use super::value::Value;
use super::wrong::{Parsed, Wrong};

/// How long a canary lives that gets no job.
const ALIVE: Duration = Duration::from_secs(5);

/// The keys of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploys {
    /// How long the first new worker of a roll has to live, unless it does a job before; `None`:
    /// the others do not wait for it.
    pub canary: Option<Duration>,
    /// The files, besides those that the command names, whose change replaces the workers; `None`:
    /// no file does.
    pub watch: Option<Vec<FilePattern>>,
}

/// Files by name: `src/**/*.php`. Relative to the pool's `directory`, as the words of its command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePattern {
    /// What it begins with: `/`, or nothing.
    pub is_absolute: bool,
    /// The parts of the path; with `*` and `?` for any characters, `**` for any folders.
    pub parts: Vec<String>,
}

/// The files that a runner makes workers of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerFiles {
    /// Which.
    pub patterns: Vec<FilePattern>,
    /// Those that are meant by a pattern and left out all the same.
    pub except: Vec<PathBuf>,
}

impl Default for Deploys {
    fn default() -> Self {
        Self { canary: Some(ALIVE), watch: None }
    }
}

impl Deploys {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>) -> Self {
        let usual = Self::default();
        Self {
            canary: table.read("canary", canary).unwrap_or(usual.canary),
            watch: table.read("watch", watch).unwrap_or(usual.watch),
        }
    }

    /// The keys that differ.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let keys = [("canary", self.canary != other.canary), ("watch", self.watch != other.watch)];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

/// `true`, `false`, `"10s"` or `{ alive = "10s" }`.
fn canary(value: &Value<'_>) -> Parsed<Option<Duration>> {
    if value.is_table() {
        let table = value.table()?;
        let alive = table.read("alive", Value::duration).unwrap_or(ALIVE);
        table.finish();
        return Ok(Some(alive));
    }
    match value.flag() {
        Ok(true) => Ok(Some(ALIVE)),
        Ok(false) => Ok(None),
        Err(_) => value.duration().map(Some).map_err(|wrong| {
            let problem = format!("{}, and neither true nor false", wrong.problem);
            Wrong::new(problem).hint("write canary = true, or { alive = \"10s\" }")
        }),
    }
}

/// `true`, `false`, or patterns.
fn watch(value: &Value<'_>) -> Parsed<Option<Vec<FilePattern>>> {
    if !value.is_array() {
        match value.flag() {
            Ok(true) => return Ok(Some(Vec::new())),
            Ok(false) => return Ok(None),
            Err(_) => {}
        }
    }
    value.each(pattern).map(Some)
}

impl FilePattern {
    /// The pattern that a path is.
    pub(super) fn of(path: &Path) -> Self {
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
                Component::ParentDir => parts.push("..".to_owned()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Self { is_absolute: path.is_absolute(), parts }
    }
}

fn pattern(text: &str) -> Parsed<FilePattern> {
    let pattern = FilePattern::of(Path::new(text));
    let parts = &pattern.parts;
    if parts.is_empty() {
        let wrong = Wrong::new(format!("'{text}' names no files below a folder"));
        return Err(wrong.hint("write watch = [\"src/**/*.php\"], or true for the command alone"));
    }
    if let Some(part) = parts.iter().find(|part| part.contains("**") && *part != "**") {
        let wrong = Wrong::new(format!("** stands for whole folders, and not in '{part}'"));
        return Err(wrong.hint("write as in \"src/**/*.php\""));
    }
    Ok(pattern)
}
