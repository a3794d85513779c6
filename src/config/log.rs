//! The key `log` of a pool: where its workers' output goes, in which shape, and how long it stays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::bytes::Regex;

use super::settings::LogFormat;
use super::table::Table;
use super::value::Value;
use super::values::one_of;
use super::wrong::{Parsed, Wrong};
use crate::model::PoolName;

/// Below it a log would be rotated at every other line.
const SIZE_MIN: u64 = 4096;
/// Below it a log would be rotated all the time.
const AGE_MIN: Duration = Duration::from_secs(1);

/// Where a pool's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The place.
    pub target: LogTarget,
    /// Size at which it is rotated, in bytes; `u64::MAX` for never.
    pub size_max: u64,
    /// Age at which it is rotated.
    pub age_max: Option<Duration>,
    /// Rotated files kept beside the current one.
    pub keep: u32,
    /// Bytes of the rotated files together.
    pub total_max: Option<u64>,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// Shape of its lines.
    pub format: LogFormat,
    /// Whether colours and other terminal control stay in the lines.
    pub ansi: bool,
    /// Which lines belong to the one before them.
    pub continuation: Option<Continuation>,
}

/// A place for output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// None: only the recent lines are kept, in memory.
    Nowhere,
    /// A file, rotated.
    File(PathBuf),
    /// The daemon's own standard output.
    Inherit,
    /// The local syslog.
    Syslog,
    /// The journal of systemd.
    Journald,
}

/// How lines are told that belong to the one before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// They begin with a blank, or are empty.
    Indented,
    /// They match this regular expression.
    Matching(String),
}

/// The key as it is written; the pool's name is put in later, as `[defaults]` may have it.
#[derive(Clone, Debug, Default)]
pub(super) struct LogKey {
    /// `None`: in the daemon's `log_dir`, named for the pool.
    target: Option<LogTarget>,
    settings: LogSettings,
}

/// Keys of a file alone.
const FILE_KEYS: [&str; 6] = ["file", "max_size", "max_age", "keep", "max_total", "compress"];

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            target: LogTarget::Nowhere,
            size_max: 10 << 20,
            age_max: None,
            keep: 5,
            total_max: None,
            compress: false,
            format: LogFormat::Text,
            ansi: false,
            continuation: None,
        }
    }
}

impl LogSettings {
    /// Its file, if it goes to one.
    pub fn file(&self) -> Option<&Path> {
        match &self.target {
            LogTarget::File(path) => Some(path),
            LogTarget::Nowhere | LogTarget::Inherit | LogTarget::Syslog | LogTarget::Journald => {
                None
            }
        }
    }
}

impl LogKey {
    pub(super) fn read(value: &Value<'_>) -> Parsed<Self> {
        if value.is_table() {
            return value.table().map(|table| of_table(&table));
        }
        let target = match value.flag() {
            Ok(true) => None,
            Ok(false) => Some(LogTarget::Nowhere),
            Err(_) => match value.parse(|text| Ok(elsewhere(text)))? {
                Some(target) => Some(target),
                None => Some(LogTarget::File(value.path()?)),
            },
        };
        Ok(Self { target, ..Self::default() })
    }

    /// What it means for one pool.
    pub(super) fn of_pool(self, pool: &PoolName, log_dir: &Path) -> LogSettings {
        let usual = || LogTarget::File(log_dir.join(format!("{pool}.log")));
        LogSettings { target: self.target.unwrap_or_else(usual), ..self.settings }
    }
}

fn of_table(table: &Table<'_>) -> LogKey {
    let formats = [("text", LogFormat::Text), ("raw", LogFormat::Raw), ("json", LogFormat::Json)];
    let format = |value: &Value<'_>| value.parse(|text| one_of(text, &formats));
    let usual = LogSettings::default();
    let file = table.read("file", Value::path).map(LogTarget::File);
    let elsewhere = table.read("target", |value| value.parse(target)).flatten();
    let format = table.read("format", format).unwrap_or(usual.format);
    let key = LogKey {
        settings: LogSettings {
            size_max: table.read("max_size", size).unwrap_or(usual.size_max),
            age_max: table.read("max_age", age),
            keep: table.read("keep", Value::number).unwrap_or(usual.keep),
            total_max: table.read("max_total", Value::size),
            compress: table.read("compress", Value::flag).unwrap_or(usual.compress),
            format,
            // Raw means the bytes as they come.
            ansi: table.read("ansi", Value::flag).unwrap_or(format == LogFormat::Raw),
            continuation: table.read("continuation", continuation).flatten(),
            ..usual
        },
        target: elsewhere.clone().or(file),
    };
    check(table, elsewhere.as_ref());
    table.finish();
    key
}

/// Keys that mean nothing to the target are mistakes.
fn check(table: &Table<'_>, elsewhere: Option<&LogTarget>) {
    let Some(target) = elsewhere else { return };
    let has_format = *target != LogTarget::Inherit && table.get("format").is_some();
    let of_file = FILE_KEYS.into_iter().filter(|key| table.get(key).is_some());
    for key in of_file.chain(has_format.then_some("format")) {
        let wrong = Wrong::new("means nothing to this target").hint("remove one of the two");
        table.wrong_at(key, wrong);
    }
}

/// The targets that are no files.
fn elsewhere(text: &str) -> Option<LogTarget> {
    match text {
        "inherit" => Some(LogTarget::Inherit),
        "syslog" => Some(LogTarget::Syslog),
        "journald" => Some(LogTarget::Journald),
        _ => None,
    }
}

/// `None` for a file.
fn target(text: &str) -> Parsed<Option<LogTarget>> {
    let words = ["file", "inherit", "syslog", "journald"];
    one_of(text, &words.map(|word| (word, word))).map(elsewhere)
}

/// `true` for indented lines, or a regular expression.
fn continuation(value: &Value<'_>) -> Parsed<Option<Continuation>> {
    if let Ok(is_on) = value.flag() {
        return Ok(is_on.then_some(Continuation::Indented));
    }
    let pattern = value.text()?;
    match Regex::new(&pattern) {
        Ok(_) => Ok(Some(Continuation::Matching(pattern))),
        Err(error) => {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default().trim().to_owned();
            Err(Wrong::new(format!("'{pattern}' is no regular expression: {last}"))
                .hint("write true for lines that begin with a blank, or a regular expression"))
        }
    }
}

/// `false` for never.
fn size(value: &Value<'_>) -> Parsed<u64> {
    if value.is_flag() && !value.flag()? {
        return Ok(u64::MAX);
    }
    match value.size()? {
        len if len < SIZE_MIN => Err(Wrong::new(format!("{len} bytes are below 4 KiB"))
            .hint("write as in \"10MiB\", or false for no limit")),
        len => Ok(len),
    }
}

fn age(value: &Value<'_>) -> Parsed<Duration> {
    match value.duration()? {
        age if age < AGE_MIN => {
            Err(Wrong::new("is below a second").hint("write as in \"1day\" or \"12h\""))
        }
        age => Ok(age),
    }
}
