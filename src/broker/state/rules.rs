//! What the file says of functions, what an operator paused, and functions that nobody uses.
//!
//! All of it is looked up once for each function and kept with it, so that a job costs no matching
//! of patterns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wildmatch::WildMatch;

use super::State;
use super::commits::Redo;
use super::effects::Effects;
use super::functions::{Function, FunctionKey};
use super::timers::Timer;
use crate::broker::record::Change;
use crate::config::{BrokerRules, StoreKind};
use crate::model::{FunctionName, Priority};

/// How often a function is looked at while it goes stale, and how seldom at least and at most.
const LOOKS_UNTIL_STALE: u32 = 8;
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_mins(1);

impl State {
    /// What the file says, which may have been edited.
    pub fn set_rules(&mut self, now: Instant, rules: Arc<BrokerRules>) {
        self.settings.rules = rules;
        for key in self.functions.keys() {
            self.apply_rule(key);
            self.look_at_expiry(now, key);
        }
        self.look_for_stale(now);
    }

    /// Pauses the functions of a pattern, those too that are yet to come.
    pub fn pause(&mut self, pattern: &str, fx: &mut Effects) {
        if self.paused.insert(pattern.to_owned()) {
            self.commits.redo.remove(&Redo::Pause(pattern.to_owned()));
            self.commits.push(Change::Pause(pattern.to_owned()), fx);
            self.apply_pauses();
        }
    }

    /// Ends the pauses that a pattern means, and tells them; none when there is no such pause.
    pub fn resume(&mut self, now: Instant, pattern: &str, fx: &mut Effects) -> Vec<String> {
        let meant = WildMatch::new(pattern);
        let ended: Vec<String> =
            self.paused.iter().filter(|paused| meant.matches(paused)).cloned().collect();
        for paused in &ended {
            self.paused.remove(paused);
            self.commits.redo.remove(&Redo::Pause(paused.clone()));
            self.commits.push(Change::Resume(paused.clone()), fx);
        }
        for key in self.apply_pauses() {
            let waiting = self.functions.get(key).map_or(0, Function::ready_len);
            self.call_for(now, key, waiting, fx);
        }
        ended
    }

    /// A pause that was kept from before; at start.
    pub fn restore_pause(&mut self, pattern: String) {
        self.paused.insert(pattern);
        self.apply_pauses();
    }

    /// Patterns of functions that are paused.
    #[must_use]
    pub fn pauses(&self) -> &BTreeSet<String> {
        &self.paused
    }

    /// The function of this name, made when there is none.
    pub(super) fn ensure_function(&mut self, name: &FunctionName) -> FunctionKey {
        if let Some(key) = self.functions.key(name) {
            return key;
        }
        let key = self.functions.add(name);
        self.apply_rule(key);
        if self.is_paused(name) {
            self.functions.set_paused(key, true);
        }
        key
    }

    /// Forgets a function to which nothing refers.
    pub(super) fn forget_function(&mut self, key: FunctionKey) {
        self.timers.clear(Timer::Wake(key));
        self.timers.clear(Timer::Expire(key));
        self.functions.remove(key);
    }

    /// How often a worker may die with a job of the function before the job is given up.
    pub(super) fn attempts_max(&self, key: FunctionKey) -> u32 {
        let rule = self.functions.get(key).and_then(|function| function.rule.attempts_max);
        rule.unwrap_or(self.settings.attempts_max)
    }

    /// Whether background jobs of the function are kept in memory alone.
    pub(super) fn is_in_memory(&self, key: FunctionKey) -> bool {
        let rule = || self.functions.get(key).and_then(|function| function.rule.store);
        self.settings.store == StoreKind::Memory || rule() == Some(StoreKind::Memory)
    }

    /// Whether a payload is longer than the file allows for the function.
    pub(super) fn is_too_long(&self, key: FunctionKey, payload_len: usize) -> bool {
        let max = self.functions.get(key).and_then(|function| function.rule.payload_len_max);
        max.is_some_and(|max| payload_len as u64 > max)
    }

    /// Whether one more job is one too many.
    pub(super) fn is_full(&self, key: FunctionKey, priority: Priority) -> bool {
        if self.settings.rules.queued_max.is_some_and(|max| self.jobs.len() as u64 >= max) {
            return true;
        }
        self.functions.get(key).is_some_and(|function| {
            let limits = [*function.limits.get(priority), function.rule.queued_max];
            limits.into_iter().flatten().any(|limit| function.total() as u64 >= limit)
        })
    }

    /// Functions that nobody has used for long leave.
    pub(super) fn leave_stale(&mut self, now: Instant) {
        let stale_after = self.settings.rules.stale_after;
        for key in self.functions.keys() {
            let Some(function) = self.functions.get_mut(key) else { continue };
            if function.made || !function.is_unused() {
                function.unused = None;
                continue;
            }
            match function.unused {
                Some((since, ended)) if ended == function.ended => {
                    if now.saturating_duration_since(since) >= stale_after {
                        self.forget_function(key);
                    }
                }
                // It was used between two looks.
                Some(_) | None => function.unused = Some((now, function.ended)),
            }
        }
        self.look_for_stale(now);
    }

    /// Sets the timer for the next look at unused functions.
    pub(super) fn look_for_stale(&mut self, now: Instant) {
        let stale_after = self.settings.rules.stale_after;
        if stale_after.is_zero() {
            self.timers.clear(Timer::Stale);
        } else {
            let look = (stale_after / LOOKS_UNTIL_STALE).clamp(LOOK_MIN, LOOK_MAX);
            self.timers.set(Timer::Stale, now + look);
        }
    }

    fn apply_rule(&mut self, key: FunctionKey) {
        if let Some(function) = self.functions.get_mut(key) {
            function.rule = self.settings.rules.functions.of(&function.name);
        }
    }

    /// Brings every function in line with the pauses, and tells those that go on.
    fn apply_pauses(&mut self) -> Vec<FunctionKey> {
        let mut resumed = Vec::new();
        for key in self.functions.keys() {
            let Some(function) = self.functions.get(key) else { continue };
            let (was, is) = (function.paused, self.is_paused(&function.name));
            if was != is {
                self.functions.set_paused(key, is);
                if is {
                    self.timers.clear(Timer::Wake(key));
                } else {
                    resumed.push(key);
                }
            }
        }
        resumed
    }

    fn is_paused(&self, name: &FunctionName) -> bool {
        let name = name.to_string();
        self.paused.iter().any(|pattern| WildMatch::new(pattern).matches(&name))
    }
}
