//! How long to wait before the next try.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Pauses that double up to a cap, each cut by a random part of up to a half.
///
/// The random part keeps many workers that lost one server from coming back in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses of about `first`, then twice that, up to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, next: first, max }
    }

    /// The next pause; the one after it is longer.
    pub fn pause(&mut self) -> Duration {
        // A fresh RandomState is keyed at random: enough to spread workers, and no dependency.
        self.pause_with(RandomState::new().build_hasher().finish())
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    fn pause_with(&mut self, random: u64) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        let cut_permille = u32::try_from(random % 501).unwrap_or(0);
        whole * (1000 - cut_permille) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let mut pauses = || (0..4).map(|_| backoff.pause_with(0).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(), [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.pause_with(0).as_millis(), 100);
    }

    #[test]
    fn the_random_part_takes_at_most_a_half() {
        let second = Duration::from_secs(1);
        for random in [0, 1, 250, 500, 501, u64::MAX] {
            let pause = Backoff::new(second, second).pause_with(random);
            assert!(pause <= second && pause >= second / 2, "{random}: {pause:?}");
        }
    }
}
