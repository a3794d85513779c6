//! What was decided, with the numbers it rests on, and the sentence that tells it.

use std::cmp::Ordering;
use std::time::Duration;

use super::budget::Limit;
use super::need::Inputs;

/// What is to be done with one pool and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// What demand asks for, unlimited by max and host.
    pub wanted: u32,
    /// What the pool is to run.
    pub target: u32,
    /// What it was to run before.
    pub before: u32,
    /// Whose workers go when the target is lower than before.
    pub take: Take,
    /// What kept the target below `wanted`.
    pub limit: Option<Limit>,
    /// The objective it was decided for.
    pub max_wait: Duration,
    /// The numbers it rests on.
    pub inputs: Inputs,
}

/// Which workers go when a pool shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Take {
    /// Those that have been idle long.
    #[default]
    Surplus,
    /// Any idle ones: another pool, or the host, needs the room.
    Idle,
    /// Busy ones too, after their job.
    Busy,
    /// Any idle ones: the host is short of memory.
    IdleForMemory,
    /// Busy ones too, after their job: the host is short of memory.
    BusyForMemory,
}

impl Take {
    /// True when busy workers go too.
    #[must_use]
    pub fn takes_busy(self) -> bool {
        match self {
            Self::Busy | Self::BusyForMemory => true,
            Self::Surplus | Self::Idle | Self::IdleForMemory => false,
        }
    }
}

impl Decision {
    /// True when the pool is to have another count than before.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.target != self.before
    }

    /// The reason in one sentence: `40 wait, oldest 1.2 s, 0.8 s a job: 14 workers meet
    /// max_wait = 5s; 6→9, limited by memory`.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{}; {}", self.demand(), self.change())
    }

    fn demand(&self) -> String {
        let Inputs { queued, oldest, service, running, busy, .. } = self.inputs;
        let workers = self.workers();
        if queued > 0.0 {
            let wait = humantime::format_duration(self.max_wait);
            return format!(
                "{} wait, oldest {:.1} s, {} a job: {workers} meet max_wait = {wait}",
                queued.ceil(),
                oldest.as_secs_f64(),
                seconds(service),
            );
        }
        if running == 0 && busy < 0.05 {
            return "nothing waits or runs".to_owned();
        }
        format!("{running} run, {busy:.1} on average, none wait: {workers} needed")
    }

    /// `14 workers`, or `14 workers, 5 of them here and the others on 2 hosts,`
    fn workers(&self) -> String {
        let Inputs { hosts, needed, .. } = self.inputs;
        let Self { wanted, .. } = self;
        match hosts {
            0 | 1 => format!("{wanted} workers"),
            2 => format!("{needed} workers, {wanted} here and the others on another host,"),
            hosts => {
                format!("{needed} workers, {wanted} here and the others on {} hosts,", hosts - 1)
            }
        }
    }

    fn change(&self) -> String {
        let Self { before, target, .. } = self;
        let limited = self.limit.map(|limit| format!(", limited by {limit}")).unwrap_or_default();
        match (target.cmp(before), self.take) {
            (Ordering::Greater, _) => format!("{before}→{target}{limited}"),
            (Ordering::Equal, _) => format!("stays at {target}{limited}"),
            (Ordering::Less, Take::Surplus) => {
                let window = self.inputs.window.as_secs();
                format!("{before}→{target}: idle above the need of the last {window} s")
            }
            (Ordering::Less, Take::Idle) => {
                format!("{before}→{target}: idle, and their room is needed")
            }
            (Ordering::Less, Take::Busy) => {
                format!("{before}→{target}, after their jobs: others have less than their share")
            }
            (Ordering::Less, Take::IdleForMemory) => {
                format!("{before}→{target}: idle, and the host is short of memory")
            }
            (Ordering::Less, Take::BusyForMemory) => {
                format!("{before}→{target}, after their jobs: the host is short of memory")
            }
        }
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}
