//! What an edit asks of a pool's processes, counted from the edit alone: pure.
//!
//! Workers that die or are restarted by somebody else at the same time change nothing in it, and
//! it is known at once, before anything has been done.

use std::time::SystemTime;

use crate::config::{Changes, PoolChange, Run};
use crate::model::PoolName;
use crate::pool::{PoolIntent, PoolView};

/// How many processes an edit starts, replaces and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    started: u32,
    restarted: u32,
    stopped: u32,
}

impl Plan {
    /// The plan for a pool that was to run `before` workers and is to run `after`.
    pub(super) fn of(change: &PoolChange, view: &PoolView, before: u32, after: u32) -> Self {
        // The file takes a program back that has not proved itself: the workers are not of it.
        let is_back = view.former.as_ref().is_some_and(|former| *former == change.new.program);
        let (before, after) = match view.intent {
            // A run comes to its end, and the next one begins when it is time.
            PoolIntent::Up if change.new.run.run == Run::OnCall => (0, 0),
            PoolIntent::Up => (before, after),
            // An operator keeps it down, whatever the file says.
            PoolIntent::Stopped => (0, 0),
        };
        Self {
            started: after.saturating_sub(before),
            restarted: if change.program.is_empty() || is_back { 0 } else { before.min(after) },
            stopped: before.saturating_sub(after),
        }
    }

    /// Whether running workers have to finish their jobs first.
    pub(super) fn takes_time(&self) -> bool {
        self.restarted > 0 || self.stopped > 0
    }

    /// `2 started, 0 restarted`; what takes time is `2 restarting`, `3 stopping`.
    pub(super) fn begun(&self) -> String {
        self.told(if self.restarted > 0 { "restarting" } else { "restarted" }, "stopping")
    }

    /// `2 started, 0 restarted, 3 stopped`
    pub(super) fn done(&self) -> String {
        self.told("restarted", "stopped")
    }

    /// `2 to start, 3 to replace behind a canary, 1 to stop`; `None` when no worker is touched.
    fn ahead(&self, has_canary: bool) -> Option<String> {
        let canary = if has_canary { " behind a canary" } else { "" };
        let parts = [
            (self.started, "to start".to_owned()),
            (self.restarted, format!("to replace{canary}")),
            (self.stopped, "to stop".to_owned()),
        ];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let told: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    fn told(&self, restarted: &str, stopped: &str) -> String {
        let told = format!("{} started, {} {restarted}", self.started, self.restarted);
        if self.stopped > 0 { format!("{told}, {} {stopped}", self.stopped) } else { told }
    }
}

/// One change that a reload would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// The pool; `None` for the daemon itself.
    pub pool: Option<PoolName>,
    /// `wordcount 2→4: 2 to start`
    pub text: String,
    /// Workers to start.
    pub start: u32,
    /// Workers to replace.
    pub replace: u32,
    /// Workers to stop.
    pub stop: u32,
}

impl PlannedStep {
    /// A change of the daemon itself.
    fn of_daemon(text: String) -> Self {
        Self { pool: None, text, start: 0, replace: 0, stop: 0 }
    }

    fn of_pool(pool: &PoolName, said: &str, plan: Plan, has_canary: bool) -> Self {
        let ahead = plan.ahead(has_canary);
        Self {
            pool: Some(pool.clone()),
            text: format!("{said}: {}", ahead.as_deref().unwrap_or("no worker is touched")),
            start: plan.started,
            replace: plan.restarted,
            stop: plan.stopped,
        }
    }
}

/// What a reload would do; `view` and `counts` tell of the pools that are there: how they are, and
/// how many workers they are to run before and after an edit.
pub(super) fn steps(
    changes: &Changes,
    view: impl Fn(&PoolName) -> Option<std::sync::Arc<PoolView>>,
    counts: impl Fn(&PoolChange) -> (u32, u32),
) -> Vec<PlannedStep> {
    let mut steps = Vec::new();
    for pool in &changes.added {
        let plan = Plan { started: pool.count.min, restarted: 0, stopped: 0 };
        let said = format!("{} added, {} workers", pool.name, pool.count);
        steps.push(PlannedStep::of_pool(&pool.name, &said, plan, false));
    }
    for name in &changes.removed {
        let live = |view: std::sync::Arc<PoolView>| {
            view.slots.iter().filter(|slot| slot.pid.is_some()).count()
        };
        let stopped = u32::try_from(view(name).map_or(0, live)).unwrap_or(u32::MAX);
        let plan = Plan { started: 0, restarted: 0, stopped };
        steps.push(PlannedStep::of_pool(name, &format!("{name} removed"), plan, false));
    }
    for change in &changes.changed {
        let Some(view) = view(change.name()) else { continue };
        let (before, after) = counts(change);
        let plan = Plan::of(change, &view, before, after);
        let has_canary = change.new.deploys.canary.is_some();
        steps.push(PlannedStep::of_pool(change.name(), &change.to_string(), plan, has_canary));
    }
    let daemon = changes.of_daemon().into_iter().map(PlannedStep::of_daemon);
    steps.extend(daemon);
    steps
}

/// The time of day, as a person says it.
pub(super) fn at_clock(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => {
            time.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
        }
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Surroundings, load_text};

    fn change(program: Vec<&'static str>) -> PoolChange {
        let text = "[pool.p]\ncommand = \"wc\"\nuser = \"root\"";
        let surroundings = Surroundings {
            directory: "/".into(),
            variables: [("HOME".to_owned(), "/root".to_owned())].into(),
            ..Surroundings::default()
        };
        let settings = load_text("p.toml".as_ref(), text, &surroundings).unwrap();
        let pool = Arc::clone(settings.pools.values().next().unwrap());
        PoolChange { old: Arc::clone(&pool), new: pool, program, live: Vec::new() }
    }

    #[test]
    fn an_edit_is_counted_from_what_it_asks_for() {
        let (count, command) = (change(Vec::new()), change(vec!["command"]));
        let (up, stopped) = (PoolIntent::Up, PoolIntent::Stopped);
        for (change, intent, before, after, begun, done) in [
            (&count, up, 2, 4, "2 started, 0 restarted", "2 started, 0 restarted"),
            (
                &count,
                up,
                4,
                1,
                "0 started, 0 restarted, 3 stopping",
                "0 started, 0 restarted, 3 stopped",
            ),
            (&command, up, 2, 2, "0 started, 2 restarting", "0 started, 2 restarted"),
            (&command, up, 2, 3, "1 started, 2 restarting", "1 started, 2 restarted"),
            (
                &command,
                up,
                3,
                1,
                "0 started, 1 restarting, 2 stopping",
                "0 started, 1 restarted, 2 stopped",
            ),
            (&command, stopped, 2, 4, "0 started, 0 restarted", "0 started, 0 restarted"),
        ] {
            let view = PoolView {
                hurdle: None,
                past: None,
                name: change.new.name.clone(),
                settings: Arc::clone(&change.new),
                intent,
                target: before,
                deploy: None,
                former: None,
                slots: Vec::new(),
            };
            let plan = Plan::of(change, &view, before, after);
            assert_eq!((plan.begun().as_str(), plan.done().as_str()), (begun, done));
            assert_eq!(plan.takes_time(), begun != done, "{begun}");
        }
    }
}
