//! The rules of a slot, pure: how a process counts, and what follows its end.
//!
//! ```text
//! Stopped → Starting → Running → Stopping → Stopped
//!              ↓           ↓
//!           Backoff     Starting (at once)
//! ```

use std::time::Duration;

use crate::config::Backoff;

/// How long a process must live to count as ready, unless it registers before.
pub const READY_AFTER: Duration = Duration::from_secs(1);

/// What a live process is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Started, not ready.
    Starting,
    /// Ready.
    Running,
    /// It gets no job any more and finishes the one in hand.
    Draining,
    /// It got the signal of this step.
    Signalled(usize),
}

/// What follows the end of a slot's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// A new process at once.
    Replace,
    /// A new process after a pause.
    Pause(Duration),
    /// Nothing: it was asked to end.
    Leave,
}

impl Stage {
    /// True once the process was asked to end.
    #[must_use]
    pub fn is_ending(self) -> bool {
        match self {
            Self::Starting | Self::Running => false,
            Self::Draining | Self::Signalled(_) => true,
        }
    }
}

/// What follows the end of a process in this stage. `failures` counts early deaths in a row, this
/// one included; `chance` is a random number from 0 to 1.
#[must_use]
pub fn after_exit(stage: Stage, failures: u32, backoff: &Backoff, chance: f64) -> Follow {
    match stage {
        Stage::Starting => Follow::Pause(pause(failures, backoff, chance)),
        Stage::Running => Follow::Replace,
        Stage::Draining | Stage::Signalled(_) => Follow::Leave,
    }
}

/// Doubles from the initial pause to the longest, less up to a half by chance, lest workers that
/// died together start together for ever.
fn pause(failures: u32, backoff: &Backoff, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = backoff.initial.saturating_mul(1 << doublings).min(backoff.max);
    full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_worker_is_replaced_at_once_and_an_early_death_costs_a_growing_pause() {
        let ms = Duration::from_millis;
        let backoff = Backoff { initial: ms(200), max: ms(1000) };
        assert_eq!(after_exit(Stage::Running, 0, &backoff, 0.5), Follow::Replace);
        for (failures, pause) in [(1, 200), (2, 400), (3, 800), (4, 1000), (99, 1000)] {
            let follow = after_exit(Stage::Starting, failures, &backoff, 0.0);
            assert_eq!(follow, Follow::Pause(ms(pause)));
        }
        assert_eq!(after_exit(Stage::Starting, 1, &backoff, 1.0), Follow::Pause(ms(100)));
        for stage in [Stage::Draining, Stage::Signalled(0)] {
            assert_eq!(after_exit(stage, 1, &backoff, 0.0), Follow::Leave);
        }
    }
}
