//! One slot: its state, the process in it, and in a roll the predecessor beside it.
//!
//! What each event does in each state is in `states`.

use std::time::{Duration, Instant};

use super::entrance::Entrance;
use super::event::{Effect, ReadyRule, ReadyUntil, Rules};
use super::leaving::Leaving;
use super::pacing::Pacing;
use super::trial::{Proof, Trial};
use super::why::{Cause, Why};
use crate::config::Run;
use crate::model::{Exit, WorkerId};
use crate::pool::{LastExit, SlotState, WorkerIds};

/// A process in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) worker: WorkerId,
    /// Which version of the pool's program it runs.
    pub(super) generation: u32,
    /// When its start was decided, then when it was started.
    pub(super) started: Instant,
    pub(super) is_started: bool,
    /// How long it is to run; the rules may have changed since.
    pub(super) run: Run,
    /// What it is ready by, likewise.
    pub(super) ready: ReadyRule,
    /// What its readiness waits for has come about.
    pub(super) is_told: bool,
    /// When it is to be replaced for its age; counted from its start.
    pub(super) lifetime: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Stopped,
    /// Pauses until then; `None`: until the pool's pacing lets it.
    Backoff {
        until: Option<Instant>,
    },
    Starting(Process),
    Running(Process),
    Stopping(Leaving),
    /// Not to be started again by itself.
    Exited(Rest),
}

/// Why a slot that is to run rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Its time has not come.
    NotYet,
    /// Its process has done its work.
    Done,
    /// Its process failed.
    Failed,
}

/// The process that a successor replaces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Predecessor {
    /// It works until the successor is ready.
    Serving(Process),
    Leaving(Leaving),
}

/// What a slot is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Up,
    /// Not needed.
    Down,
    /// An operator stopped it.
    Held,
}

/// Whether the gate was asked to let an idle worker go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    /// The answer is under way; `again`: a job ended meanwhile, so "busy" may be outdated.
    Waiting {
        again: bool,
    },
    Busy,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) index: u32,
    pub(super) wanted: Wanted,
    pub(super) asked: Asked,
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) predecessor: Option<Predecessor>,
    pub(super) predecessor_since: Instant,
    /// Its process is to be replaced when the roll comes to it.
    pub(super) roll_wanted: bool,
    /// Why it is to be replaced, if not for another program or an operator.
    pub(super) wear: Option<String>,
    /// The roll has come to it.
    pub(super) rolling: bool,
    /// Its process is the canary of a roll.
    pub(super) proof: Option<Proof>,
    /// Early deaths in a row.
    pub(super) failures: u32,
    /// Quick failures in a row of processes that were ready.
    pub(super) quick_failures: u32,
    pub(super) restarts: u64,
    pub(super) last_exit: Option<LastExit>,
    /// Why it pauses.
    pub(super) trouble: String,
    /// Processes that have to be ended, and for what.
    pub(super) blames: Vec<(WorkerId, String)>,
}

/// What happens to a slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum SlotEvent<'a> {
    /// It is to run.
    Up,
    /// Its pause is over.
    Retry,
    /// It is to stop, after its job.
    Down(Cause),
    /// Its process is to be replaced now.
    Roll,
    /// It is to end at once.
    Kill,
    /// What its readiness waits for has come about.
    Ready,
    /// It failed its liveness check.
    Unhealthy(&'a str),
    /// Its job is to be killed with it.
    Overrun(&'a str),
    /// Its process holds no job and gets none.
    Drained,
    /// Its process ended.
    Ended(Exit),
    /// Its process could not be started.
    NotStarted(&'a str),
    /// Its process was never started.
    Withdrawn,
    /// Look at the clock.
    Deadline,
}

/// What all slots of a pool share.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) rules: Rules,
    /// The version of the program that is in the file.
    pub(super) generation: u32,
    /// The version that is started, but for a canary.
    pub(super) proven: u32,
    pub(super) trial: Trial,
    pub(super) ids: WorkerIds,
    pub(super) pacing: Pacing,
    pub(super) entrance: Entrance,
}

/// A slot that failed to start.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) index: u32,
    pub(super) reason: String,
    /// Whether it was a process of a former program: what an edit waits for is not its affair.
    pub(super) of_former: bool,
}

/// The event being handled, and what comes of it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) now: Instant,
    pub(super) random: f64,
    pub(super) effects: Vec<Effect>,
    /// Slots that failed to start, and why.
    pub(super) failures: Vec<Failure>,
    /// The canary that failed, and why.
    pub(super) failed_trial: Option<(u32, String)>,
}

impl State {
    /// The state in supervisord's words.
    pub(super) fn shown(&self) -> SlotState {
        match self {
            Self::Stopped | Self::Exited(Rest::NotYet) => SlotState::Stopped,
            // It waits for its turn, since the pool's starts fail.
            Self::Backoff { until: None } => SlotState::Fatal,
            Self::Backoff { until: Some(_) } => SlotState::Backoff,
            Self::Starting(_) => SlotState::Starting,
            Self::Running(_) => SlotState::Running,
            Self::Stopping(_) => SlotState::Stopping,
            Self::Exited(Rest::Done | Rest::Failed) => SlotState::Exited,
        }
    }
}

impl Process {
    /// When it is ready or has failed to be, if nothing happens before.
    pub(super) fn verdict_at(&self) -> Option<Instant> {
        self.ready_at().or_else(|| self.overdue_at())
    }

    /// When it is too old.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.started.checked_add(self.lifetime?)
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.ready_at().is_some_and(|at| at <= now)
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.ready_at().is_none() && self.overdue_at().is_some_and(|at| at <= now)
    }

    fn ready_at(&self) -> Option<Instant> {
        let known = self.is_told || self.ready.until == ReadyUntil::Alive;
        let at = self.started.checked_add(self.ready.after);
        at.filter(|_| self.is_started && known)
    }

    fn overdue_at(&self) -> Option<Instant> {
        let at = self.started.checked_add(self.ready.timeout);
        at.filter(|_| self.is_started)
    }
}

impl Slot {
    pub(super) fn new(index: u32, now: Instant) -> Self {
        Self {
            index,
            wanted: Wanted::Down,
            asked: Asked::No,
            state: State::Stopped,
            since: now,
            predecessor: None,
            predecessor_since: now,
            roll_wanted: false,
            wear: None,
            rolling: false,
            proof: None,
            failures: 0,
            quick_failures: 0,
            restarts: 0,
            last_exit: None,
            trouble: String::new(),
            blames: Vec::new(),
        }
    }

    /// The process that counts, if there is one.
    pub(super) fn process(&self) -> Option<Process> {
        match &self.state {
            State::Stopped | State::Backoff { .. } | State::Exited(_) => None,
            State::Starting(process) | State::Running(process) => Some(*process),
            State::Stopping(leaving) => Some(leaving.process),
        }
    }

    /// The process that is being replaced, if there is one.
    pub(super) fn outgoing(&self) -> Option<Process> {
        match &self.predecessor {
            None => None,
            Some(Predecessor::Serving(process)) => Some(*process),
            Some(Predecessor::Leaving(leaving)) => Some(leaving.process),
        }
    }

    /// Its process was started; returns when it is ready at the latest.
    pub(super) fn note_start(&mut self, worker: WorkerId, now: Instant) -> Option<Instant> {
        let process = match &mut self.state {
            State::Starting(process) | State::Running(process) => process,
            State::Stopping(leaving) => &mut leaving.process,
            State::Stopped | State::Backoff { .. } | State::Exited(_) => return None,
        };
        if process.worker != worker {
            return None;
        }
        process.started = now;
        process.is_started = true;
        process.verdict_at()
    }

    /// True when the worker is its current process.
    pub(super) fn is_current(&self, worker: WorkerId) -> bool {
        self.process().is_some_and(|process| process.worker == worker)
    }

    /// True when it has no process that serves: nothing is lost by letting it go.
    pub(super) fn is_idle_seat(&self) -> bool {
        let serves = matches!(self.state, State::Starting(_) | State::Running(_));
        !serves && self.predecessor.is_none()
    }

    /// Its process, if the gate may be asked whether it can go.
    pub(super) fn askable(&self) -> Option<Process> {
        let asks = self.wanted == Wanted::Up && self.asked == Asked::No;
        match self.state {
            State::Starting(process) | State::Running(process)
                if asks && self.predecessor.is_none() =>
            {
                Some(process)
            }
            State::Starting(_)
            | State::Running(_)
            | State::Stopped
            | State::Backoff { .. }
            | State::Stopping(_)
            | State::Exited(_) => None,
        }
    }

    /// True when its process is ready and is to run for ever.
    pub(super) fn serves(&self) -> bool {
        matches!(self.state, State::Running(process) if process.run == Run::Serve)
    }

    /// True when it is down though it is to run.
    pub(super) fn is_failed(&self) -> bool {
        matches!(self.state, State::Backoff { .. } | State::Exited(Rest::Failed))
    }

    /// True when nothing of it lives.
    pub(super) fn is_empty(&self) -> bool {
        self.process().is_none() && self.predecessor.is_none()
    }

    /// True when it has one process, which is ready.
    pub(super) fn is_settled(&self) -> bool {
        let rests = matches!(self.state, State::Running(_) | State::Exited(_));
        rests && self.predecessor.is_none() && !self.roll_wanted && self.proof.is_none()
    }

    /// When to send it [`SlotEvent::Deadline`].
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let current = match &self.state {
            State::Stopped | State::Backoff { .. } | State::Exited(_) => None,
            State::Running(process) => {
                let expires = process.expires_at().filter(|_| !self.roll_wanted);
                let proven = self.proof.and_then(|proof| proof.until());
                [expires, proven].into_iter().flatten().min()
            }
            State::Starting(process) => process.verdict_at(),
            State::Stopping(leaving) => leaving.next_deadline(),
        };
        let predecessor = match &self.predecessor {
            Some(Predecessor::Leaving(leaving)) => leaving.next_deadline(),
            Some(Predecessor::Serving(_)) | None => None,
        };
        [current, predecessor].into_iter().flatten().min()
    }

    /// Forgets past failures: the program is another one.
    pub(super) fn forgive(&mut self, turn: &mut Turn) {
        self.failures = 0;
        self.quick_failures = 0;
        self.hasten(turn);
    }

    /// Ends its pause or its rest.
    pub(super) fn hasten(&mut self, turn: &mut Turn) {
        match &mut self.state {
            State::Backoff { until: Some(until) } => *until = turn.now,
            // It is shown as this already.
            State::Exited(Rest::NotYet) => self.state = State::Stopped,
            State::Exited(Rest::Done | Rest::Failed) => {
                self.enter(State::Stopped, Why::Forgiven, turn);
            }
            State::Stopped
            | State::Backoff { until: None }
            | State::Starting(_)
            | State::Running(_)
            | State::Stopping(_) => {}
        }
    }
}
