//! Grabs that find nothing and are answered a moment later.
//!
//! A worker that has just done a job and asks for another one, of a function whose jobs come often,
//! is not told NO_JOB at once: a job that comes meanwhile is assigned to it without NO_JOB,
//! PRE_SLEEP, NOOP and another GRAB_JOB between. While its grab is held a session counts as idle and
//! is found like one that sleeps. Whatever else it sends is answered after NO_JOB.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::State;
use super::effects::{Effects, Outgoing};
use super::sessions::Rest;
use super::sleepers::Standing;
use crate::model::SessionId;
use crate::protocol::Response;

/// How long a grab is held at most. What drives us may be a millisecond late, so that the worker
/// may wait for two.
pub(super) const HOLD_FOR: Duration = Duration::from_millis(1);
/// Longer gaps between jobs count as this, so that a rate that rises is noticed within some jobs.
const GAP_MAX: Duration = Duration::from_millis(4);
/// The weight of the last gap in the mean, one in so many.
const GAP_WEIGHT: u32 = 8;

/// The grabs that are held.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Their ends, the earliest first; those of grabs that were answered before are among them.
    ends: VecDeque<(Instant, SessionId)>,
    count: usize,
}

/// How often the jobs of a function come.
#[derive(Debug)]
pub(super) struct Arrivals {
    last: Option<Instant>,
    gap: Duration,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { last: None, gap: GAP_MAX }
    }
}

impl Arrivals {
    pub(super) fn note(&mut self, now: Instant) {
        let since = self.last.map_or(GAP_MAX, |last| now.saturating_duration_since(last));
        let sum = self.gap * (GAP_WEIGHT - 1) + since.min(GAP_MAX);
        self.gap = sum / GAP_WEIGHT;
        self.last = Some(now);
    }

    /// Whether so many jobs are likely to come while a grab may be held.
    fn are_due(&self, now: Instant, jobs: usize) -> bool {
        let silence = self.last.map_or(GAP_MAX, |last| now.saturating_duration_since(last));
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        self.gap.max(silence).saturating_mul(jobs) <= HOLD_FOR
    }
}

impl Holds {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// When the first of them is to be answered.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ends.front().map(|(end, _)| *end)
    }
}

impl State {
    /// Holds the grab that is the session's only open answer, if a job is likely to come for it;
    /// false when it is to be told that there is none.
    pub(super) fn hold_grab(&mut self, now: Instant, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let Some(key) = session.completed.take() else { return false };
        if session.answers.len() != 1 || !session.abilities.contains_key(&key) {
            return false;
        }
        let function = self.functions.get(key);
        let held = self.holds.count + 1;
        let worth = function.is_some_and(|function| function.arrivals.are_due(now, held));
        if !worth || !self.settings.rules.hold_grab || self.standing(id) != Standing::Free {
            return false;
        }
        self.hold_until(id, now + HOLD_FOR);
        self.list(id);
        self.sleep_until_read(now, id);
        true
    }

    fn hold_until(&mut self, id: SessionId, end: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.rest = Rest::Held(end);
        self.holds.count += 1;
        // All are held equally long, so the order of their ends is that of their beginnings.
        self.holds.ends.push_back((end, id));
    }

    pub(super) fn any_held(&self) -> bool {
        self.holds.count > 0
    }

    /// Whether the session's grab is held.
    pub(super) fn is_held(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| matches!(session.rest, Rest::Held(_)))
    }

    /// Holds the session's grab no longer, as the caller answers it; false when it was not held.
    pub(super) fn stop_holding(&mut self, id: SessionId) -> bool {
        if !self.any_held() || !self.is_held(id) {
            return false;
        }
        self.unlist(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.rest = Rest::Awake;
        }
        self.holds.count -= 1;
        true
    }

    /// Answers the session's grab, if one is held: there is no job.
    pub(super) fn end_hold(&mut self, id: SessionId, fx: &mut Effects) {
        if !self.stop_holding(id) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Some((slot, _)) = session.answers.held() {
            session.answers.resolve(id, slot, Outgoing::Packet(Response::NoJob), fx);
        }
    }

    /// Lets the next deadline answer the session's grab.
    pub(super) fn cut_hold(&mut self, now: Instant, id: SessionId) {
        if self.stop_holding(id)
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session.rest = Rest::Held(now);
            self.holds.count += 1;
            self.holds.ends.push_front((now, id));
        }
    }

    /// Answers the grabs that were held for long enough.
    pub(super) fn end_holds(&mut self, now: Instant, fx: &mut Effects) {
        while let Some((end, id)) = self.holds.ends.front().copied().filter(|(end, _)| *end <= now)
        {
            self.holds.ends.pop_front();
            // Of one that was answered and is held again the later end counts.
            if self.sessions.get(&id).is_some_and(|session| session.rest == Rest::Held(end)) {
                self.end_hold(id, fx);
            }
        }
    }
}
