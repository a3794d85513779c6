//! What keeps a pool's workers well: when one is ready, when it is started again, when it fails.
//!
//! A change of these keys touches no worker; the next start goes by them.

use std::time::Duration;

use super::health::{self, Liveness, Ready};
use super::recycling::Recycling;
use super::settings::Backoff;
use super::table::Table;
use super::value::Value;
use super::values::one_of;
use super::wrong::{Parsed, Wrong};

const BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(30),
    limit: 3,
    window: Duration::from_mins(10),
};

/// The keys of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct Upkeep {
    /// When a process that ended is started again.
    pub restart: Restart,
    /// Exit codes that are no failure.
    pub exit_codes: Vec<i32>,
    /// Pauses between starts that fail, and when the pool counts as broken.
    pub backoff: Backoff,
    /// Whether the daemon ends when the pool has failed.
    pub essential: bool,
    /// When a process is ready.
    pub ready: Ready,
    /// When a process that was ready is no longer well; `None`: it is not asked.
    pub liveness: Option<Liveness>,
    /// How long a job may take before its worker is killed; `None`: for ever.
    pub job_timeout: Option<Duration>,
    /// What becomes of processes that a worker leaves behind.
    pub strays: Strays,
    /// When a worker that is well is replaced.
    pub recycling: Recycling,
    /// Extra processes that a roll may have; with 0 the old one ends before the new one starts.
    /// `None`: 0 for plain programs, else 1.
    pub surge: Option<u32>,
}

/// What becomes of processes that a worker leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strays {
    /// They are killed.
    Kill,
    /// They are told of.
    Warn,
    /// Nothing.
    Leave,
}

/// When a process that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// In any case.
    Always,
    /// Unless its exit code is one of `exit_codes`.
    Unexpected,
    /// Never.
    Never,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            restart: Restart::Always,
            exit_codes: vec![0],
            backoff: BACKOFF,
            essential: false,
            ready: Ready::default(),
            liveness: None,
            job_timeout: None,
            strays: Strays::Kill,
            recycling: Recycling::default(),
            surge: None,
        }
    }
}

impl Upkeep {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>) -> Self {
        let usual = Self::default();
        Self {
            restart: table.read("restart", restart).unwrap_or(usual.restart),
            exit_codes: table.read("exit_codes", exit_codes).unwrap_or(usual.exit_codes),
            backoff: table.read("backoff", backoff).unwrap_or(usual.backoff),
            essential: table.read("essential", Value::flag).unwrap_or(usual.essential),
            ready: read_ready(table),
            liveness: table.read("liveness", health::liveness),
            job_timeout: table.read("job_timeout", job_timeout),
            strays: table.read("strays", strays).unwrap_or(usual.strays),
            recycling: Recycling::read(table),
            surge: table.read("surge", Value::number),
        }
    }

    /// Refuses what is about jobs in the table of a pool that has none. In `[defaults]` it is for
    /// the others.
    pub(super) fn check_jobless(table: &Table<'_>, plain: &str) {
        for key in ["job_timeout", "max_jobs", "idle_exit"] {
            if table.owns(key) {
                let wrong = Wrong::new(format!("{plain} has no jobs"));
                table.wrong_at(key, wrong.hint("remove it"));
            }
        }
    }

    /// The keys that differ.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("restart", self.restart != other.restart),
            ("exit_codes", self.exit_codes != other.exit_codes),
            ("backoff", self.backoff != other.backoff),
            ("essential", self.essential != other.essential),
            ("ready", self.ready != other.ready),
            ("liveness", self.liveness != other.liveness),
            ("job_timeout", self.job_timeout != other.job_timeout),
            ("strays", self.strays != other.strays),
            ("max_jobs", self.recycling.jobs_max != other.recycling.jobs_max),
            ("max_age", self.recycling.age_max != other.recycling.age_max),
            ("max_rss", self.recycling.rss_max != other.recycling.rss_max),
            ("idle_exit", self.recycling.idle_max != other.recycling.idle_max),
            ("max_recycling", self.recycling.at_once != other.recycling.at_once),
            ("surge", self.surge != other.surge),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

fn read_ready(table: &Table<'_>) -> Ready {
    let timeout = table.read("start_timeout", Value::duration);
    let usual = Ready::default();
    table
        .read("ready", |value| health::ready(value, timeout))
        .unwrap_or_else(|| Ready { timeout: timeout.unwrap_or(usual.timeout), ..usual })
}

fn job_timeout(value: &Value<'_>) -> Parsed<Duration> {
    match value.duration()? {
        timeout if timeout.is_zero() => Err(Wrong::new("no job could be done in no time")
            .hint("write as in \"10m\", or leave the key out")),
        timeout => Ok(timeout),
    }
}

fn restart(value: &Value<'_>) -> Parsed<Restart> {
    let choices = [
        ("always", Restart::Always),
        ("unexpected", Restart::Unexpected),
        ("never", Restart::Never),
    ];
    value.parse(|text| one_of(text, &choices))
}

fn strays(value: &Value<'_>) -> Parsed<Strays> {
    let choices = [("kill", Strays::Kill), ("warn", Strays::Warn), ("leave", Strays::Leave)];
    value.parse(|text| one_of(text, &choices))
}

fn exit_codes(value: &Value<'_>) -> Parsed<Vec<i32>> {
    let codes = value.numbers()?;
    let code = |code: u32| {
        let wrong = || Wrong::new(format!("{code} is not an exit code")).hint("write 0 to 255");
        u8::try_from(code).map(i32::from).ok().ok_or_else(wrong)
    };
    codes.into_iter().map(code).collect()
}

fn backoff(value: &Value<'_>) -> Parsed<Backoff> {
    let table = value.table()?;
    let initial = table.read("initial", Value::duration).unwrap_or(BACKOFF.initial);
    let max = table.read("max", Value::duration).unwrap_or_else(|| initial.max(BACKOFF.max));
    let limit = table.read("limit", Value::number).unwrap_or(BACKOFF.limit);
    let window = table.read("window", Value::duration).unwrap_or(BACKOFF.window);
    table.finish();
    if initial.is_zero() {
        let wrong = Wrong::new("a pause of nothing would start workers in a busy loop");
        return Err(wrong.hint("write initial = \"200ms\" or so"));
    }
    if initial > max {
        return Err(Wrong::new("initial is above max").hint("raise max or lower initial"));
    }
    if limit == 0 {
        let wrong = Wrong::new("limit = 0 would call a pool broken that never failed");
        return Err(wrong.hint("write limit = 3 or so"));
    }
    Ok(Backoff { initial, max, limit, window })
}
