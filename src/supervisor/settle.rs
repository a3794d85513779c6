//! When a pool has come to rest at its target, as its views show it.

use std::collections::BTreeSet;

use crate::model::WorkerName;
use crate::pool::{PoolHandle, PoolIntent, PoolView, SlotRole, SlotState};

/// Waits until a pool has come to rest at `target`.
///
/// # Errors
/// With the reason why it cannot.
pub(super) async fn settle(handle: PoolHandle, target: u32) -> Result<(), String> {
    let mut views = handle.watch();
    let mut rest = Rest::default();
    loop {
        // A view of before the order says nothing about it.
        let result = {
            let view = views.borrow_and_update();
            if view.target == target { rest.look(&view) } else { None }
        };
        if let Some(result) = result {
            return result;
        }
        if views.changed().await.is_err() {
            return Err("the pool has been closed".to_owned());
        }
    }
}

/// What the views so far have shown.
#[derive(Debug, Default)]
struct Rest {
    /// Slots that were seen at rest. One whose worker dies later and is started again keeps nobody
    /// waiting: where workers are killed all the time all are never up at once.
    seen: BTreeSet<WorkerName>,
}

impl Rest {
    /// Done, or why it cannot come to that.
    fn look(&mut self, view: &PoolView) -> Option<Result<(), String>> {
        if let Some(hurdle) = &view.hurdle {
            let name = &view.name;
            return hurdle.needs_help.then(|| Err(format!("{name} {}", hurdle.why)));
        }
        let (mut running, mut is_moving) = (0, false);
        for slot in &view.slots {
            match slot.state {
                _ if slot.role == SlotRole::Predecessor => is_moving = true,
                SlotState::Backoff | SlotState::Fatal => {
                    let (name, state) = (&slot.name, slot.state.as_str());
                    return Some(Err(format!("{name} is in {state}: {}", slot.detail)));
                }
                SlotState::Starting => is_moving |= !self.seen.contains(&slot.name),
                SlotState::Stopping => is_moving = true,
                SlotState::Running => {
                    running += 1;
                    self.seen.insert(slot.name.clone());
                }
                SlotState::Stopped | SlotState::Exited => {
                    self.seen.insert(slot.name.clone());
                }
            }
        }
        let names = view.slots.iter().map(|slot| &slot.name).collect::<BTreeSet<_>>();
        let rested = names.into_iter().filter(|name| self.seen.contains(*name)).count();
        let is_there = running <= view.target && rested >= view.target as usize;
        (!is_moving && (is_there || view.intent == PoolIntent::Stopped)).then_some(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::config::{Surroundings, load_text};
    use crate::pool::SlotView;

    /// A view of a pool with a target of two.
    fn view(states: &[SlotState]) -> PoolView {
        let text = "[pool.p]\ncommand = \"wc\"\nuser = \"root\"\ncount = 2";
        let surroundings = Surroundings { directory: "/".into(), ..Surroundings::default() };
        let settings = load_text("p.toml".as_ref(), text, &surroundings).unwrap();
        let settings = Arc::clone(settings.pools.values().next().unwrap());
        let slot = |(index, state): (u32, &SlotState)| SlotView {
            name: settings.name.worker(index),
            role: SlotRole::Current,
            state: *state,
            detail: "exit 1".to_owned(),
            worker: None,
            pid: None,
            since: Instant::now(),
            started: None,
            failed: false,
            restarts: 0,
            last_exit: None,
            last_lines: Vec::new(),
            outdated: false,
        };
        PoolView {
            slots: (1..).zip(states).map(slot).collect(),
            hurdle: None,
            past: None,
            name: settings.name.clone(),
            intent: PoolIntent::Up,
            target: 2,
            deploy: None,
            former: None,
            settings,
        }
    }

    #[test]
    fn a_pool_is_at_rest_when_each_worker_was_up_and_none_is_too_many() {
        use SlotState::{Backoff, Running, Starting, Stopping};
        let failed = || Some(Err("p:1 is in BACKOFF: exit 1".to_owned()));
        let runs: &[(&[&[SlotState]], _)] = &[
            (&[&[Starting, Starting], &[Running, Running]], Some(Ok(()))),
            (&[&[Running, Starting], &[Starting, Running]], Some(Ok(()))),
            (&[&[Running, Starting], &[Starting, Starting]], None),
            (&[&[Running]], None),
            (&[&[Running, Running, Running], &[Running, Running, Stopping]], None),
            (&[&[Running, Starting], &[Backoff, Starting]], failed()),
        ];
        for (views, expected) in runs {
            let mut rest = Rest::default();
            let told: Vec<_> = views.iter().map(|states| rest.look(&view(states))).collect();
            assert_eq!(told.last().unwrap(), expected, "{views:?}");
        }
    }
}
