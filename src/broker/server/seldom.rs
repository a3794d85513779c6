//! Warnings that must not flood the log.

use std::time::{Duration, Instant};

/// Lets one message through per interval and counts the rest.
#[derive(Debug)]
pub(super) struct Seldom {
    every: Duration,
    last: Option<Instant>,
    held_back: u64,
}

impl Seldom {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, last: None, held_back: 0 }
    }

    /// `Some` when the message may be written, with the number of those held back before it.
    pub(super) fn permit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < self.every) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_per_interval_comes_through_and_tells_of_the_rest() {
        let start = Instant::now();
        let mut seldom = Seldom::new(Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let said = [0, 1, 9, 10, 30].map(|seconds| seldom.permit(at(seconds)));
        assert_eq!(said, [Some(0), None, None, Some(2), Some(0)]);
    }
}
