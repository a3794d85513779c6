//! Times that recur, as crontab(5) writes them, and the next of them.
//!
//! Where clocks are set forward, a time in the gap comes as much later as the gap is long; where
//! they are set back, a time comes once, but something for every hour comes in both of the two.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Days that are looked at for the next time; the 29th of February may be eight years away.
const DAYS_MAX: usize = 9 * 366;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Five fields of crontab(5): minute, hour, day of the month, month, day of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronTimes {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Either field of days was given, so that either of them is enough.
    either_day: bool,
}

/// Five fields that name no times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// More or fewer than five.
    #[error(
        "'{0}' has not five fields; write minute hour day month weekday, as in \"0 3 * * mon\""
    )]
    Fields(String),
    /// One of them cannot be read.
    #[error("'{text}' is no {field} from {} to {}; write as in \"5\", \"1-5\", \"*/10\" or \"1,15\"", range.start(), range.end())]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What may stand there.
        range: RangeInclusive<u32>,
    },
}

impl CronTimes {
    /// The first of the times that is after this one; nothing when none ever comes.
    #[must_use]
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = after.as_second();
        let minute = Timestamp::from_second(second - second.rem_euclid(60)).ok()?;
        if self.hours.count_ones() == 24 {
            for step in 1..=60 {
                let at = minute.checked_add(SignedDuration::from_mins(step)).ok()?;
                if self.matches(zone.to_datetime(at)) {
                    return Some(at);
                }
            }
        }
        let mut date = zone.to_datetime(minute).date();
        for _ in 0..DAYS_MAX {
            if self.has_day(date)
                && let Some(at) = self.times_of(date, zone).find(|at| *at > after)
            {
                return Some(at);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn times_of(&self, date: Date, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
        let hours = (0..24_i8).filter(|hour| has(self.hours, *hour));
        let civil = hours.flat_map(move |hour| {
            let minutes = (0..60_i8).filter(|minute| has(self.minutes, *minute));
            minutes.map(move |minute| date.at(hour, minute, 0, 0))
        });
        civil.filter_map(|at| zone.to_ambiguous_timestamp(at).compatible().ok())
    }

    fn matches(&self, at: DateTime) -> bool {
        has(self.minutes, at.minute()) && has(self.hours, at.hour()) && self.has_day(at.date())
    }

    fn has_day(&self, date: Date) -> bool {
        let of_month = has(self.days, date.day());
        let of_week = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let day = if self.either_day { of_month || of_week } else { of_month && of_week };
        day && has(self.months, date.month())
    }
}

impl FromStr for CronTimes {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(InvalidCron::Fields(text.to_owned()));
        };
        let weekdays = field("weekday", weekday, 0..=7, &DAYS)?;
        Ok(Self {
            text: fields.join(" "),
            minutes: field("minute", minute, 0..=59, &[])?,
            hours: field("hour", hour, 0..=23, &[])?,
            days: field("day of the month", day, 1..=31, &[])?,
            months: field("month", month, 1..=12, &MONTHS)?,
            // Sunday is 0 and 7.
            weekdays: weekdays | weekdays >> 7 & 1,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }
}

impl fmt::Display for CronTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

fn has(set: u64, number: i8) -> bool {
    set >> number & 1 == 1
}

/// A list of numbers, ranges and steps, as a set of bits.
fn field(
    name: &'static str,
    text: &str,
    range: RangeInclusive<u32>,
    names: &[&str],
) -> Result<u64, InvalidCron> {
    let wrong = || InvalidCron::Field { field: name, text: text.to_owned(), range: range.clone() };
    let number = |word: &str| {
        let place = names.iter().position(|name| word.eq_ignore_ascii_case(name));
        // Months count from 1, weekdays from 0, as their ranges do.
        let meant = place.and_then(|at| u32::try_from(at).ok()).map(|at| at + range.start());
        meant.or_else(|| word.parse().ok()).filter(|number| range.contains(number))
    };
    let mut set = 0;
    for part in text.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, Some(step.parse::<usize>().or(Err(wrong()))?)),
            None => (part, None),
        };
        let (first, last) = match span.split_once('-') {
            _ if span == "*" => (*range.start(), *range.end()),
            Some((first, last)) => {
                (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?)
            }
            None => {
                let first = number(span).ok_or_else(wrong)?;
                (first, if step.is_some() { *range.end() } else { first })
            }
        };
        let step = step.unwrap_or(1);
        if first > last || step == 0 {
            return Err(wrong());
        }
        set |= (first..=last).step_by(step).fold(0, |set, number| set | 1_u64 << number);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};

    use super::*;

    /// Central European time with its changes of 2026, without the system's table.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn check(times: &str, after: &str, wanted: &[&str]) {
        let times: CronTimes = times.parse().unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        for wanted in wanted {
            at = times.next_after(at, &berlin()).unwrap();
            assert_eq!(at, wanted.parse().unwrap(), "{times}");
        }
    }

    #[test]
    fn the_next_time_is_found() {
        let after = "2026-11-24T08:15:10+01:00";
        for (times, wanted) in [
            ("* * * * *", ["2026-11-24T08:16:00+01:00", "2026-11-24T08:17:00+01:00"]),
            ("*/20 9-10 * * *", ["2026-11-24T09:00:00+01:00", "2026-11-24T09:20:00+01:00"]),
            ("0 3 * * *", ["2026-11-25T03:00:00+01:00", "2026-11-26T03:00:00+01:00"]),
            ("5 4 1,15 * *", ["2026-12-01T04:05:00+01:00", "2026-12-15T04:05:00+01:00"]),
            ("0 0 * jan-feb sun", ["2027-01-03T00:00:00+01:00", "2027-01-10T00:00:00+01:00"]),
            ("0 0 * * 7", ["2026-11-29T00:00:00+01:00", "2026-12-06T00:00:00+01:00"]),
            ("0 12 1 * fri", ["2026-11-27T12:00:00+01:00", "2026-12-01T12:00:00+01:00"]),
            ("0 0 29 feb *", ["2028-02-29T00:00:00+01:00", "2032-02-29T00:00:00+01:00"]),
            ("10/25 * * * *", ["2026-11-24T08:35:00+01:00", "2026-11-24T09:10:00+01:00"]),
        ] {
            check(times, after, &wanted);
        }
        let never: CronTimes = "0 0 30 2 *".parse().unwrap();
        let utc = TimeZone::fixed(Offset::UTC);
        assert_eq!(never.next_after(after.parse().unwrap(), &utc), None);
    }

    #[test]
    fn clocks_that_are_set_lose_and_repeat_nothing() {
        // On 2026-03-29 02:00 becomes 03:00, on 2026-10-25 03:00 becomes 02:00.
        check(
            "30 2 * * *",
            "2026-03-28T12:00:00+01:00",
            &["2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"],
        );
        check(
            "30 2 * * *",
            "2026-10-24T12:00:00+02:00",
            &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        );
        check(
            "0 * * * *",
            "2026-10-25T01:30:00+02:00",
            &[
                "2026-10-25T02:00:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T03:00:00+01:00",
            ],
        );
    }

    #[test]
    fn what_names_no_times_is_told() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1- * * * *",
            "1,,2 * * * *",
        ] {
            assert!(bad.parse::<CronTimes>().is_err(), "{bad}");
        }
        let error = "* 24 * * *".parse::<CronTimes>().unwrap_err().to_string();
        assert!(error.starts_with("'24' is no hour from 0 to 23; write"), "{error}");
    }
}
