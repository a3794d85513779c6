//! How many workers of a pool are busy, smoothed as far as chance goes and no further.
//!
//! A long mean keeps the count steady under a steady load; it is dropped for a short one as soon as
//! the two differ by more than chance explains. Growth and shrinking both read this one measure:
//! two measures for the two directions would chase each other.

use std::time::{Duration, Instant};

/// The short mean spans so many objectives, within bounds.
const OBJECTIVES: f64 = 2.0;
const SHORT_SECONDS: std::ops::RangeInclusive<f64> = 1.0..=20.0;
/// The long mean spans so many short ones.
const LONG: f64 = 15.0;
/// How many standard deviations are chance.
const CHANCE: f64 = 3.0;

/// One pool's busy workers over time.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    last: Option<(Instant, Duration)>,
    short: f64,
    long: f64,
    /// Seconds that the long mean spans by now.
    span: f64,
}

impl Load {
    /// What is seen next says nothing of the time before.
    pub(super) fn wake(&mut self) {
        self.last = None;
    }

    /// Takes in the busy time of all up to `now`; a job takes `service` seconds.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        busy: Duration,
        max_wait: Duration,
        service: f64,
    ) {
        let Some((at, before)) = self.last else {
            self.last = Some((now, busy));
            return;
        };
        let passed = now.saturating_duration_since(at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        self.last = Some((now, busy));
        let mean = busy.saturating_sub(before).as_secs_f64() / passed;
        let (least, most) = (*SHORT_SECONDS.start(), *SHORT_SECONDS.end());
        let short = (OBJECTIVES * max_wait.as_secs_f64()).clamp(least, most);
        let weight = 1.0 - (-passed / short).exp();
        self.short += (mean - self.short) * weight;
        self.span = (self.span + passed).clamp(short, short * LONG);
        let weight = 1.0 - (-passed / self.span).exp();
        self.long += (mean - self.long) * weight;
        // The variance of the busy count of an M/G/inf queue is its mean; a mean over a span much
        // longer than a job divides it by their ratio.
        let variance = self.long.max(self.short) * service / (service + short);
        if (self.short - self.long).abs() > CHANCE * variance.sqrt() {
            self.long = self.short;
            self.span = short;
        }
    }

    /// How many workers are busy on average.
    pub(super) fn busy(&self) -> f64 {
        self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, busy: impl Fn(u64) -> f64) -> f64 {
        let start = Instant::now();
        let mut load = Load::default();
        let mut total = Duration::ZERO;
        for tenth in 0..seconds * 10 {
            let now = start + Duration::from_millis(tenth * 100);
            load.observe(now, total, Duration::from_secs(5), 1.0);
            total += Duration::from_secs_f64(busy(tenth) / 10.0);
        }
        load.busy()
    }

    #[test]
    fn what_chance_explains_moves_little() {
        let steady = after(300, |tenth| if tenth % 20 < 10 { 6.0 } else { 10.0 });
        assert!((7.8..8.2).contains(&steady), "{steady}");
    }

    #[test]
    fn a_step_is_followed_within_the_short_mean() {
        let stepped = after(320, |tenth| if tenth < 3000 { 2.0 } else { 20.0 });
        assert!(stepped > 13.0, "{stepped}");
        let fallen = after(330, |tenth| if tenth < 3000 { 20.0 } else { 2.0 });
        assert!(fallen < 5.0, "{fallen}");
    }
}
