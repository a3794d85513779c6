//! What a pool's history says: how long a job takes, how many workers are busy.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Samples, ScalerSettings};

/// Weight that every further completion leaves to the older ones.
const DECAY_PER_JOB: f64 = 0.995;
/// Half-life of the arrival rate.
const ARRIVALS_HALF_LIFE: Duration = Duration::from_secs(10);
/// One entry of the shrink window at most this often; bounds the window to 60 entries.
const WINDOW_STEP: Duration = Duration::from_secs(1);

/// One pool's memory between decisions.
#[derive(Clone, Debug, Default)]
pub struct PoolState {
    last: Option<Last>,
    /// Decayed seconds that workers were busy.
    busy_seconds: f64,
    /// Decayed count of jobs ended.
    ended: f64,
    /// Jobs a second.
    arrivals: f64,
    /// Average number of busy workers.
    busy: f64,
    /// What the shrink rule asked for lately, the oldest first.
    window: VecDeque<(Instant, u32)>,
    /// Since when nothing waits or runs.
    quiet_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    running: usize,
    ended: u64,
    arrived: u64,
}

impl PoolState {
    /// Takes in what was seen at `now`.
    pub(super) fn observe(&mut self, now: Instant, samples: &Samples, settings: &ScalerSettings) {
        let arrived = samples.ended + to_u64(samples.running + samples.queued);
        if let Some(last) = self.last {
            let passed = now.saturating_duration_since(last.at).as_secs_f64();
            let ended = to_f64(samples.ended.saturating_sub(last.ended));
            let kept = DECAY_PER_JOB.powf(ended);
            // Between two looks the workers that were busy at the first are taken as busy.
            let seconds = passed * count(last.running);
            self.busy_seconds = self.busy_seconds * kept + seconds;
            self.ended = self.ended * kept + ended;
            if passed > 0.0 {
                let rate = to_f64(arrived.saturating_sub(last.arrived)) / passed;
                let half_lives = passed / ARRIVALS_HALF_LIFE.as_secs_f64();
                self.arrivals += (rate - self.arrivals) * (1.0 - 0.5_f64.powf(half_lives));
                let tau = (2.0 * settings.max_wait.as_secs_f64()).max(1.0);
                let weight = 1.0 - (-passed / tau).exp();
                self.busy += (count(last.running) - self.busy) * weight;
            }
        }
        self.last = Some(Last { at: now, running: samples.running, ended: samples.ended, arrived });
        let quiet = samples.queued == 0 && samples.running == 0;
        self.quiet_since = quiet.then(|| self.quiet_since.unwrap_or(now));
    }

    /// Seconds that a job takes: a right-censored mean, which counts unfinished time too and so
    /// works before the first job has ended. `expect` is the prior.
    pub(super) fn service_seconds(&self, expect: Duration) -> f64 {
        (self.busy_seconds + expect.as_secs_f64()) / (self.ended + 1.0)
    }

    /// Jobs that arrive in a second.
    pub(super) fn arrivals(&self) -> f64 {
        self.arrivals
    }

    /// How many workers are busy on average.
    pub(super) fn busy(&self) -> f64 {
        self.busy
    }

    /// How long nothing has waited or run.
    pub(super) fn quiet(&self, now: Instant) -> Duration {
        self.quiet_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The most that `need` was within the window up to `now`.
    pub(super) fn window_max(&mut self, now: Instant, need: u32, window: Duration) -> u32 {
        while let Some((at, _)) = self.window.front()
            && now.saturating_duration_since(*at) > window
        {
            self.window.pop_front();
        }
        match self.window.back_mut() {
            Some((at, most)) if now.saturating_duration_since(*at) < WINDOW_STEP => {
                *most = need.max(*most);
            }
            _ => self.window.push_back((now, need)),
        }
        self.window.iter().map(|(_, need)| *need).max().unwrap_or(need)
    }
}

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "queues and pools stay far below 2^53")]
pub(super) fn count(n: usize) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "differences of two looks stay far below 2^53")]
fn to_f64(n: u64) -> f64 {
    n as f64
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Workers from a number: rounded up, never below zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of u32 before"
)]
pub(super) fn workers(n: f64) -> u32 {
    // A hair below a whole number is that number: 3.0000000001 workers are 3.
    (n - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}
