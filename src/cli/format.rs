//! How durations, sizes, numbers and times read to people. The only place that decides it.

const KILO: f64 = 1000.0;
const SIZE_UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

/// Seconds as `120 ms`, `4.2 s`, `42 s`, `3m 12s`, `3h 12m`, `5d 3h`.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * KILO);
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and a cast stops at the largest number"
    )]
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes}m {}s", whole % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        (_, _, _) => format!("{days}d {}h", hours % 24),
    }
}

/// Bytes as `512 B`, `1.5 kB`, `84 MB`, `12 GB`; a kilo is a thousand.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut units = SIZE_UNITS.iter().peekable();
    while let Some(unit) = units.next() {
        if amount < 999.5 || units.peek().is_none() {
            let decimals = usize::from(amount < 9.95 && *unit != "B");
            return format!("{amount:.decimals$} {unit}");
        }
        amount /= KILO;
    }
    format!("{bytes} B")
}

/// `1,234,567`
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 worker`, `1,234 workers`
pub(super) fn counted(value: usize, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(value as u64))
}

/// An RFC 3339 time as `14:02:11` when it is of `today` (`2026-11-24`), else with its date.
pub(super) fn clock(rfc3339: &str, today: &str) -> String {
    let Some((date, time)) = rfc3339.split_once('T') else { return rfc3339.to_owned() };
    let time: String = time.chars().take("14:02:11".len()).collect();
    if date == today { time } else { format!("{date} {time}") }
}

/// Bounds as `4` or `1..4`.
pub(super) fn bounds(min: u32, max: u32) -> String {
    if min == max { min.to_string() } else { format!("{min}..{max}") }
}

/// How much of how much, as `30%`.
pub(super) fn percent(done: u32, all: u32) -> String {
    if all == 0 {
        return format!("{done} of 0");
    }
    format!("{}%", u64::from(done) * 100 / u64::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_at_a_glance() {
        for (seconds, text) in [
            (0.0, "0 ms"),
            (0.1204, "120 ms"),
            (0.9999, "1.0 s"),
            (4.21, "4.2 s"),
            (9.96, "10 s"),
            (42.4, "42 s"),
            (59.7, "1m 0s"),
            (192.0, "3m 12s"),
            (11_520.0, "3h 12m"),
            (442_800.0, "5d 3h"),
            (-1.0, "0 ms"),
            (f64::NAN, "0 ms"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (512, "512 B"),
            (1_500, "1.5 kB"),
            (84_300_000, "84 MB"),
            (999_900, "1.0 MB"),
            (12_000_000_000, "12 GB"),
            (5_000_000_000_000_000, "5000 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        for (value, text) in [(0, "0"), (999, "999"), (1_234, "1,234"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), text);
        }
        assert_eq!(counted(1, "line"), "1 line");
        assert_eq!(counted(1_234, "line"), "1,234 lines");
    }

    #[test]
    fn a_time_of_today_needs_no_date() {
        let time = "2026-11-24T14:02:11.250+01:00";
        assert_eq!(clock(time, "2026-11-24"), "14:02:11");
        assert_eq!(clock(time, "2026-11-25"), "2026-11-24 14:02:11");
        assert_eq!(clock("never", "2026-11-25"), "never");
    }

    #[test]
    fn shares_and_bounds() {
        assert_eq!(percent(3, 10), "30%");
        assert_eq!(percent(3, 0), "3 of 0");
        assert_eq!((bounds(2, 2), bounds(1, 4)), ("2".to_owned(), "1..4".to_owned()));
    }
}
