//! How long something has been busy, all its busy parts added up, exact at every moment.

use std::time::{Duration, Instant};

/// A number of busy parts and the sum of the times that each has been busy.
#[derive(Clone, Copy, Debug, Default)]
pub struct BusyClock {
    count: u32,
    total: Duration,
    /// Up to when the total is right; `None` before the first change.
    until: Option<Instant>,
}

impl BusyClock {
    /// One more is busy from now on.
    pub fn start(&mut self, now: Instant) {
        self.total = self.total(now);
        self.until = Some(now);
        self.count += 1;
    }

    /// One is busy no more.
    pub fn stop(&mut self, now: Instant) {
        self.total = self.total(now);
        self.until = Some(now);
        self.count = self.count.saturating_sub(1);
    }

    /// The sum up to now.
    pub fn total(&self, now: Instant) -> Duration {
        let since = self.until.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.total.saturating_add(since.saturating_mul(self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_while_it_is_busy() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut clock = BusyClock::default();
        clock.start(at(10));
        clock.start(at(12));
        clock.stop(at(15));
        assert_eq!(clock.total(at(15)), Duration::from_secs(5 + 3));
        assert_eq!(clock.total(at(20)), Duration::from_secs(5 + 3 + 5));
        clock.stop(at(20));
        assert_eq!(clock.total(at(99)), Duration::from_secs(13));
    }
}
