//! What a function's history says: how long a job takes, how often one comes.

use std::time::{Duration, Instant};

use super::sample::{FunctionSample, real, real64};

/// Weight that every further completion leaves to the older ones.
const DECAY_PER_JOB: f64 = 0.995;
/// A job's length before any has been seen, in seconds.
const EXPECTED_SECONDS: f64 = 1.0;
/// How many seen jobs weigh as much as that expectation.
const EXPECTED_JOBS: f64 = 2.0;
/// Half-life of the arrival rate.
const ARRIVALS_HALF_LIFE: Duration = Duration::from_secs(10);
/// Half-life of the rate that is believed when it rises beyond chance.
const BURST_HALF_LIFE: Duration = Duration::from_secs(1);
/// How many standard deviations are chance.
const CHANCE: f64 = 3.0;

/// One function's memory between looks.
#[derive(Clone, Debug)]
pub(super) struct FunctionState {
    last: Option<(Instant, FunctionSample)>,
    /// Decayed seconds that workers were busy with it.
    busy_seconds: f64,
    /// Decayed count of jobs ended.
    ended: f64,
    /// Jobs a second, slowly and quickly.
    arrivals: f64,
    burst: f64,
    /// Seconds looked at.
    span: f64,
}

impl Default for FunctionState {
    fn default() -> Self {
        // What is expected fades with every job that ends.
        Self {
            last: None,
            busy_seconds: EXPECTED_JOBS * EXPECTED_SECONDS,
            ended: EXPECTED_JOBS,
            arrivals: 0.0,
            burst: 0.0,
            span: 0.0,
        }
    }
}

impl FunctionState {
    /// What is seen next says nothing of the time before.
    pub(super) fn wake(&mut self) {
        self.last = None;
    }

    /// Takes in what was seen at `now`.
    pub(super) fn observe(&mut self, now: Instant, sample: &FunctionSample) {
        if let Some((at, last)) = self.last.replace((now, *sample)) {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            let ended = real64(sample.ended.saturating_sub(last.ended));
            let kept = DECAY_PER_JOB.powf(ended);
            let busy = sample.busy.saturating_sub(last.busy).as_secs_f64();
            self.busy_seconds = self.busy_seconds * kept + busy;
            self.ended = self.ended * kept + ended;
            // What other hosts end is reckoned from what they have in hand.
            let elsewhere = real(last.elsewhere) * passed / self.service_seconds().max(1e-6);
            let came = arrived(sample) - arrived(&last) + elsewhere;
            // What is withdrawn is no job that came back. A job that another host takes leaves the
            // queue before it is seen there: that is made up for by the next listing.
            let alone = last.elsewhere == 0 && sample.elsewhere == 0;
            let came = if alone { came.max(0.0) } else { came };
            self.span += passed;
            let (came, span) = ((came, passed), self.span);
            self.arrivals = follow(self.arrivals, came, span, ARRIVALS_HALF_LIFE);
            self.burst = follow(self.burst, came, span, BURST_HALF_LIFE);
        }
    }

    /// Seconds that a job takes: a right-censored mean (total time on test over failures), which
    /// counts unfinished time too and so works before the first job has ended.
    pub(super) fn service_seconds(&self) -> f64 {
        self.busy_seconds / self.ended
    }

    /// Jobs that arrive in a second: the slow mean, or what a burst exceeds chance by.
    pub(super) fn arrivals(&self) -> f64 {
        let half_life = BURST_HALF_LIFE.as_secs_f64();
        let deviation =
            (self.arrivals.max(0.0) * std::f64::consts::LN_2 / (2.0 * half_life)).sqrt();
        self.arrivals.max(self.burst - CHANCE * deviation).max(0.0)
    }
}

fn arrived(sample: &FunctionSample) -> f64 {
    real64(sample.ended) + real(sample.running + sample.elsewhere + sample.queued)
}

/// An exponentially weighted rate, moved on by `passed` seconds in which `came` events came; the
/// plain mean while it has been followed for less than it weighs.
fn follow(rate: f64, (came, passed): (f64, f64), span: f64, half_life: Duration) -> f64 {
    if passed <= 0.0 {
        return rate;
    }
    let weight = 1.0 - 0.5_f64.powf(passed / half_life.as_secs_f64());
    rate + (came / passed - rate) * weight.max(passed / span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(steps: impl IntoIterator<Item = (f64, FunctionSample)>) -> FunctionState {
        let start = Instant::now();
        let mut state = FunctionState::default();
        for (second, sample) in steps {
            state.observe(start + Duration::from_secs_f64(second), &sample);
        }
        state
    }

    #[test]
    fn a_job_that_has_not_ended_counts_by_its_age() {
        let running = |second| FunctionSample {
            running: 1,
            busy: Duration::from_secs(second),
            ..FunctionSample::default()
        };
        let state = seen([(0.0, running(0)), (58.0, running(58))]);
        assert!((state.service_seconds() - 30.0).abs() < 1e-6, "{state:?}");
    }

    #[test]
    fn the_length_of_a_job_and_the_rate_are_learned() {
        // Ten workers end 1,000 jobs of 10 ms a second.
        let sample = |second: u32| FunctionSample {
            running: 10,
            ended: u64::from(second) * 1000,
            busy: Duration::from_secs(10) * second,
            ..FunctionSample::default()
        };
        let state = seen((0..100).map(|second| (f64::from(second), sample(second))));
        assert!((0.009..0.016).contains(&state.service_seconds()), "{state:?}");
        assert!((990.0..1010.0).contains(&state.arrivals()), "{state:?}");
    }

    #[test]
    fn a_burst_is_believed_at_once_and_a_single_job_is_not() {
        let calm = |second: u32| FunctionSample {
            ended: u64::from(second) * 5,
            ..FunctionSample::default()
        };
        let before = (0..120).map(|second| (f64::from(second), calm(second)));
        let with = |queued| {
            let last = FunctionSample { queued, ..calm(119) };
            seen(before.clone().chain([(119.2, last)])).arrivals()
        };
        assert!((4.0..6.0).contains(&with(2)), "{}", with(2));
        assert!(with(100) > 50.0, "{}", with(100));
    }
}
