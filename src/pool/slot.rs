//! A slot: one number of a pool, its process, and in a roll the process before it.

use std::time::Instant;

use super::lifecycle::Stage;
use super::view::{LastExit, SlotRole, SlotState, SlotView};
use crate::model::{WorkerId, WorkerName};

/// One number of a pool.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) current: Option<Process>,
    /// Finishes its job while `current` takes over.
    pub(super) predecessor: Option<Process>,
    /// After a start that failed: when the next one is due, and what happened.
    pub(super) pause: Option<Pause>,
    /// Early deaths in a row.
    pub(super) failures: u32,
    pub(super) restarts: u64,
    pub(super) last_exit: Option<LastExit>,
    /// An operator stopped this one worker.
    pub(super) stopped: bool,
}

/// A live process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pub(super) worker: WorkerId,
    pub(super) pid: i32,
    pub(super) stage: Stage,
    pub(super) started: Instant,
    pub(super) since: Instant,
    /// Which version of the program it runs.
    pub(super) version: u64,
    /// Whether its pool has asked if it may go.
    pub(super) asked: bool,
}

/// A wait before the next try.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    pub(super) since: Instant,
    pub(super) why: String,
}

impl Slot {
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.predecessor.is_none() && self.pause.is_none()
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.current.iter().chain(&self.predecessor)
    }

    pub(super) fn process_mut(&mut self, worker: WorkerId) -> Option<&mut Process> {
        let both = self.current.iter_mut().chain(&mut self.predecessor);
        both.into_iter().find(|process| process.worker == worker)
    }

    /// Takes a process that ended out of the slot.
    pub(super) fn take(&mut self, worker: WorkerId) -> Option<(SlotRole, Process)> {
        let is = |process: &Option<Process>| process.is_some_and(|p| p.worker == worker);
        if is(&self.current) {
            return self.current.take().map(|process| (SlotRole::Current, process));
        }
        let process = if is(&self.predecessor) { self.predecessor.take() } else { None };
        process.map(|process| (SlotRole::Predecessor, process))
    }

    /// What is published of the slot: its process, its empty place, its outgoing process.
    pub(super) fn views(&self, name: &WorkerName, version: u64, opened: Instant) -> Vec<SlotView> {
        let of = |process: &Process, role| SlotView {
            name: name.clone(),
            role,
            state: state_of(process.stage),
            detail: detail_of(process.stage).to_owned(),
            worker: Some(process.worker),
            pid: Some(process.pid),
            since: process.since,
            started: Some(process.started),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            outdated: process.version != version,
        };
        let current = match &self.current {
            Some(process) => of(process, SlotRole::Current),
            None => self.empty_view(name, opened),
        };
        let predecessor = self.predecessor.as_ref().map(|p| of(p, SlotRole::Predecessor));
        std::iter::once(current).chain(predecessor).collect()
    }

    fn empty_view(&self, name: &WorkerName, opened: Instant) -> SlotView {
        let ended = self.last_exit.as_ref().map_or(opened, |exit| exit.at);
        let (state, detail, since) = match &self.pause {
            Some(pause) => (SlotState::Backoff, pause.why.clone(), pause.since),
            None => (SlotState::Stopped, String::new(), ended),
        };
        SlotView {
            name: name.clone(),
            role: SlotRole::Current,
            state,
            detail,
            worker: None,
            pid: None,
            since,
            started: None,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            outdated: false,
        }
    }
}

fn state_of(stage: Stage) -> SlotState {
    match stage {
        Stage::Starting => SlotState::Starting,
        Stage::Running => SlotState::Running,
        Stage::Draining | Stage::Signalled(_) => SlotState::Stopping,
    }
}

fn detail_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting | Stage::Running => "",
        Stage::Draining => "draining: finishes its job",
        Stage::Signalled(0) => "got its stop signal",
        Stage::Signalled(_) => "did not end at its stop signal",
    }
}
