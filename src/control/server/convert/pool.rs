//! Pools and their workers, put together from what pools, broker and host each know.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use super::{WorkerNames, fate, job, rfc3339};
use crate::broker::{Overview, WorkerView};
use crate::config::{Count, PoolProtocol, Run, ServersWay, TimedAction};
use crate::control::api::{
    CanaryStatus, CronStatus, Intent, LogLossStatus, PoolStatus, WorkerStatus,
};
use crate::logs::LogLoss;
use crate::pool::{DeployView, PoolIntent, PoolView, SlotRole, SlotState, SlotView};
use crate::supervisor::{Brief, RaisedMin, Snapshot};

/// What a conversion looks things up in.
pub(super) struct Scene<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) names: &'a WorkerNames,
    pub(super) now: Instant,
}

impl Scene<'_> {
    pub(super) fn pool(&self, brief: &Brief) -> PoolStatus {
        let view = &brief.view;
        let is_ready =
            |slot: &&SlotView| slot.role == SlotRole::Current && slot.state == SlotState::Running;
        let running = view.slots.iter().filter(is_ready).count();
        let Count { min, max } = brief.bounds;
        PoolStatus {
            name: view.name.to_string(),
            intent: match view.intent {
                PoolIntent::Up => Intent::Up,
                PoolIntent::Stopped => Intent::Stopped,
            },
            wanted: brief.wanted,
            target: view.target,
            limit: brief.decision.and_then(|it| it.limit).map(|limit| limit.to_string()),
            running: u32::try_from(running).unwrap_or(u32::MAX),
            min,
            max,
            hold: brief.hold,
            reason: reason(brief),
            labels: view.settings.order.labels.clone(),
            functions: self.functions(view),
            protocol: protocol(view.settings.program.protocol).to_owned(),
            waits: view.hurdle.as_ref().map(|hurdle| hurdle.why.clone()),
            oneshot: view.settings.run.run == Run::Once,
            cron: self.cron(brief),
            stuck: view.hurdle.as_ref().is_some_and(|hurdle| hurdle.needs_help),
            canary: view.deploy.as_ref().map(canary),
            log_loss: self.snapshot.logs.losses.get(&view.name).copied().flatten().map(log_loss),
            workers: view.slots.iter().map(|slot| self.worker(view, slot)).collect(),
        }
    }

    /// A timetable, and what came of the last time.
    fn cron(&self, brief: &Brief) -> Option<CronStatus> {
        let settings = &brief.view.settings;
        let (table, outlook) = settings.run.timetable.as_ref().zip(brief.outlook.as_ref())?;
        let exits = brief.view.slots.iter().filter_map(|slot| slot.last_exit.as_ref());
        let ended = exits.max_by_key(|last| last.at).map(|last| {
            let age = self.now.saturating_duration_since(last.at);
            (SystemTime::now() - age, fate::sentence(last, None, self.names))
        });
        let past = brief.view.past.clone();
        let (function, last) = match &table.action {
            TimedAction::Start => (None, ended.into_iter().chain(past).max()),
            TimedAction::Submit { function, .. } => {
                let last = outlook.last.clone().map(|last| (last.at, last.said));
                (Some(function.clone()), last)
            }
        };
        let (last_at, last) = last.unzip();
        Some(CronStatus {
            times: table.times.to_string(),
            timezone: table.zone.iana_name().map_or_else(|| "local".to_owned(), str::to_owned),
            function,
            next: outlook.next.map(rfc3339),
            last_at: last_at.map(rfc3339),
            last,
        })
    }

    /// The functions of the file, or else those that its workers have registered.
    fn functions(&self, view: &PoolView) -> Vec<String> {
        let named = &view.settings.program.functions;
        if !named.is_empty() {
            return named.clone();
        }
        let workers = view.slots.iter().filter_map(|slot| self.seen(slot));
        let learned = workers.flat_map(|worker| &worker.functions).map(ToString::to_string);
        learned.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn worker(&self, view: &PoolView, slot: &SlotView) -> WorkerStatus {
        let seen = self.seen(slot);
        let usage = slot.pid.and_then(|pid| self.snapshot.usage.get(&pid));
        let seconds = |at: Instant| self.now.saturating_duration_since(at).as_secs_f64();
        let broker = self.snapshot.broker.as_ref();
        let is_known = broker.is_some() && self.knows_connections() && should_connect(view, slot);
        let known = |it: bool| is_known.then_some(it);
        WorkerStatus {
            name: slot.name.to_string(),
            state: slot.state.as_str().to_owned(),
            detail: slot.detail.clone(),
            outgoing: slot.role == SlotRole::Predecessor,
            pid: slot.pid,
            uptime: slot.pid.and(slot.started).map(seconds),
            done: seen.map_or(0, |worker| worker.done),
            jobs: seen.iter().flat_map(|w| &w.jobs).map(|view| job(view, self.names)).collect(),
            tied: known(seen.is_some_and(|worker| worker.sessions > 0)),
            registered: known(seen.is_some_and(has_registered)),
            cpu_percent: usage.map(|usage| usage.cpu_percent),
            rss: usage.map(|usage| usage.rss),
            keyboard: self.snapshot.logs.typists.get(&slot.name).cloned(),
            failed: slot.failed,
            restarts: slot.restarts,
            last_exit: slot.last_exit.as_ref().map(|last| {
                let loss = broker.and_then(|broker| broker.losses.get(&last.worker));
                fate::sentence(last, loss, self.names)
            }),
            last_exit_age: slot.last_exit.as_ref().map(|last| seconds(last.at)),
            last_lines: slot.last_lines.clone(),
            outdated: slot.outdated,
        }
    }

    /// Whether workers' connections come through us.
    fn knows_connections(&self) -> bool {
        self.snapshot.servers.is_empty() || self.snapshot.settings.broker.way == ServersWay::Forward
    }

    fn seen(&self, slot: &SlotView) -> Option<&WorkerView> {
        let overview: &Overview = self.snapshot.broker.as_ref()?;
        overview.workers.get(&slot.worker?)
    }
}

/// Whether the worker ought to have connections to its broker.
fn should_connect(view: &PoolView, slot: &SlotView) -> bool {
    view.settings.program.protocol != PoolProtocol::None && slot.state == SlotState::Running
}

/// Who is idle has registered, now or before.
fn has_registered(worker: &WorkerView) -> bool {
    worker.idle.is_some() || worker.done > 0 || !worker.jobs.is_empty()
}

fn log_loss(loss: LogLoss) -> LogLossStatus {
    LogLossStatus { bytes: loss.bytes, at: rfc3339(loss.at) }
}

fn canary(deploy: &DeployView) -> CanaryStatus {
    CanaryStatus {
        worker: deploy.worker.to_string(),
        at: rfc3339(deploy.at),
        failed: deploy.failed.clone(),
    }
}

/// Why the pool has the count it has.
pub(super) fn reason(brief: &Brief) -> String {
    if brief.view.intent == PoolIntent::Stopped {
        return "stopped by an operator".to_owned();
    }
    let reason = unraised(brief);
    match brief.raised {
        None => reason,
        Some(RaisedMin { min, until }) => {
            format!("{reason}; min_at keeps at least {min} until {}", minute(until))
        }
    }
}

/// `2026-11-24 18:00`
fn minute(at: SystemTime) -> String {
    rfc3339(at).chars().take(16).collect::<String>().replace('T', " ")
}

fn unraised(brief: &Brief) -> String {
    let count = brief.view.settings.count;
    match brief.hold {
        Some((min, max)) if min == max => format!("held at {min} by an operator"),
        Some((min, max)) if brief.reason.is_empty() => {
            format!("held at {min}..{max} by an operator")
        }
        Some(_) | None if !brief.reason.is_empty() => brief.reason.clone(),
        _ if brief.view.settings.run.run == Run::Once => "runs once".to_owned(),
        _ if brief.view.settings.run.run == Run::OnCall => "runs at times".to_owned(),
        _ if count.is_fixed() => format!("count = {} in the file", count.min),
        _ => format!("no decision yet between {} and {}", count.min, count.max),
    }
}

fn protocol(protocol: PoolProtocol) -> &'static str {
    match protocol {
        PoolProtocol::Gearman => "gearman",
        PoolProtocol::Exec => "exec",
        PoolProtocol::Lines => "lines",
        PoolProtocol::None => "none",
    }
}
