//! What happens to a pool's workers, and what is to be done about it.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::why::Why;
use crate::config::{AgeMax, Backoff, PoolProtocol, PoolSettings, ReadyOn, Restart, StopStep};
use crate::model::{Exit, WorkerId};
use crate::pool::{Pick, SlotRole, SlotState};

/// No pause is longer, whatever a file says.
const PAUSE_MAX: Duration = Duration::from_hours(24);

/// A request that is answered by [`Effect::Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a pool's settings mean to its workers' lifecycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What a drained worker gets, in order; empty kills at once.
    pub stop: Vec<StopStep>,
    /// Pauses between starts that fail.
    pub backoff: Backoff,
    /// Most workers.
    pub count_max: u32,
    /// Whether two processes of a slot may live at once.
    pub successor: Successor,
    /// When a process is ready.
    pub ready: ReadyRule,
    /// When a process that ended is started again.
    pub restart: Restart,
    /// Exit codes that are no failure.
    pub exit_codes: Vec<i32>,
    /// When a process is replaced for its age.
    pub age_max: Option<AgeMax>,
    /// Most processes that are recycled at once.
    pub recycling_max: u32,
    /// Most processes that are rolled at once.
    pub rolling_max: u32,
    /// How long the first new process of a roll has to live, unless it does a job before; `None`:
    /// the others do not wait for it.
    pub canary: Option<Duration>,
}

impl Rules {
    /// Whether the exit is no failure.
    pub(super) fn expects(&self, exit: Exit) -> bool {
        matches!(exit, Exit::Code(code) if self.exit_codes.contains(&code))
    }

    /// Whether a process that ended so by itself is started again.
    pub(super) fn restarts(&self, exit: Exit) -> bool {
        match self.restart {
            Restart::Always => true,
            Restart::Unexpected => !self.expects(exit),
            Restart::Never => false,
        }
    }
}

/// When a process is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyRule {
    /// What is waited for.
    pub until: ReadyUntil,
    /// It must have lived so long.
    pub after: Duration,
    /// A start that takes longer has failed; not for [`ReadyUntil::Alive`].
    pub timeout: Duration,
}

/// What a start waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyUntil {
    /// Nothing but the time; a registration is taken for it too.
    Alive,
    /// [`Event::Registered`]
    Registered,
    /// [`Event::Ready`]
    Told,
}

/// How a process follows its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Successor {
    /// It is ready before the predecessor leaves.
    Overlaps,
    /// It is started after the predecessor ended: a plain program may hold a port.
    Follows,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// So many workers are to run.
    Target {
        /// The number.
        target: u32,
        /// Whether busy ones above it are drained too.
        drain_busy: bool,
    },
    /// The settings changed.
    Configure {
        /// What they mean here.
        rules: Rules,
        /// What becomes of the workers' program.
        program: ProgramChange,
        /// The new target.
        target: u32,
        /// Answered when all of it is done, or when a start fails.
        request: RequestId,
    },
    /// Start what is stopped or pauses.
    Start {
        /// Which.
        pick: Pick,
        /// Answered when they are ready, or when a start fails.
        request: RequestId,
    },
    /// Drain and stop.
    Stop {
        /// Which.
        pick: Pick,
        /// Answered when no process of them is left.
        request: RequestId,
    },
    /// Replace the processes.
    Restart {
        /// Which.
        pick: Pick,
        /// How.
        mode: RestartMode,
        /// Answered when only new ones are left, or when a start fails.
        request: RequestId,
    },
    /// The program's files changed: replace the processes, if any run.
    Renew {
        /// Answered when only new ones are left, or when a start fails.
        request: RequestId,
    },
    /// Drain all; kill what is left after `grace`; then the pool has ended.
    Close {
        /// How long jobs in hand may take.
        grace: Duration,
        /// Answered when no process is left.
        request: RequestId,
    },
    /// Kill all, if the pool is closing.
    Hurry,
    /// The process was started just now.
    Started(WorkerId),
    /// The worker registered with the broker.
    Registered(WorkerId),
    /// The worker's `ready` condition came about.
    Ready(WorkerId),
    /// The worker failed its liveness check.
    Unhealthy {
        /// Which.
        worker: WorkerId,
        /// How.
        reason: String,
    },
    /// The worker is well, and to be replaced all the same.
    Recycle {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// The worker's job is to be killed, and the worker with it.
    Overrun {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// The worker ended a job.
    JobEnded {
        /// Which.
        worker: WorkerId,
        /// Whether the job has a result.
        well: bool,
    },
    /// The worker holds no job and gets none; answers [`Effect::Ask`] and [`Effect::Drain`].
    Drained(WorkerId),
    /// The worker holds a job and goes on; answers [`Effect::Ask`].
    Busy(WorkerId),
    /// The process ended.
    Ended {
        /// Which.
        worker: WorkerId,
        /// How.
        exit: Exit,
    },
    /// The process could not be started.
    NotStarted {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// The process was not started, since it was to stop before its turn came.
    Withdrawn(WorkerId),
    /// The time that [`Roster::next_deadline`] named has come.
    ///
    /// [`Roster::next_deadline`]: super::Roster::next_deadline
    Deadline,
}

/// What an edit does to the program that workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramChange {
    /// Nothing.
    Same,
    /// It is another one: the workers roll.
    New,
    /// It is again the one that they still run, since the other one has not proved itself.
    Back,
}

/// How processes are replaced on an operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartMode {
    /// One after the other, the successor first.
    Roll,
    /// All at once: each is started again when it has ended.
    Now,
}

/// Which program a process is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// That of the settings in force.
    InForce,
    /// The one before, since that of the settings has not proved itself.
    Former,
}

/// How far the canary of a roll is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeployStep {
    /// This slot has it.
    Began {
        /// The slot's number.
        index: u32,
    },
    /// It has proved itself: the others follow.
    Proved {
        /// The slot's number.
        index: u32,
    },
    /// It has failed: the old ones stay.
    Failed {
        /// The slot's number.
        index: u32,
        /// How.
        reason: String,
    },
}

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start a process for a slot.
    Start {
        /// The process.
        worker: WorkerId,
        /// The slot's number.
        index: u32,
        /// What it is to run.
        edition: Edition,
    },
    /// Ask whether the worker may go; if so it gets no further job.
    Ask(WorkerId),
    /// Give the worker no further job; tell when it holds none.
    Drain(WorkerId),
    /// Send a signal to the process.
    Signal(WorkerId, Signal),
    /// Wake the worker if it sleeps in its Gearman library.
    Nudge(WorkerId),
    /// Kill the process and its whole group.
    Kill(WorkerId),
    /// Answer a request.
    Answer(RequestId, Result<(), String>),
    /// A slot's state changed.
    Moved(Move),
    /// Jobs that the worker holds when it ends are charged, though it drains.
    Charge(WorkerId),
    /// Tell when the worker ends its next job.
    Await(WorkerId),
    /// The canary of a roll has come further.
    Deploy(DeployStep),
    /// No worker of the pool runs, and its starts fail.
    Failed(String),
    /// The pool has ended: no process is left and none will be started.
    Finish,
}

/// A change of a slot's state.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The slot's number.
    pub index: u32,
    /// Whether its present or its outgoing process is meant.
    pub role: SlotRole,
    /// The process, if there is or was one.
    pub worker: Option<WorkerId>,
    /// The state before.
    pub from: SlotState,
    /// The state since.
    pub to: SlotState,
    /// Why.
    pub why: Why,
}

impl From<&PoolSettings> for Rules {
    fn from(settings: &PoolSettings) -> Self {
        let usual_surge = match settings.program.protocol {
            // It may hold a port.
            PoolProtocol::None => 0,
            PoolProtocol::Gearman | PoolProtocol::Exec | PoolProtocol::Lines => 1,
        };
        let surge = settings.upkeep.surge.unwrap_or(usual_surge);
        let successor = if surge == 0 { Successor::Follows } else { Successor::Overlaps };
        let upkeep = &settings.upkeep;
        Self {
            stop: settings.stop.clone(),
            backoff: Backoff { max: upkeep.backoff.max.min(PAUSE_MAX), ..upkeep.backoff },
            count_max: settings.count.max,
            successor,
            ready: ReadyRule {
                until: match upkeep.ready.on {
                    ReadyOn::Alive => ReadyUntil::Alive,
                    ReadyOn::Registered => ReadyUntil::Registered,
                    ReadyOn::Notify | ReadyOn::Line(_) | ReadyOn::Check(_) => ReadyUntil::Told,
                },
                after: upkeep.ready.after,
                timeout: upkeep.ready.timeout,
            },
            restart: upkeep.restart,
            exit_codes: upkeep.exit_codes.clone(),
            age_max: upkeep.recycling.age_max,
            recycling_max: upkeep.recycling.at_once,
            rolling_max: surge.max(1),
            canary: settings.deploys.canary,
        }
    }
}
