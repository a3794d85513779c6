//! What a pool's workers serve, where the file does not say it: known while none runs, and after a
//! restart of the daemon.
//!
//! Whether what is on disk was learned of this program is told by a fingerprint of its files, which
//! may be many and far away. They are looked at in threads of their own, for which nobody waits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::carrier::Demand;
use super::deploys::program_files;
use crate::config::PoolSettings;
use crate::model::FunctionName;
use crate::pool::{Memory, Page, Served, SlotView};

/// How long the look at a program's files may take; then what it serves is learned anew.
const RECALL_MAX: Duration = Duration::from_secs(1);

/// Function names, sorted.
type Functions = Arc<[FunctionName]>;

/// What a pool's workers serve.
#[derive(Debug, Default)]
pub(super) struct Learned {
    functions: Functions,
    /// What of that is on disk, if that was learned of this program.
    remembered: Option<Functions>,
    recall: Option<Recall>,
    remembering: Option<JoinHandle<()>>,
    /// When the program became another one; workers from before tell nothing of it.
    renewed: Option<Instant>,
}

/// A look at the program's files is under way.
#[derive(Debug)]
struct Recall {
    until: Instant,
    /// Dropped when the program is another one.
    functions: oneshot::Receiver<Functions>,
}

impl Learned {
    /// What is known; empty: nothing.
    pub(super) fn functions(&self) -> Functions {
        Arc::clone(&self.functions)
    }

    /// True when a worker has to tell it.
    pub(super) fn is_unknown(&self) -> bool {
        self.functions.is_empty() && self.recall.is_none()
    }

    /// The file or the workers tell it.
    pub(super) fn learn(&mut self, functions: Functions) {
        self.functions = functions;
    }

    /// The program is another one from now on, and may serve others.
    pub(super) fn forget(&mut self, now: Instant) {
        self.functions = Arc::default();
        self.remembered = None;
        self.recall = None;
        self.renewed = Some(now);
    }

    /// Takes up what was learned before the daemon started, if it was of the same program; a look at
    /// the pools is asked for when that is known.
    pub(super) fn recall(
        &mut self,
        memory: &Page<Memory>,
        settings: &Arc<PoolSettings>,
        (tasks, demand): (&TaskTracker, &mpsc::Sender<Demand>),
    ) {
        let is_told = !settings.program.functions.is_empty();
        let Some(Served { program, functions }) = memory.read().serves.filter(|_| !is_told) else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        let (settings, demand) = (Arc::clone(settings), demand.clone());
        tasks.spawn_blocking(move || {
            let names = functions.iter().map(|name| FunctionName::from(name.as_str()));
            let is_same = fingerprint(&settings) == program;
            if is_same.then(|| answer.send(names.collect())).is_some_and(|told| told.is_err()) {
                tracing::debug!(pool = %settings.name, "what it serves was learned meanwhile");
            }
            Demand::tell(&demand);
        });
        let until = Instant::now() + RECALL_MAX;
        self.recall = Some(Recall { until, functions: answered });
    }

    /// Takes in what the look at the program's files has told by now.
    pub(super) fn hear(&mut self, now: Instant) {
        let Some(recall) = &mut self.recall else { return };
        match recall.functions.try_recv() {
            Ok(functions) => {
                if self.functions.is_empty() {
                    self.functions = Arc::clone(&functions);
                }
                self.remembered = Some(functions);
            }
            Err(oneshot::error::TryRecvError::Empty) if now < recall.until => return,
            Err(_) => {}
        }
        self.recall = None;
    }

    /// Puts on disk what was learned since, once all workers are of the present program.
    pub(super) fn remember(
        &mut self,
        memory: &Page<Memory>,
        settings: &Arc<PoolSettings>,
        slots: &[SlotView],
        tasks: &TaskTracker,
    ) {
        let is_told = !settings.program.functions.is_empty();
        let is_known = self.remembered.as_ref() == Some(&self.functions);
        if is_told || is_known || self.functions.is_empty() || self.recall.is_some() {
            return;
        }
        let is_writing = self.remembering.as_ref().is_some_and(|task| !task.is_finished());
        if is_writing || !slots.iter().all(|slot| self.tells_of_now(slot)) {
            return;
        }
        self.remembered = Some(self.functions());
        let name = |name: &FunctionName| String::from_utf8(name.0.to_vec()).ok();
        let functions: Option<Vec<_>> = self.functions.iter().map(name).collect();
        let (memory, settings) = (memory.clone(), Arc::clone(settings));
        self.remembering = Some(tasks.spawn_blocking(move || {
            let serves =
                functions.map(|functions| Served { program: fingerprint(&settings), functions });
            memory.change(|memory| memory.serves = serves);
        }));
    }

    /// The order for new workers may not have reached the pool: its view alone does not tell.
    fn tells_of_now(&self, slot: &SlotView) -> bool {
        let is_old = slot.started.is_some_and(|at| self.renewed.is_some_and(|then| at < then));
        slot.pid.is_none() || !slot.outdated && !is_old
    }
}

/// Tells a program and its files from others, as far as they may serve other functions. Blocks.
fn fingerprint(settings: &PoolSettings) -> u64 {
    let program = &settings.program;
    let files = program_files(settings).fingerprint();
    // Its keys are the same in every run.
    let mut hasher = DefaultHasher::new();
    (&program.command, &program.directory, &program.env, files).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PoolName;
    use crate::pool::{SlotRole, SlotState};

    #[test]
    fn only_workers_of_the_present_program_tell_what_it_serves() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let pool: PoolName = "p".parse().unwrap();
        let slot = |pid, started: u64, outdated| SlotView {
            name: pool.worker(1),
            role: SlotRole::Current,
            state: SlotState::Running,
            detail: String::new(),
            worker: None,
            pid,
            since: start,
            started: Some(at(started)),
            failed: false,
            restarts: 0,
            last_exit: None,
            last_lines: Vec::new(),
            outdated,
        };
        let mut learned = Learned::default();
        assert!(learned.tells_of_now(&slot(Some(7), 1, false)));
        learned.forget(at(2));
        assert!(!learned.tells_of_now(&slot(Some(7), 1, false)), "it is to go");
        assert!(!learned.tells_of_now(&slot(Some(7), 3, true)), "it waits for the canary");
        assert!(learned.tells_of_now(&slot(Some(7), 3, false)));
        assert!(learned.tells_of_now(&slot(None, 1, false)), "it has ended");
    }
}
