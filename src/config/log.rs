//! The key `log` of a pool: where its workers' output goes, in which shape, and how long it stays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::LogFormat;
use super::table::{Table, Value};
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
    /// The file; `None` keeps only the recent lines in memory.
    pub file: Option<PathBuf>,
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
}

/// The key as it is written; the pool's name is put in later, as `[defaults]` may have it.
#[derive(Clone, Debug)]
pub(super) struct LogKey {
    file: LogFile,
    settings: LogSettings,
}

#[derive(Clone, Debug)]
enum LogFile {
    /// In the daemon's `log_dir`, named for the pool.
    Default,
    At(PathBuf),
    Nowhere,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            file: None,
            size_max: 10 << 20,
            age_max: None,
            keep: 5,
            total_max: None,
            compress: false,
            format: LogFormat::Text,
        }
    }
}

impl Default for LogKey {
    fn default() -> Self {
        Self { file: LogFile::Default, settings: LogSettings::default() }
    }
}

impl LogKey {
    pub(super) fn read(value: &Value<'_>) -> Parsed<Self> {
        if value.is_table() {
            return value.table().map(|table| of_table(&table));
        }
        let file = match value.flag() {
            Ok(true) => LogFile::Default,
            Ok(false) => LogFile::Nowhere,
            Err(_) => LogFile::At(value.path()?),
        };
        Ok(Self { file, ..Self::default() })
    }

    /// What it means for one pool.
    pub(super) fn of_pool(self, pool: &PoolName, log_dir: &Path) -> LogSettings {
        let file = match self.file {
            LogFile::Default => Some(log_dir.join(format!("{pool}.log"))),
            LogFile::At(path) => Some(path),
            LogFile::Nowhere => None,
        };
        LogSettings { file, ..self.settings }
    }
}

fn of_table(table: &Table<'_>) -> LogKey {
    let formats = [("text", LogFormat::Text), ("raw", LogFormat::Raw), ("json", LogFormat::Json)];
    let format = |value: &Value<'_>| value.parse(|text| one_of(text, &formats));
    let usual = LogSettings::default();
    let key = LogKey {
        file: table.read("file", Value::path).map_or(LogFile::Default, LogFile::At),
        settings: LogSettings {
            size_max: table.read("max_size", size).unwrap_or(usual.size_max),
            age_max: table.read("max_age", age),
            keep: table.read("keep", Value::number).unwrap_or(usual.keep),
            total_max: table.read("max_total", Value::size),
            compress: table.read("compress", Value::flag).unwrap_or(usual.compress),
            format: table.read("format", format).unwrap_or(usual.format),
            ..usual
        },
    };
    table.finish();
    key
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
