//! How the control socket (and anything else inside) talks to the supervisor.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot};

use super::counts::{CountChange, CountNews};
use super::plan::PlannedStep;
use crate::broker::{BrokerHandle, Overview};
use crate::config::{Count, Settings};
use crate::forward::ServerView;
use crate::host::{HostSample, ProcessUsage};
use crate::logs::{LogsHandle, LogsSnapshot};
use crate::model::{NamePattern, WorkerId};
use crate::pool::{PoolNews, PoolView, RestartMode};
use crate::scaler::Decision;

/// The daemon at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// What became of the file.
    pub config: ConfigState,
    /// When the daemon started.
    pub started: Instant,
    /// Every pool.
    pub pools: Vec<Brief>,
    /// Queues and workers, of our broker or of servers outside; `None` when the thread of either
    /// has ended.
    pub broker: Option<Overview>,
    /// The servers outside, when there are some.
    pub servers: Vec<ServerView>,
    /// The host.
    pub host: HostSample,
    /// What workers use, by process id.
    pub usage: HashMap<i32, ProcessUsage>,
    /// Who types, and what of logs was lost.
    pub logs: LogsSnapshot,
    /// Whether the daemon is stopping.
    pub stopping: bool,
}

/// One pool as the supervisor sees it.
#[derive(Clone, Debug)]
pub struct Brief {
    /// What the pool published.
    pub view: Arc<PoolView>,
    /// What demand asks for.
    pub wanted: u32,
    /// The last scaling decision; `None` when demand does not decide the count.
    pub decision: Option<Decision>,
    /// The sentence of the last scaling decision; empty for a fixed pool.
    pub reason: String,
    /// An operator's `scale`, while it holds.
    pub hold: Option<(u32, u32)>,
    /// How many workers it may have: from the file with its `min_at`, or a hold.
    pub bounds: Count,
    /// What raises its min.
    pub raised: Option<RaisedMin>,
    /// What its timetable says.
    pub outlook: Option<Outlook>,
    /// Changes of the last hour, the oldest first; bounded.
    pub changes: Vec<Arc<CountChange>>,
}

/// A min that `min_at` raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaisedMin {
    /// The min.
    pub min: u32,
    /// When that is over.
    pub until: SystemTime,
}

/// A pool's timetable.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The next time; nothing when none ever comes.
    pub next: Option<SystemTime>,
    /// What came of the last time, if that was a job.
    pub last: Option<Occasion>,
}

/// What came of one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// When.
    pub at: SystemTime,
    /// `submitted job H:x:3`
    pub said: String,
}

/// What became of the file on disk.
#[derive(Clone, Debug)]
pub struct ConfigState {
    /// When the settings in force were read.
    pub loaded_at: SystemTime,
    /// Whether they are those of an earlier file, since the present one was broken at the start.
    pub is_copy: bool,
    /// Why a later version of the file is not in force: one line per mistake.
    pub rejected: Option<Rejected>,
}

/// A version of the file that was not applied.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// When it was read.
    pub at: SystemTime,
    /// `file:line:column: key: what is wrong; what to write`.
    pub errors: Vec<String>,
}

/// What `scale` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleTo {
    /// A hold at these bounds.
    Bounds {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
    /// Back to the file.
    Auto,
}

/// `1..8`, `4`, or `auto`: as it is typed.
impl fmt::Display for ScaleTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds { min, max } => Count { min: *min, max: *max }.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing has that name.
    #[error("no pool or worker is called '{name}'{}", hint.as_ref().map(|h| format!("; did you mean '{h}'?")).unwrap_or_default())]
    NoSuchName {
        /// What was asked for.
        name: String,
        /// The nearest name.
        hint: Option<String>,
    },
    /// It was tried and did not come about.
    #[error("{0}")]
    Failed(String),
    /// The file has mistakes: one line each.
    #[error("{}", .0.join("\n"))]
    BadFile(Vec<String>),
    /// The supervisor has stopped.
    #[error(transparent)]
    Gone(#[from] SupervisorGone),
}

/// What a command did, one sentence per pool or worker: `wordcount 2→4: 2 started, 0 restarted`.
pub type Progress = Vec<String>;

/// The answer channel of a command.
pub type Answer = oneshot::Sender<Result<Progress, CommandError>>;

/// Who asked: for the log.
pub type Actor = String;

/// One command to the supervisor. Answers come when the effect has happened.
#[derive(Debug)]
pub enum SupervisorCommand {
    /// Start pools or workers.
    Start(Vec<NamePattern>, Actor, Answer),
    /// Drain and stop them.
    Stop(Vec<NamePattern>, Actor, Answer),
    /// Replace their processes.
    Restart {
        /// Which.
        names: Vec<NamePattern>,
        /// One by one, or all at once.
        mode: RestartMode,
        /// Who.
        actor: Actor,
        /// The answer.
        answer: Answer,
    },
    /// Send a signal to them.
    Signal(Vec<NamePattern>, Signal, Actor, Answer),
    /// Kill the worker that holds a job; the job is charged.
    KillJob {
        /// The process.
        worker: WorkerId,
        /// The job.
        handle: String,
        /// Who.
        actor: Actor,
        /// The answer.
        answer: Answer,
    },
    /// Hold pools at a count.
    Scale {
        /// Which.
        names: Vec<NamePattern>,
        /// At what.
        to: ScaleTo,
        /// For how long; `None`: until it is released.
        hold: Option<Duration>,
        /// Who.
        actor: Actor,
        /// The answer.
        answer: Answer,
    },
    /// Read the file again and apply it.
    Reload {
        /// Whether a file without any pool may be applied.
        allow_empty: bool,
        /// Who.
        actor: Actor,
        /// The answer.
        answer: Answer,
    },
    /// Tell what a reload would do, and do nothing.
    Plan {
        /// Whether a file without any pool may be applied.
        allow_empty: bool,
        /// The plan.
        reply: oneshot::Sender<Result<Vec<PlannedStep>, CommandError>>,
    },
    /// Stop everything; answered when only the control socket is left.
    Shutdown(Actor, Answer),
    /// The daemon at this moment.
    Snapshot(oneshot::Sender<Snapshot>),
}

/// The supervisor is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor has stopped")]
pub struct SupervisorGone;

/// Sends commands to the supervisor, and gives the handles that requests may use directly.
#[derive(Clone, Debug)]
pub struct SupervisorHandle {
    commands: mpsc::Sender<SupervisorCommand>,
    /// The broker; `None` with external servers.
    pub broker: Option<BrokerHandle>,
    /// Workers' output.
    pub logs: LogsHandle,
    /// Changes of workers' states.
    pub news: PoolNews,
    /// Changes of what pools are to run.
    pub counts: CountNews,
}

impl SupervisorHandle {
    /// Commands under way at most; a sender waits for room.
    pub const COMMANDS_MAX: usize = 64;

    /// A handle that sends to `commands`.
    #[must_use]
    pub fn new(
        commands: mpsc::Sender<SupervisorCommand>,
        broker: Option<BrokerHandle>,
        logs: LogsHandle,
        news: PoolNews,
        counts: CountNews,
    ) -> Self {
        Self { commands, broker, logs, news, counts }
    }

    /// Carries out a command and waits for its effect.
    ///
    /// # Errors
    /// When it was not carried out.
    pub async fn command(
        &self,
        command: impl FnOnce(Answer) -> SupervisorCommand,
    ) -> Result<Progress, CommandError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.or(Err(SupervisorGone))?;
        answered.await.or(Err(SupervisorGone))?
    }

    /// What a reload would do.
    ///
    /// # Errors
    /// When the file has mistakes, or the supervisor has stopped.
    pub async fn plan(&self, allow_empty: bool) -> Result<Vec<PlannedStep>, CommandError> {
        let (reply, answer) = oneshot::channel();
        let command = SupervisorCommand::Plan { allow_empty, reply };
        self.commands.send(command).await.or(Err(SupervisorGone))?;
        answer.await.or(Err(SupervisorGone))?
    }

    /// The daemon at this moment.
    ///
    /// # Errors
    /// When the supervisor has stopped.
    pub async fn snapshot(&self) -> Result<Snapshot, SupervisorGone> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(SupervisorCommand::Snapshot(reply)).await.or(Err(SupervisorGone))?;
        answer.await.or(Err(SupervisorGone))
    }
}
