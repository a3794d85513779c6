//! The way out of one process: draining, the stop steps, killed.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::event::{Effect, Rules};
use super::slot::Process;
use super::why::Cause;
use crate::config::StopStep;

/// A process that is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub(super) process: Process,
    pub(super) cause: Cause,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It gets no further job and finishes the one in hand, however long that takes.
    Draining,
    /// It got the signal of this step; the next one follows at `until`.
    Signalled { step: usize, signal: Signal, until: Option<Instant> },
    /// It got KILL, with its group.
    Killed,
}

impl Leaving {
    /// Asks for no further job.
    pub(super) fn drain(process: Process, cause: Cause, effects: &mut Vec<Effect>) -> Self {
        effects.push(Effect::Drain(process.worker));
        Self { process, cause, phase: Phase::Draining }
    }

    /// Takes the first step with a process that holds no job and gets none.
    pub(super) fn signal(
        process: Process,
        cause: Cause,
        rules: &Rules,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let mut leaving = Self { process, cause, phase: Phase::Draining };
        leaving.drained(rules, now, effects);
        leaving
    }

    /// Ends it now.
    pub(super) fn kill(process: Process, cause: Cause, effects: &mut Vec<Effect>) -> Self {
        effects.push(Effect::Kill(process.worker));
        Self { process, cause, phase: Phase::Killed }
    }

    /// It holds no job any more.
    pub(super) fn drained(&mut self, rules: &Rules, now: Instant, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Draining) {
            self.step(0, rules, now, effects);
        }
    }

    /// Takes the next step if its time has come.
    pub(super) fn deadline(&mut self, rules: &Rules, now: Instant, effects: &mut Vec<Effect>) {
        if let Phase::Signalled { step, until: Some(until), .. } = self.phase
            && until <= now
        {
            self.step(step + 1, rules, now, effects);
        }
    }

    /// Ends it now, unless that was done already.
    pub(super) fn kill_now(&mut self, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Killed) {
            *self = Self::kill(self.process, self.cause, effects);
        }
    }

    /// When to look again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Signalled { until, .. } => until,
            Phase::Draining | Phase::Killed => None,
        }
    }

    /// What it does, in a few words.
    pub(super) fn detail(&self) -> String {
        match self.phase {
            Phase::Draining => "draining".to_owned(),
            Phase::Signalled { signal, .. } => {
                format!("got {}", signal.as_str().trim_start_matches("SIG"))
            }
            Phase::Killed => "got KILL".to_owned(),
        }
    }

    fn step(&mut self, step: usize, rules: &Rules, now: Instant, effects: &mut Vec<Effect>) {
        let worker = self.process.worker;
        let is_last = rules.stop.len() <= step + 1;
        match rules.stop.get(step) {
            None | Some(StopStep { signal: Signal::SIGKILL, .. }) => self.kill_now(effects),
            Some(StopStep { signal, wait }) => {
                effects.push(Effect::Signal(worker, *signal));
                if *signal == Signal::SIGTERM {
                    // A stopped process does not see TERM before it is continued.
                    effects.push(Effect::Signal(worker, Signal::SIGCONT));
                }
                if step == 0 {
                    // After the signal, never before: the worker's library returns to its loop
                    // and must find there that it is to stop.
                    effects.push(Effect::Nudge(worker));
                }
                let until = if is_last { None } else { now.checked_add(*wait) };
                self.phase = Phase::Signalled { step, signal: *signal, until };
            }
        }
    }
}
