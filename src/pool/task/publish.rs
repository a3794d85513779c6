//! The pool's view: built when something changed, at most every 20 ms.
//!
//! While starts wait for their turn the change is not complete, and the view waits for them, but
//! not longer than that either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Pool, now};
use crate::config::PoolSettings;
use crate::pool::{Hurdle, PoolIntent, PoolView, SlotView};

/// A burst of changes is published this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// When to publish, and where to.
#[derive(Debug)]
pub(super) struct Publisher {
    view: watch::Sender<Arc<PoolView>>,
    published: Option<Instant>,
    /// When the first change that is not published happened.
    stale_since: Option<Instant>,
}

impl Publisher {
    pub(super) fn new(
        settings: &Arc<PoolSettings>,
        (target, hurdle): (u32, Option<Hurdle>),
    ) -> (Self, watch::Receiver<Arc<PoolView>>) {
        let (view, receiver) = watch::channel(Arc::new(PoolView {
            name: settings.name.clone(),
            settings: Arc::clone(settings),
            intent: PoolIntent::Up,
            target,
            hurdle,
            past: None,
            deploy: None,
            former: None,
            slots: Vec::new(),
        }));
        (Self { view, published: None, stale_since: None }, receiver)
    }

    /// Something that the view shows has changed.
    pub(super) fn touch(&mut self) {
        self.stale_since.get_or_insert_with(now);
    }
}

impl Pool {
    /// When to publish.
    pub(super) fn publish_due(&self) -> Option<Instant> {
        let Publisher { published, stale_since, .. } = &self.publisher;
        let stale_since = (*stale_since)?;
        if !self.starts.is_empty() {
            return Some(stale_since + PUBLISH_EVERY);
        }
        Some(published.map_or(stale_since, |published| published + PUBLISH_EVERY))
    }

    pub(super) fn publish_if_due(&mut self) {
        if self.publish_due().is_some_and(|due| due <= now()) {
            self.publish();
        }
    }

    /// Publishes the present state. Done before a command is answered, so that whoever got the
    /// answer sees its effect.
    pub(super) fn publish(&mut self) {
        if self.publisher.stale_since.is_none() {
            return;
        }
        let name = &self.settings.name;
        let slots = self.roster.seats().map(|seat| SlotView {
            name: name.worker(seat.index),
            role: seat.role,
            state: seat.state,
            // What it says of itself, where nothing else is to be said.
            detail: match seat.worker.and_then(|worker| self.watches.status(worker)) {
                Some(status) if seat.detail.is_empty() => status.to_owned(),
                Some(_) | None => seat.detail,
            },
            worker: seat.worker,
            pid: seat.worker.and_then(|worker| self.pids.get(&worker).copied()),
            since: seat.since,
            started: seat.started,
            failed: seat.failed,
            last_lines: seat
                .last_exit
                .as_ref()
                .and_then(|last| self.last_lines.get(&last.worker).cloned())
                .unwrap_or_else(Vec::new),
            restarts: seat.restarts,
            last_exit: seat.last_exit,
            outdated: seat.outdated,
        });
        let view = PoolView {
            name: name.clone(),
            settings: Arc::clone(&self.settings),
            intent: self.roster.intent(),
            target: self.roster.target(),
            hurdle: self.roster.hurdle().cloned(),
            past: self.past.clone(),
            deploy: self.deploy.view(),
            former: self.former.as_ref().map(|former| former.program.clone()),
            slots: slots.collect(),
        };
        self.publisher.view.send_replace(Arc::new(view));
        self.publisher.published = Some(now());
        self.publisher.stale_since = None;
    }
}
