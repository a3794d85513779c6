//! What is to happen later, by when. A timer is set at most once; setting it again moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::functions::FunctionKey;
use crate::model::{JobId, SessionId, WorkerId};

/// One thing to do later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Wake one more sleeper for a function whose jobs nobody fetched.
    Wake(FunctionKey),
    /// The worker's own time-out for a job ran out.
    Timeout(JobId),
    /// Nobody said whose session this is.
    Ask(SessionId),
    /// A worker that lost its connection with the job turned out to live.
    Verdict(WorkerId, JobId),
    /// A job's time has come, or the clock is to be looked at.
    Due,
    /// The first job of the function has waited too long.
    Expire(FunctionKey),
    /// A recurring job's time has come, or the clock is to be looked at.
    Recur,
    /// Look for functions that nobody uses.
    Stale,
    /// Emit the changes again that could not be stored.
    Redo,
}

/// The timers, in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
    at: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.clear(timer);
        self.at.insert(timer, at);
        self.due.insert((at, timer));
    }

    pub(super) fn set_unless_set(&mut self, timer: Timer, at: Instant) {
        if !self.is_set(timer) {
            self.set(timer, at);
        }
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }
}
