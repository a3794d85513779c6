//! Why a worker's state changed, as an operator reads it.

use std::fmt;
use std::time::Duration;

use crate::model::Exit;

/// Why a process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operator stopped it.
    Stop,
    /// There are more workers than the target.
    Surplus,
    /// The pool is being closed.
    Close,
    /// A newer process takes its place.
    Replaced,
    /// It was not ready in time.
    Unready,
    /// It failed its liveness check.
    Unhealthy,
    /// Its job took too long, or an operator killed the job.
    Overrun,
    /// An operator wants another process in its place, at once.
    Restarted,
}

/// Why a state was entered.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// It is to run.
    Wanted,
    /// Its pause is over, or its turn has come.
    Again,
    /// It is ready.
    Ready {
        /// Since its start.
        after: Duration,
    },
    /// It is to end.
    Leaves(Cause, String),
    /// It ended, as it had been asked to.
    Stopped(Exit),
    /// It ended by itself, or had to be ended.
    Died {
        /// How.
        exit: Exit,
        /// Since its start.
        after: Duration,
        /// What it was ended for; empty when it ended by itself.
        blame: String,
        /// What follows.
        next: Next,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        reason: String,
        /// What follows.
        next: Next,
    },
    /// It was to stop before its turn to start came.
    Withdrawn,
    /// The pool's starts fail.
    Broken,
    /// Its successor failed for good, so the old process stays.
    ServesOn,
    /// It is to replace a process that serves: an operator asked for it.
    Restarts,
    /// It is to replace a process of a program that has changed since.
    Renews,
    /// It replaces a process that was well, for this.
    Recycles(String),
    /// It was given a new chance: an operator asks for it, or its program changed.
    Forgiven,
}

/// What follows a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A new process is started at once.
    Replaced,
    /// A new process is started after a pause.
    Pause(Duration),
    /// The pool's starts fail: one is tried at a time, and this slot waits for its turn.
    Turn,
    /// It is not started again, since `restart` says so.
    Rest,
    /// It was to run to its end.
    Done,
    /// Nothing: it is not wanted, or its successor is there.
    Nothing,
    /// The old program goes on: this was the canary of a new one.
    FallsBack,
}

impl Cause {
    /// Whether the process is asked to end though it did nothing wrong.
    #[must_use]
    pub fn is_asked(self) -> bool {
        match self {
            Self::Stop | Self::Surplus | Self::Close | Self::Replaced | Self::Restarted => true,
            Self::Unready | Self::Unhealthy | Self::Overrun => false,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Stop => "stopped by an operator",
            Self::Surplus => "more workers than the target",
            Self::Close => "its pool is being closed",
            Self::Replaced => "replaced by a newer process",
            Self::Unready => "not ready in time",
            Self::Unhealthy => "not healthy",
            Self::Overrun => "its job is killed",
            Self::Restarted => "restarted by an operator",
        }
    }
}

impl Why {
    /// Whether an operator should look at it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Wanted
            | Self::Again
            | Self::Ready { .. }
            | Self::Stopped(_)
            | Self::Withdrawn
            | Self::Restarts
            | Self::Renews
            | Self::Recycles(_)
            | Self::Forgiven => false,
            Self::Leaves(cause, _) => !cause.is_asked(),
            Self::Died { exit, blame, .. } => !exit.is_success() || !blame.is_empty(),
            Self::NotStarted { .. } | Self::Broken | Self::ServesOn => true,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted => f.write_str("it is to run"),
            Self::Again => f.write_str("next try"),
            Self::Ready { after } => write!(f, "ready after {}", short(*after)),
            Self::Leaves(cause, reason) if reason.is_empty() => f.write_str(cause.text()),
            Self::Leaves(_, reason) => f.write_str(reason),
            Self::Stopped(exit) => write!(f, "{exit}, as asked"),
            Self::Died { exit, after, blame, next } => {
                write!(f, "{exit} after {}", short(*after))?;
                if !blame.is_empty() {
                    write!(f, ", since {blame}")?;
                }
                write!(f, "; {next}")
            }
            Self::NotStarted { reason, next } => write!(f, "{reason}; {next}"),
            Self::Withdrawn => f.write_str("no longer wanted before it was started"),
            Self::Broken => f.write_str("the pool's starts fail: one worker is tried at a time"),
            Self::ServesOn => f.write_str("its successor failed, and the old process serves on"),
            Self::Restarts => f.write_str("restarted: a newer process takes its place"),
            Self::Renews => f.write_str("its program has changed: a newer process takes its place"),
            Self::Recycles(reason) => write!(f, "replaces a process that {reason}"),
            Self::Forgiven => f.write_str("given a new chance"),
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced => f.write_str("replaced at once"),
            Self::Pause(pause) => write!(f, "next try in {}", short(*pause)),
            Self::Turn => f.write_str("its pool tries one worker at a time"),
            Self::Done => f.write_str("it has done its work"),
            Self::Rest => f.write_str("not started again, as restart says"),
            Self::Nothing => f.write_str("not replaced"),
            Self::FallsBack => f.write_str("the old program goes on"),
        }
    }
}

/// `0.02 s`, `45 s`, `4m 10s`.
pub(super) fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 120.0 {
        return humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    }
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.0} s") }
}
