//! What the scaler is shown: the pools' views, the broker's counts and the host, put together.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::entry::Entry;
use crate::broker::{DemandView, WorkerDemand};
use crate::config::{Count, PoolProtocol, ScalingSettings};
use crate::host::{HostReader, HostSample, ProcessReader};
use crate::model::{FunctionName, WorkerId};
use crate::pool::{PoolIntent, PoolView, SlotRole, SlotState, SlotView};
use crate::scaler::{FRESH, FunctionSample, Look, PoolSample};

/// A worker that has done no job counts as young for so long: it may still grow.
const YOUNG: Duration = Duration::from_secs(5);
/// Workers of one pool, and of all, whose memory is read for one look.
const SIZES_OF_POOL: usize = 8;
const SIZES_MAX: usize = 128;
/// How old a reading of the host may be.
const HOST_AGE_MAX: Duration = Duration::from_millis(250);

/// Reads what a look needs beyond what others publish.
#[derive(Debug, Default)]
pub(super) struct Eyes {
    host: Option<(Instant, HostSample)>,
    sizes: ProcessReader,
}

/// Which workers of a pool were seen ready.
#[derive(Debug, Default)]
pub(super) struct SeenReady(HashSet<WorkerId>);

impl Eyes {
    /// Everything at `now`. Memory of workers is read only at a tick: it changes slowly.
    pub(super) fn look<'a>(
        &mut self,
        now: Instant,
        host: &mut HostReader,
        pools: impl Iterator<Item = &'a mut Entry>,
        demand: &DemandView,
        is_tick: bool,
    ) -> Look {
        let mut look = Look { host: self.host(now, host), ..Look::default() };
        let mut wanted = Vec::new();
        for entry in pools.filter(|entry| entry.handle.view().intent == PoolIntent::Up) {
            let view = entry.handle.view();
            learn(entry, now, &view, demand);
            let scaling = entry.settings.scaling;
            let served = entry.learned.functions();
            let mut sample = PoolSample::new(bounds(entry), scaling, served);
            sample.busy = demand.pools.get(&view.name).copied().unwrap_or_default();
            sample.startups = entry.seen_ready.news(&view);
            let mut mature = Vec::new();
            for slot in &view.slots {
                let seen = slot.worker.and_then(|worker| demand.workers.get(&worker));
                count(&mut sample, now, slot, seen, &scaling);
                let old = slot.started.is_some_and(|at| now.duration_since(at) > YOUNG);
                if old || seen.is_some_and(|seen| seen.done > 0) {
                    mature.extend(slot.pid);
                }
            }
            mature.truncate(SIZES_OF_POOL);
            wanted.push((view.name.clone(), mature));
            for function in sample.functions.iter() {
                let seen = demand.functions.get(function).copied().unwrap_or_default();
                look.functions.insert(
                    function.clone(),
                    FunctionSample {
                        queued: seen.queued,
                        oldest: seen.oldest,
                        running: seen.running,
                        elsewhere: seen.elsewhere,
                        ended: seen.ended,
                        busy: seen.busy,
                    },
                );
            }
            look.pools.insert(view.name.clone(), sample);
        }
        if is_tick {
            let pids: Vec<i32> = (wanted.iter().flat_map(|(_, pids)| pids.iter().copied()))
                .take(SIZES_MAX)
                .collect();
            let usage: HashMap<i32, _> = self.sizes.usage(&pids);
            for (name, pids) in wanted {
                if let Some(sample) = look.pools.get_mut(&name) {
                    let seen = pids.iter().filter_map(|pid| usage.get(pid));
                    sample.sizes = seen.map(|usage| usage.rss).collect();
                }
            }
        }
        look
    }

    fn host(&mut self, now: Instant, reader: &mut HostReader) -> HostSample {
        match self.host {
            Some((at, sample)) if now.saturating_duration_since(at) < HOST_AGE_MAX => sample,
            _ => {
                let sample = reader.sample();
                self.host = Some((now, sample));
                sample
            }
        }
    }
}

impl SeenReady {
    /// How long the workers took to become ready that were not seen ready before.
    fn news(&mut self, view: &PoolView) -> Vec<Duration> {
        let ready = |slot: &&SlotView| slot.state == SlotState::Running;
        let ready: Vec<_> = view.slots.iter().filter(ready).collect();
        let news = ready.iter().filter(|slot| slot.worker.is_some_and(|w| !self.0.contains(&w)));
        let took = |slot: &&SlotView| Some(slot.since.saturating_duration_since(slot.started?));
        let took = news.filter_map(took).collect();
        self.0 = ready.iter().filter_map(|slot| slot.worker).collect();
        took
    }
}

fn count(
    sample: &mut PoolSample,
    now: Instant,
    slot: &SlotView,
    seen: Option<&WorkerDemand>,
    scaling: &ScalingSettings,
) {
    if slot.role == SlotRole::Predecessor {
        sample.leaving += 1;
        return;
    }
    let age = slot.started.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
    let young = age < YOUNG && seen.is_none_or(|seen| seen.done == 0);
    sample.young += usize::from(slot.pid.is_some() && young);
    match slot.state {
        SlotState::Starting | SlotState::Running if seen.is_some_and(|seen| seen.busy) => {
            sample.running += 1;
        }
        SlotState::Running => {
            sample.idle += 1;
            let idle = seen.and_then(|seen| seen.idle).unwrap_or_default();
            // The job that called for it may still be on its way.
            let is_new = seen.is_none_or(|seen| seen.done == 0);
            let patience = if is_new { YOUNG } else { Duration::ZERO };
            sample.idle_long += usize::from(idle >= scaling.idle_ttl.max(patience));
        }
        SlotState::Starting => {
            sample.starting += 1;
            sample.fresh += usize::from(age < FRESH);
        }
        SlotState::Backoff => {
            sample.starting += 1;
            sample.failing = true;
        }
        SlotState::Stopping => sample.leaving += 1,
        SlotState::Stopped | SlotState::Exited | SlotState::Fatal => {}
    }
}

/// Notes what the pool serves: from the file, or what its workers have registered. What is known
/// stays while none runs.
fn learn(entry: &mut Entry, now: Instant, view: &PoolView, demand: &DemandView) {
    entry.learned.hear(now);
    let named = &view.settings.program.functions;
    if !named.is_empty() {
        let named = named.iter().map(|name| FunctionName::from(name.as_str()));
        entry.learned.learn(named.collect());
        return;
    }
    let workers = view.slots.iter().filter_map(|slot| demand.workers.get(&slot.worker?));
    let seen: BTreeSet<_> = workers.flat_map(|worker| worker.functions.clone()).collect();
    if !seen.is_empty() {
        entry.learned.learn(seen.into_iter().collect());
    }
}

/// The bounds in force. A pool of none to some whose functions nobody knows gets one worker, which
/// tells them: no job would ever be seen to wait for it.
fn bounds(entry: &Entry) -> Count {
    let bounds = entry.bounds();
    let is_unknown = entry.learned.is_unknown()
        && entry.settings.program.protocol != PoolProtocol::None
        && bounds.max > 0;
    Count { min: if is_unknown { bounds.min.max(1) } else { bounds.min }, ..bounds }
}
