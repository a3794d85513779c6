//! When something that recurs is due, by a clock that may be set: pure.
//!
//! Times that pass while the daemon does not run are missed, as cron misses them. Several that pass
//! between two looks, since the host slept or the clock was set forward, are one. Where the clock is
//! set back by up to an hour, nothing comes twice; further back, all is reckoned anew. What becomes of
//! times that do not exist or exist twice is said in [`CronTimes`].

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::CronTimes;

/// Set back by more, a clock was wrong before.
const SET_BACK_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The next of the times that recur.
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    /// The latest moment that was seen.
    seen: Timestamp,
    next: Option<Timestamp>,
}

impl Alarm {
    pub(super) fn new(times: &CronTimes, zone: &TimeZone, now: Timestamp) -> Self {
        Self { seen: now, next: times.next_after(now, zone) }
    }

    /// The time that has come, if one has; the next is reckoned.
    pub(super) fn ring(
        &mut self,
        times: &CronTimes,
        zone: &TimeZone,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.seen.duration_since(now) > SET_BACK_MAX {
            *self = Self::new(times, zone, now);
            return None;
        }
        self.seen = self.seen.max(now);
        let due = self.next.filter(|next| *next <= now)?;
        self.next = times.next_after(now, zone);
        Some(due)
    }

    /// The next time; nothing when none ever comes.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rings at each of the moments, and shows which times were due.
    fn check(times: &str, begun: &str, steps: &[(&str, Option<&str>)]) {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let times: CronTimes = times.parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut alarm = Alarm::new(&times, &zone, at(begun));
        for (now, due) in steps {
            assert_eq!(alarm.ring(&times, &zone, at(now)), due.map(at), "{times} at {now}");
        }
    }

    #[test]
    fn each_time_is_due_once() {
        check(
            "*/5 * * * *",
            "2026-11-24T08:04:59+01:00",
            &[
                ("2026-11-24T08:04:59.9+01:00", None),
                ("2026-11-24T08:05:00+01:00", Some("2026-11-24T08:05:00+01:00")),
                ("2026-11-24T08:05:00.1+01:00", None),
                ("2026-11-24T08:10:03+01:00", Some("2026-11-24T08:10:00+01:00")),
            ],
        );
    }

    #[test]
    fn times_that_pass_together_are_one() {
        let slept = [
            ("2026-11-24T11:02:00+01:00", Some("2026-11-24T08:05:00+01:00")),
            ("2026-11-24T11:04:00+01:00", None),
            ("2026-11-24T11:05:00+01:00", Some("2026-11-24T11:05:00+01:00")),
        ];
        check("*/5 * * * *", "2026-11-24T08:04:59+01:00", &slept);
    }

    #[test]
    fn a_clock_that_is_set_back_repeats_nothing_unless_it_was_wrong() {
        let begun = "2026-11-24T08:04:59+01:00";
        let due = ("2026-11-24T08:05:00+01:00", Some("2026-11-24T08:05:00+01:00"));
        let a_little = [
            due,
            ("2026-11-24T07:40:00+01:00", None),
            ("2026-11-24T08:05:00+01:00", None),
            ("2026-11-24T08:10:00+01:00", Some("2026-11-24T08:10:00+01:00")),
        ];
        check("*/5 * * * *", begun, &a_little);
        let far = [
            due,
            ("2026-11-23T08:00:00+01:00", None),
            ("2026-11-23T08:05:00+01:00", Some("2026-11-23T08:05:00+01:00")),
        ];
        check("*/5 * * * *", begun, &far);
    }

    #[test]
    fn a_time_in_the_gap_comes_late_and_one_in_the_double_hour_once() {
        let gap = [
            ("2026-03-29T01:59:00+01:00", None),
            ("2026-03-29T03:29:00+02:00", None),
            ("2026-03-29T03:30:00+02:00", Some("2026-03-29T03:30:00+02:00")),
            ("2026-03-30T02:30:00+02:00", Some("2026-03-30T02:30:00+02:00")),
        ];
        check("30 2 * * *", "2026-03-28T12:00:00+01:00", &gap);
        let double = [
            ("2026-10-25T02:30:00+02:00", Some("2026-10-25T02:30:00+02:00")),
            ("2026-10-25T02:30:00+01:00", None),
            ("2026-10-26T02:30:00+01:00", Some("2026-10-26T02:30:00+01:00")),
        ];
        check("30 2 * * *", "2026-10-24T12:00:00+02:00", &double);
    }
}
