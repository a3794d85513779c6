//! Times of log lines as text: RFC 3339 in local time with milliseconds and offset.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Renders times; of two in the same second only the milliseconds are rendered anew.
#[derive(Debug)]
pub(super) struct Stamp {
    zone: TimeZone,
    second: Option<i64>,
    text: String,
}

impl Stamp {
    /// Renders times of `zone`.
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, second: None, text: String::new() }
    }

    /// `2026-11-24T04:10:00.123+01:00`
    pub(super) fn render(&mut self, at: SystemTime) -> &str {
        let time = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
        let second = time.as_second();
        if self.second != Some(second) {
            let local = time.to_zoned_datetime(self.zone.clone());
            self.text = local.strftime("%Y-%m-%dT%H:%M:%S.000%:z").to_string();
            self.second = Some(second);
        }
        let millisecond = format!("{:03}", time.subsec_millisecond().unsigned_abs());
        // Years of four digits are certain: a Timestamp ends in the year 9999, and `try_from`
        // of a clock before the year 0 has fallen back to 1970.
        self.text.replace_range(20..23, &millisecond);
        &self.text
    }
}

/// Reads what [`Stamp::render`] wrote.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_local_with_their_offset_and_read_back() {
        let zone =
            TimeZone::get("Europe/Berlin").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(1)));
        let mut stamp = Stamp::new(zone);
        for (millis, expected) in [
            (123, "2026-11-24T04:10:00.123+01:00"),
            (7, "2026-11-24T04:10:00.007+01:00"),
            (61_000, "2026-11-24T04:11:01.000+01:00"),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_489_800_000 + millis);
            assert_eq!(stamp.render(at), expected);
            assert_eq!(parse(expected), Some(at));
        }
    }
}
