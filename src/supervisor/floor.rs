//! What `min_at` makes of a pool's min at a moment: pure.

use jiff::{SignedDuration, Timestamp};

use crate::config::MinAt;

/// Times within one length that are looked at; they only tell when it is over.
const TIMES_MAX: usize = 1000;

/// A pool's raised min, and when to look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) raised: Option<Raised>,
    /// When something begins or ends.
    pub(super) next: Option<Timestamp>,
}

/// A min above the file's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raised {
    pub(super) min: u32,
    pub(super) until: Timestamp,
}

impl Floor {
    pub(super) fn at(entries: &[MinAt], now: Timestamp) -> Self {
        let mut floor = Self::default();
        for entry in entries {
            let next = match under_way(entry, now) {
                Some(until) => {
                    let raised = Raised { min: entry.min, until };
                    let is_higher = |other: Raised| (raised.min, until) > (other.min, other.until);
                    if floor.raised.is_none_or(is_higher) {
                        floor.raised = Some(raised);
                    }
                    Some(until)
                }
                None => entry.times.next_after(now, &entry.zone),
            };
            floor.next = [floor.next, next].into_iter().flatten().min();
        }
        floor
    }

    /// The raised min.
    pub(super) fn min(&self) -> u32 {
        self.raised.map_or(0, |raised| raised.min)
    }
}

/// Until when an entry holds, if it does.
fn under_way(entry: &MinAt, now: Timestamp) -> Option<Timestamp> {
    let length = SignedDuration::try_from(entry.length).ok()?;
    let mut begun = entry.times.next_after(now.checked_sub(length).ok()?, &entry.zone)?;
    if begun > now {
        return None;
    }
    for _ in 0..TIMES_MAX {
        match entry.times.next_after(begun, &entry.zone) {
            Some(later) if later <= now => begun = later,
            Some(_) | None => break,
        }
    }
    begun.checked_add(length).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;

    use super::*;

    fn entry(times: &str, hours: u64, min: u32) -> MinAt {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        MinAt { times: times.parse().unwrap(), zone, length: Duration::from_hours(hours), min }
    }

    fn check(entries: &[MinAt], cases: &[(&str, u32, &str)]) {
        for (now, min, next) in cases {
            let floor = Floor::at(entries, now.parse().unwrap());
            assert_eq!((floor.min(), floor.next), (*min, next.parse().ok()), "{now}");
        }
    }

    #[test]
    fn the_min_is_raised_from_a_time_on_for_so_long() {
        // A Friday and the Monday after it.
        check(
            &[entry("0 8 * * 1-5", 10, 8)],
            &[
                ("2026-11-27T07:59:59+01:00", 0, "2026-11-27T08:00:00+01:00"),
                ("2026-11-27T08:00:00+01:00", 8, "2026-11-27T18:00:00+01:00"),
                ("2026-11-27T17:59:59+01:00", 8, "2026-11-27T18:00:00+01:00"),
                ("2026-11-27T18:00:00+01:00", 0, "2026-11-30T08:00:00+01:00"),
            ],
        );
    }

    #[test]
    fn of_several_the_highest_counts_and_each_end_is_looked_at() {
        check(
            &[entry("0 8 * * *", 10, 4), entry("0 12 * * *", 2, 9)],
            &[
                ("2026-11-24T09:00:00+01:00", 4, "2026-11-24T12:00:00+01:00"),
                ("2026-11-24T12:30:00+01:00", 9, "2026-11-24T14:00:00+01:00"),
                ("2026-11-24T14:00:00+01:00", 4, "2026-11-24T18:00:00+01:00"),
            ],
        );
        check(&[], &[("2026-11-24T09:00:00+01:00", 0, "")]);
    }

    #[test]
    fn a_length_is_one_of_time_not_of_the_clock() {
        // At 03:00 the clocks are set back to 02:00.
        check(
            &[entry("0 1 * * *", 3, 2)],
            &[("2026-10-25T02:30:00+01:00", 2, "2026-10-25T03:00:00+01:00")],
        );
    }
}
