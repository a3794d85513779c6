//! When a start may be tried again after others have failed.
//!
//! A worker that dies before it is ready pauses: initial, then doubled up to max, each time a
//! random part of it ("full jitter"), so that workers that failed together do not return together.
//! As many such deaths as the limit within the window, with no worker of the pool becoming ready
//! between them, charge the pool: from then on one worker is tried at a time and the others wait,
//! until one is ready.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Backoff;

/// Restart pacing of a pool.
#[derive(Debug)]
pub(super) struct Pacing {
    mode: Mode,
}

#[derive(Clone, Debug)]
enum Mode {
    /// Every slot paces itself; the times of early deaths in a row, fewer than the limit.
    Open { deaths: VecDeque<Instant> },
    /// One try at a time; so many tries have failed.
    Probing { failed: u32, probe: Probe },
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    /// The next one may be made then.
    Due(Instant),
    /// This slot is being tried.
    Underway(u32),
}

/// What a slot does after an early death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It waits so long.
    For(Duration),
    /// It waits for its turn.
    Turn,
}

/// The moment and the chance of one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// Now.
    pub(super) now: Instant,
    /// From 0 to 1.
    pub(super) random: f64,
}

impl Pacing {
    pub(super) fn new() -> Self {
        Self { mode: Mode::Open { deaths: VecDeque::new() } }
    }

    /// Whether a slot that has not failed lately may start at once.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.mode, Mode::Open { .. })
    }

    /// Whether a slot that pauses until `until` may start now.
    pub(super) fn permits(&self, until: Option<Instant>, now: Instant) -> bool {
        match self.mode {
            Mode::Open { .. } => until.is_none_or(|until| until <= now),
            Mode::Probing { probe: Probe::Due(due), .. } => due <= now,
            Mode::Probing { probe: Probe::Underway(_), .. } => false,
        }
    }

    /// When a slot that pauses until `until` should be looked at again.
    pub(super) fn retry_at(&self, until: Option<Instant>) -> Option<Instant> {
        match self.mode {
            Mode::Open { .. } => until,
            Mode::Probing { probe: Probe::Due(due), .. } => Some(due),
            Mode::Probing { probe: Probe::Underway(_), .. } => None,
        }
    }

    /// A slot is being started.
    pub(super) fn started(&mut self, slot: u32) {
        if let Mode::Probing { probe: probe @ Probe::Due(_), .. } = &mut self.mode {
            *probe = Probe::Underway(slot);
        }
    }

    /// A slot's process became ready: the pool can be started.
    pub(super) fn succeeded(&mut self) {
        self.mode = Mode::Open { deaths: VecDeque::new() };
    }

    /// A slot's process was stopped before it was ready: another may be tried.
    pub(super) fn withdrawn(&mut self, slot: u32, now: Instant) {
        if let Mode::Probing { probe, .. } = &mut self.mode
            && matches!(probe, Probe::Underway(of) if *of == slot)
        {
            *probe = Probe::Due(now);
        }
    }

    /// A slot's process died before it was ready, the `failures`th in a row of that slot.
    pub(super) fn failed(
        &mut self,
        slot: u32,
        failures: u32,
        backoff: &Backoff,
        draw: Draw,
    ) -> Pause {
        match &mut self.mode {
            Mode::Open { deaths } => {
                deaths.push_back(draw.now);
                let is_past =
                    |at: &Instant| draw.now.saturating_duration_since(*at) > backoff.window;
                while deaths.front().is_some_and(is_past) {
                    deaths.pop_front();
                }
                if deaths.len() < backoff.limit as usize {
                    return Pause::For(pause(backoff, failures, draw.random));
                }
                let due = draw.now + pause(backoff, failures, draw.random);
                self.mode = Mode::Probing { failed: failures, probe: Probe::Due(due) };
                Pause::Turn
            }
            Mode::Probing { failed, probe } => {
                if matches!(probe, Probe::Underway(of) if *of == slot) {
                    *failed = failed.saturating_add(1);
                    *probe = Probe::Due(draw.now + pause(backoff, *failed, draw.random));
                }
                Pause::Turn
            }
        }
    }

    /// An operator asks for a try now.
    pub(super) fn hasten(&mut self, now: Instant) {
        if let Mode::Probing { probe: probe @ Probe::Due(_), .. } = &mut self.mode {
            *probe = Probe::Due(now);
        }
    }
}

/// A random part of the pause after the `failures`th failure.
fn pause(backoff: &Backoff, failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = backoff.initial.saturating_mul(1 << doublings).min(backoff.max);
    full.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(30),
        limit: 3,
        window: Duration::from_mins(1),
    };

    #[test]
    fn pauses_double_up_to_the_cap_and_are_jittered() {
        let seconds = |failures, random| pause(&BACKOFF, failures, random).as_secs_f64();
        for (failures, full) in [(1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 30.0), (90, 30.0)] {
            assert!((seconds(failures, 1.0) - full).abs() < 1e-6, "{failures}");
            assert!((seconds(failures, 0.5) - full / 2.0).abs() < 1e-6, "{failures}");
        }
    }

    #[test]
    fn after_three_early_deaths_one_slot_is_tried_at_a_time() {
        let now = Instant::now();
        let draw = Draw { now, random: 1.0 };
        let mut pacing = Pacing::new();
        assert_eq!(pacing.failed(1, 1, &BACKOFF, draw), Pause::For(Duration::from_secs(1)));
        assert_eq!(pacing.failed(2, 1, &BACKOFF, draw), Pause::For(Duration::from_secs(1)));
        assert_eq!(pacing.failed(3, 1, &BACKOFF, draw), Pause::Turn);
        assert!(!pacing.permits(Some(now), now), "the probe is due in a second");
        let due = now + Duration::from_secs(1);
        assert!(pacing.permits(None, due));
        pacing.started(2);
        assert!(!pacing.permits(None, due), "one at a time");
        assert_eq!(pacing.failed(2, 2, &BACKOFF, Draw { now: due, random: 1.0 }), Pause::Turn);
        assert_eq!(pacing.retry_at(None), Some(due + Duration::from_secs(2)));
        pacing.succeeded();
        assert!(pacing.permits(None, now), "all return once one is ready");
    }

    #[test]
    fn only_deaths_within_the_window_count_for_the_limit() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new();
        for _ in 0..10 {
            pacing.failed(1, 1, &BACKOFF, Draw { now, random: 1.0 });
            assert!(pacing.is_open());
            now += Duration::from_secs(31);
        }
        now -= Duration::from_secs(30);
        pacing.failed(1, 1, &BACKOFF, Draw { now, random: 1.0 });
        assert!(!pacing.is_open());
    }

    #[test]
    fn a_probe_that_is_stopped_leaves_its_turn_to_another() {
        let now = Instant::now();
        let mut pacing = Pacing { mode: Mode::Probing { failed: 3, probe: Probe::Due(now) } };
        pacing.started(1);
        pacing.withdrawn(2, now);
        assert!(!pacing.permits(None, now));
        pacing.withdrawn(1, now);
        assert!(pacing.permits(None, now));
    }
}
