//! Pools that come after others: who waits for whom, and what each is told of it.
//!
//! Beside every pool with `after` goes an [`Usher`], which looks at the pools that it names whenever
//! one of them changes. What the pool makes of it is its own affair: `pool::lifecycle`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::carrier::Routes;
use crate::config::{PoolSettings, Run};
use crate::model::PoolName;
use crate::pool::{
    Hurdle, PoolCommand, PoolHandle, PoolIntent, PoolView, SlotRole, SlotState, SlotView,
};

/// Tells a pool what it has to wait for.
#[derive(Debug)]
struct Usher {
    pool: PoolHandle,
    after: Vec<PoolName>,
    routes: watch::Receiver<Routes>,
}

type View = watch::Receiver<Arc<PoolView>>;

/// Begins to tell a pool of those that it comes after; it ends when the guard is dropped.
pub(super) fn usher(
    pool: &PoolHandle,
    settings: &PoolSettings,
    routes: &watch::Sender<Routes>,
    tasks: &TaskTracker,
) -> DropGuard {
    let stop = CancellationToken::new();
    let (after, routes) = (settings.order.after.clone(), routes.subscribe());
    let usher = Usher { pool: pool.clone(), after, routes };
    tasks.spawn(stop.clone().run_until_cancelled_owned(usher.run()));
    stop.drop_guard()
}

/// What a pool waits for as long as nothing is known of the others.
pub(super) fn first_hurdle(settings: &PoolSettings) -> Option<Hurdle> {
    let first = settings.order.after.first()?;
    Some(Hurdle { why: format!("waits for {first}"), needs_help: false })
}

impl Usher {
    async fn run(mut self) {
        let mut told = None;
        loop {
            let routes = Arc::clone(&self.routes.borrow_and_update());
            let mut views: Vec<_> = self
                .after
                .iter()
                .map(|name| (name.clone(), routes.get(name).map(PoolHandle::watch)))
                .collect();
            loop {
                let hurdle = views.iter_mut().find_map(|(name, view)| {
                    let view = view.as_mut().map(|view| Arc::clone(&view.borrow_and_update()));
                    hurdle(name, view.as_deref())
                });
                if told.as_ref() != Some(&hurdle) {
                    told = Some(hurdle.clone());
                    if self.pool.tell(PoolCommand::Hurdle(hurdle)).await.is_err() {
                        return;
                    }
                }
                let views = views.iter_mut().filter_map(|(_, view)| view.as_mut());
                tokio::select! {
                    changed = self.routes.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = any_changes(views) => {}
                }
            }
        }
    }
}

async fn any_changes(views: impl Iterator<Item = &mut View>) {
    let changes = views.map(|view| {
        Box::pin(async move {
            if view.changed().await.is_err() {
                // The pool has gone: the routes will tell.
                pending::<()>().await;
            }
        })
    });
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        return pending().await;
    }
    select_all(changes).await;
}

/// Why a pool that is waited for does not let others start.
fn hurdle(name: &PoolName, view: Option<&PoolView>) -> Option<Hurdle> {
    let because =
        |what: &str, needs_help| Hurdle { why: format!("waits for {name}: {what}"), needs_help };
    let Some(view) = view else { return Some(because("it is being opened", false)) };
    if view.intent == PoolIntent::Stopped {
        return Some(because("it is stopped by an operator", true));
    }
    if let Some(hurdle) = &view.hurdle {
        return Some(because(&format!("it {}", hurdle.why), hurdle.needs_help));
    }
    let current = view.slots.iter().filter(|slot| slot.role == SlotRole::Current);
    let run = view.settings.run.run;
    let is_ready = |slot: &&SlotView| is_ready(slot, run);
    let ready = current.clone().filter(is_ready).count();
    if ready >= view.target as usize {
        return None;
    }
    let Some(laggard) = current.clone().find(|slot| !is_ready(slot)) else {
        return Some(because(&format!("{ready} of {} workers are ready", view.target), false));
    };
    let (worker, state) = (&laggard.name, laggard.state.as_str());
    let told = match laggard.detail.as_str() {
        "" => format!("{worker} is {state}"),
        detail => format!("{worker} is {state}: {detail}"),
    };
    let needs_help = laggard.state == SlotState::Fatal
        || matches!(laggard.state, SlotState::Exited | SlotState::Stopped);
    Some(because(&told, needs_help))
}

/// Whether others may rely on it: it is ready, or has done its work.
fn is_ready(slot: &SlotView, run: Run) -> bool {
    match slot.state {
        SlotState::Running => run == Run::Serve,
        SlotState::Exited => !slot.failed,
        SlotState::Stopped
        | SlotState::Starting
        | SlotState::Backoff
        | SlotState::Stopping
        | SlotState::Fatal => false,
    }
}

/// Those of the pools that no other of them comes after: they can be closed first.
pub(super) fn unneeded(pools: &BTreeMap<PoolName, Vec<PoolName>>) -> BTreeSet<PoolName> {
    let needed: BTreeSet<_> = pools.values().flatten().collect();
    let free = pools.keys().filter(|name| !needed.contains(name));
    let free: BTreeSet<_> = free.cloned().collect();
    // There is no circle in a file that was checked; nothing is to hang on it.
    if free.is_empty() { pools.keys().cloned().collect() } else { free }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PoolName {
        text.parse().unwrap()
    }

    #[test]
    fn pools_close_before_those_that_they_need() {
        let after = |text: &str| text.split_whitespace().map(name).collect();
        let all = [("web", "db cache"), ("cache", "db"), ("db", ""), ("mail", "")];
        let mut left: BTreeMap<_, Vec<_>> =
            all.map(|(pool, needs)| (name(pool), after(needs))).into();
        for closed in [&["mail", "web"][..], &["cache"], &["db"]] {
            let free = unneeded(&left);
            assert_eq!(free.iter().map(PoolName::as_str).collect::<Vec<_>>(), closed);
            left.retain(|pool, _| !free.contains(pool));
        }
    }
}
