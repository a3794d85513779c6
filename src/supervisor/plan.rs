//! What an edit asks of a pool's processes, counted from the edit alone: pure.
//!
//! Workers that die or are restarted by somebody else at the same time change nothing in it, and
//! it is known at once, before anything has been done.

use crate::config::{PoolChange, Run};
use crate::pool::PoolIntent;

/// How many processes an edit starts, replaces and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    started: u32,
    restarted: u32,
    stopped: u32,
}

impl Plan {
    /// The plan for a pool that was to run `before` workers and is to run `after`.
    pub(super) fn of(change: &PoolChange, intent: PoolIntent, before: u32, after: u32) -> Self {
        let (before, after) = match intent {
            // A run comes to its end, and the next one begins when it is time.
            PoolIntent::Up if change.new.run.run == Run::OnCall => (0, 0),
            PoolIntent::Up => (before, after),
            // An operator keeps it down, whatever the file says.
            PoolIntent::Stopped => (0, 0),
        };
        Self {
            started: after.saturating_sub(before),
            restarted: if change.program.is_empty() { 0 } else { before.min(after) },
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

    fn told(&self, restarted: &str, stopped: &str) -> String {
        let told = format!("{} started, {} {restarted}", self.started, self.restarted);
        if self.stopped > 0 { format!("{told}, {} {stopped}", self.stopped) } else { told }
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
            let plan = Plan::of(change, intent, before, after);
            assert_eq!((plan.begun().as_str(), plan.done().as_str()), (begun, done));
            assert_eq!(plan.takes_time(), begun != done, "{begun}");
        }
    }
}
