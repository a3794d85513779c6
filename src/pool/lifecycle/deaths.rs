//! How a slot's processes ended, and what is remembered of that.

use std::time::{Duration, Instant};

use super::leaving::Leaving;
use super::slot::{Course, Failure, Process, Slot};
use super::why::{Next, Why, short};
use crate::model::Exit;
use crate::pool::LastExit;

/// The end of a process by itself, or of one that had to be ended.
#[derive(Clone, Debug)]
pub(super) struct Death {
    exit: Exit,
    after: Duration,
    /// What it was ended for; empty when it ended by itself.
    pub(super) blame: String,
}

impl Death {
    pub(super) fn why(self, next: Next) -> Why {
        let Self { exit, after, blame } = self;
        Why::Died { exit, after, blame, next }
    }

    /// `exit 1 after 0.02 s`
    pub(super) fn text(&self) -> String {
        format!("{} after {}", self.exit, short(self.after))
    }
}

impl Failure {
    /// A process failed.
    pub(super) fn of(process: Process, index: u32, reason: String, course: &Course) -> Self {
        Self { index, reason, of_former: process.generation != course.generation }
    }

    /// A slot is not to come to what is wanted of it, and no process of it is to blame.
    pub(super) fn without_process(index: u32, reason: String) -> Self {
        Self { index, reason, of_former: false }
    }
}

impl Slot {
    /// Has a process ended for this.
    pub(super) fn blame(&mut self, process: Process, reason: &str) {
        self.blames.push((process.worker, reason.to_owned()));
    }

    /// What a process was ended for; empty when it was not.
    pub(super) fn blame_of(&self, process: Process) -> String {
        let found = self.blames.iter().find(|(worker, _)| *worker == process.worker);
        found.map_or_else(String::new, |(_, reason)| reason.clone())
    }

    /// Notes how a process ended that was not asked to.
    pub(super) fn death(&mut self, process: Process, exit: Exit, at: Instant) -> Death {
        let blame = self.blame_of(process);
        self.note_exit(process, exit, false, at);
        Death { exit, after: at.saturating_duration_since(process.started), blame }
    }

    /// Notes how a process ended that was to.
    pub(super) fn departure(
        &mut self,
        leaving: Leaving,
        exit: Exit,
        next: Next,
        at: Instant,
    ) -> Why {
        if !self.blame_of(leaving.process).is_empty() {
            return self.death(leaving.process, exit, at).why(next);
        }
        self.note_exit(leaving.process, exit, true, at);
        Why::Stopped(exit)
    }

    fn note_exit(&mut self, process: Process, exit: Exit, asked: bool, at: Instant) {
        let blame = self.blame_of(process);
        self.blames.retain(|(worker, _)| *worker != process.worker);
        self.last_exit = Some(LastExit { worker: process.worker, exit, at, asked, blame });
    }
}
