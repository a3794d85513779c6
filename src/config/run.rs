//! How long a pool's workers run, and when: `oneshot`, `cron`, `timezone` and `payload`.

use jiff::tz::TimeZone;

use super::settings::{Count, PoolProtocol};
use super::table::Table;
use super::upkeep::Restart;
use super::value::Value;
use super::wrong::{Parsed, Wrong};
use crate::model::CronTimes;

/// How long workers are to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// For ever.
    #[default]
    Serve,
    /// To their end, once.
    Once,
    /// To their end, whenever it is time.
    OnCall,
}

/// How long workers run, and what happens at which times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSettings {
    /// How long they are to run.
    pub run: Run,
    /// What happens at times.
    pub timetable: Option<Timetable>,
}

/// Something that is done at times.
#[derive(Clone, Debug, PartialEq)]
pub struct Timetable {
    /// When.
    pub times: CronTimes,
    /// By whose clock.
    pub zone: TimeZone,
    /// What.
    pub action: TimedAction,
}

/// What is done at times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimedAction {
    /// The pool's worker runs, unless it runs still.
    Start,
    /// A background job of this function is submitted, unless the one before it has not ended.
    Submit {
        /// Which.
        function: String,
        /// The job's payload.
        payload: String,
    },
}

/// The keys as they stand in the file.
#[derive(Debug)]
pub(super) struct RunKeys {
    oneshot: bool,
    cron: Option<CronTimes>,
    zone: TimeZone,
    payload: Option<String>,
}

impl RunKeys {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>) -> Self {
        Self {
            oneshot: table.read("oneshot", Value::flag).unwrap_or(false),
            cron: table.read("cron", cron),
            zone: table.read("timezone", timezone).unwrap_or_else(TimeZone::system),
            payload: table.read("payload", Value::text),
        }
    }

    /// By whose clock.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The protocol of a pool that names none.
    pub(super) fn usual_protocol(&self, has_jobs: bool) -> PoolProtocol {
        if self.oneshot || self.cron.is_some() && !has_jobs {
            PoolProtocol::None
        } else {
            PoolProtocol::Gearman
        }
    }

    /// What the keys mean for such a pool; what does not go together is reported.
    pub(super) fn settings(
        self,
        table: &Table<'_>,
        protocol: PoolProtocol,
        functions: &[String],
        count: Count,
    ) -> RunSettings {
        let is_plain = protocol == PoolProtocol::None;
        if self.oneshot && !is_plain {
            let wrong = Wrong::new("only a plain program, protocol = \"none\", runs once");
            table.wrong_at("oneshot", wrong.hint("remove one of the two"));
        }
        let run = match (is_plain, &self.cron) {
            (true, Some(_)) => Run::OnCall,
            (true, None) if self.oneshot => Run::Once,
            (_, _) => Run::Serve,
        };
        if run != Run::Serve && !count.is_fixed() {
            let wrong = Wrong::new("a program that runs to its end does not grow");
            table.wrong_at("count", wrong.hint("write a number"));
        }
        if run == Run::OnCall && count.max > 1 {
            let wrong = Wrong::new("with cron there is never more than one run at once");
            table.wrong_at("count", wrong.hint("remove it"));
        }
        if table.owns("payload") && (is_plain || self.cron.is_none()) {
            let wrong = Wrong::new("only the job that cron submits has it");
            table.wrong_at("payload", wrong.hint("remove it"));
        }
        let payload = self.payload.unwrap_or_default();
        let timetable = self.cron.map(|times| {
            let action = match functions {
                _ if is_plain => TimedAction::Start,
                [function] => TimedAction::Submit { function: function.clone(), payload },
                _ => {
                    let wrong = Wrong::new("it is not known which function's job is meant");
                    table.wrong_at(
                        "cron",
                        wrong.hint("list one in functions, in a pool of its own"),
                    );
                    TimedAction::Start
                }
            };
            Timetable { times, zone: self.zone, action }
        });
        RunSettings { run, timetable }
    }
}

impl RunSettings {
    /// When a worker is started again: by default one that runs once after a failure, and one with a
    /// timetable never, since its next time comes. What the defaults say for workers that run for
    /// ever is not meant for these.
    pub(super) fn restart(&self, table: &Table<'_>, restart: Restart) -> Restart {
        let usual = match self.run {
            Run::Serve => return restart,
            Run::Once => Restart::Unexpected,
            Run::OnCall => Restart::Never,
        };
        if restart != Restart::Always {
            return restart;
        }
        if table.owns("restart") {
            let wrong = Wrong::new("what runs to its end is not started again each time");
            table.wrong_at("restart", wrong.hint("write unexpected or never"));
        }
        usual
    }

    /// The keys that differ.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let (times, others) = (self.timetable.as_ref(), other.timetable.as_ref());
        let zones = times.zip(others).map(|(one, other)| one.zone != other.zone);
        let payload = |table: Option<&Timetable>| match &table?.action {
            TimedAction::Submit { payload, .. } => Some(payload.clone()),
            TimedAction::Start => None,
        };
        let payloads = payload(times).zip(payload(others)).map(|(one, other)| one != other);
        let keys = [
            ("payload", payloads == Some(true)),
            ("oneshot", (self.run == Run::Once) != (other.run == Run::Once)),
            ("cron", times.map(|table| &table.times) != others.map(|table| &table.times)),
            ("timezone", zones == Some(true)),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

/// Five fields of crontab(5).
pub(super) fn cron(value: &Value<'_>) -> Parsed<CronTimes> {
    value.parse(|text| {
        text.parse().map_err(|error: crate::model::InvalidCron| {
            match error.to_string().split_once("; ") {
                Some((problem, hint)) => Wrong::new(problem).hint(hint),
                None => Wrong::new(error.to_string()),
            }
        })
    })
}

/// A name of the system's table, or a rule as in TZ.
pub(super) fn timezone(value: &Value<'_>) -> Parsed<TimeZone> {
    value.parse(|text| {
        // A slim container has no table.
        if text == "UTC" {
            return Ok(TimeZone::UTC);
        }
        let zone = TimeZone::get(text).or_else(|_| TimeZone::posix(text));
        zone.ok().filter(|_| !text.is_empty()).ok_or_else(|| {
            Wrong::new(format!("this host knows no time zone '{text}'"))
                .hint("write a name of /usr/share/zoneinfo, as in \"Europe/Berlin\", or \"UTC\"")
        })
    })
}
