//! What a pool publishes of itself.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::handle::Hurdle;
use crate::config::{PoolSettings, Program};
use crate::model::{Exit, PoolName, WorkerId, WorkerName};

/// A pool at one moment; published at most every 20 ms.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Its settings.
    pub settings: Arc<PoolSettings>,
    /// What the operator or the file wants of it.
    pub intent: PoolIntent,
    /// How many workers it is to have.
    pub target: u32,
    /// What keeps it from starting.
    pub hurdle: Option<Hurdle>,
    /// What came of a time at which no run began, or began before the daemon did: when, and what.
    pub past: Option<(SystemTime, String)>,
    /// How the last roll of its workers goes, while there is something to say of it.
    pub deploy: Option<DeployView>,
    /// The program that its workers run, while that of the settings has not proved itself.
    pub former: Option<Program>,
    /// Its slots in the order of their numbers; in a roll a slot stands here twice, the
    /// predecessor after its successor.
    pub slots: Vec<SlotView>,
}

/// How a roll goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployView {
    /// Its canary.
    pub worker: WorkerName,
    /// Since when it is as it is.
    pub at: SystemTime,
    /// Why the canary failed; `None` while it proves itself.
    pub failed: Option<String>,
}

/// What is wanted of a pool as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolIntent {
    /// Its workers are to run.
    Up,
    /// An operator stopped it.
    Stopped,
}

/// One process of a slot, or an empty slot.
#[derive(Clone, Debug)]
pub struct SlotView {
    /// `POOL:N`
    pub name: WorkerName,
    /// Whether this is the slot's present or its outgoing process.
    pub role: SlotRole,
    /// Its state, in supervisord's words.
    pub state: SlotState,
    /// The state in more words: `2nd exit in 3 s, next try in 1.2 s`; may be empty.
    pub detail: String,
    /// The process, while there is one.
    pub worker: Option<WorkerId>,
    /// Its process id.
    pub pid: Option<i32>,
    /// When the state was entered.
    pub since: Instant,
    /// When the process was started.
    pub started: Option<Instant>,
    /// Whether it is down against what is wanted.
    pub failed: bool,
    /// How often the slot's process was replaced after it had died by itself.
    pub restarts: u64,
    /// How the slot's previous process ended.
    pub last_exit: Option<LastExit>,
    /// The last lines of that process, if it failed.
    pub last_lines: Vec<String>,
    /// True when it runs settings that are no longer the pool's.
    pub outdated: bool,
}

/// Which of a slot's two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRole {
    /// The one that counts.
    Current,
    /// The one that finishes its job while its successor runs.
    Predecessor,
}

/// supervisord's states, less UNKNOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Not running, because that is wanted.
    Stopped,
    /// Started, not yet ready.
    Starting,
    /// Ready.
    Running,
    /// Died before it was ready; waits for its next try.
    Backoff,
    /// To stop: finishes its job, or has got its signal.
    Stopping,
    /// Ended by itself and not restarted.
    Exited,
    /// Cannot be started.
    Fatal,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct LastExit {
    /// The process.
    pub worker: WorkerId,
    /// Code or signal.
    pub exit: Exit,
    /// When.
    pub at: Instant,
    /// Whether we had asked it to stop.
    pub asked: bool,
    /// What it had to be ended for; empty when nothing.
    pub blame: String,
}

impl LastExit {
    /// `exit 3`, `killed by KILL, since job H:x:3 took longer than 10m`
    #[must_use]
    pub fn sentence(&self) -> String {
        let asked = if self.asked { ", as asked" } else { "" };
        match self.blame.as_str() {
            "" => format!("{}{asked}", self.exit),
            blame => format!("{}, since {blame}", self.exit),
        }
    }
}

impl SlotState {
    /// supervisord's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
        }
    }
}
