//! What a session knows of its connection to one server.
//!
//! ```text
//! Closed ──wanted──▶ Dialling ──connected──▶ Probing ──answered──▶ Ready
//!                       ▲                       │                    │
//!                       └─────────lost──────────┴────────────────────┘
//! ```
//!
//! A server that takes connections and answers nothing must not keep a worker waiting for a job,
//! so each is asked for an echo before anything else.

use std::time::{Duration, Instant};

/// How long a server that had no job is asked after the others, while those have some.
const COLD: Duration = Duration::from_millis(500);

/// One connection to a server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    pub(super) state: LaneState,
    pub(super) rest: LaneRest,
    /// The last try ended without an answer, or the connection was lost.
    pub(super) is_lost: bool,
    /// Until when others are asked before it.
    cold_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LaneState {
    /// Not wanted so far.
    #[default]
    Closed,
    Dialling,
    Probing,
    Ready,
}

/// What the server believes of the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LaneRest {
    #[default]
    Awake,
    /// It was told PRE_SLEEP.
    Asleep,
    /// It said NOOP since.
    Called,
}

/// When a server is asked for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// It called.
    First,
    Usual,
    /// It had none a moment ago, or would have called.
    Last,
}

impl Lane {
    pub(super) fn is_ready(&self) -> bool {
        self.state == LaneState::Ready
    }

    pub(super) fn dial(&mut self) {
        *self = Self { state: LaneState::Dialling, ..Self::default() };
    }

    /// It was lost, or could not be reached, and is tried again.
    pub(super) fn dial_again(&mut self) {
        self.dial();
        self.is_lost = true;
    }

    /// It had no job.
    pub(super) fn had_none(&mut self, now: Instant) {
        self.rest = LaneRest::Awake;
        self.cold_until = Some(now + COLD);
    }

    /// It gave one.
    pub(super) fn had_one(&mut self) {
        self.rest = LaneRest::Awake;
        self.cold_until = None;
    }

    /// When to ask it; `None` when it cannot be asked.
    pub(super) fn urgency(&self, now: Instant) -> Option<Urgency> {
        if !self.is_ready() {
            return None;
        }
        Some(match self.rest {
            LaneRest::Called => Urgency::First,
            LaneRest::Awake if self.cold_until.is_none_or(|until| until <= now) => Urgency::Usual,
            LaneRest::Awake | LaneRest::Asleep => Urgency::Last,
        })
    }
}
