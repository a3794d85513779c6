//! What operators ask for. Whatever takes time is waited for on a task of its own, so that the
//! supervisor goes on.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::info;

use super::descent;
use super::entry::Hold;
use super::handle::{Answer, CommandError, Progress, ScaleTo, SupervisorCommand, SupervisorGone};
use super::settle::settle;
use super::task::Supervisor;
use crate::config::Count;
use crate::control::nearest;
use crate::model::{NamePattern, PoolName, WorkerId};
use crate::pool::{Pick, PoolCommand, PoolHandle, PoolIntent, RestartMode};

/// A pool with the part of it that is meant.
type Picked = (PoolHandle, Pick);

impl Supervisor {
    pub(super) async fn obey(&mut self, command: SupervisorCommand) {
        match command {
            // What is started now would outlive the daemon.
            SupervisorCommand::Start(_, _, answer)
            | SupervisorCommand::Restart { answer, .. }
            | SupervisorCommand::Scale { answer, .. }
            | SupervisorCommand::Reload { answer, .. }
                if self.stopping.is_some() =>
            {
                reply(answer, Err(CommandError::Gone(SupervisorGone)));
            }
            SupervisorCommand::Start(names, actor, answer) => {
                info!(actor, "start {}", listed(&names));
                self.each(&names, Verb::Start, answer);
            }
            SupervisorCommand::Stop(names, actor, answer) => {
                info!(actor, "stop {}", listed(&names));
                self.each(&names, Verb::Stop, answer);
            }
            SupervisorCommand::Restart { names, mode, actor, answer } => {
                let now = if mode == RestartMode::Now { " --now" } else { "" };
                info!(actor, "restart{now} {}", listed(&names));
                self.each(&names, Verb::Restart(mode), answer);
            }
            SupervisorCommand::Signal(names, signal, actor, answer) => {
                info!(actor, "signal {signal} to {}", listed(&names));
                let done = self.signal(&names, signal).await;
                reply(answer, done);
            }
            SupervisorCommand::KillJob { worker, handle, actor, answer } => {
                info!(actor, "kill {handle}");
                self.kill_job(worker, handle, &actor, answer);
            }
            SupervisorCommand::Scale { names, to, hold, actor, answer } => {
                info!(actor, "scale {} to {to}", listed(&names));
                let until = hold.and_then(|hold| Instant::now().checked_add(hold));
                self.hold(&names, to, until, answer).await;
            }
            SupervisorCommand::Reload { allow_empty, actor, answer } => {
                info!(actor, "reload");
                self.reload(allow_empty, answer).await;
            }
            SupervisorCommand::Plan { allow_empty, reply } => {
                if reply.send(self.plan(allow_empty)).is_err() {
                    tracing::debug!("whoever asked for the plan has gone");
                }
            }
            SupervisorCommand::Shutdown(actor, answer) => {
                info!(actor, "shutdown");
                self.stop(Some(answer)).await;
            }
            SupervisorCommand::Snapshot(reply) => {
                let snapshot = self.snapshot().await;
                if reply.send(snapshot).is_err() {
                    tracing::debug!("whoever asked for the status has gone");
                }
            }
        }
    }

    /// Gives a command to everything that is meant, and answers when all of it has happened.
    fn each(&self, names: &[NamePattern], verb: Verb, answer: Answer) {
        let picked = match self.pick(names) {
            Ok(picked) => picked,
            Err(error) => return reply(answer, Err(error)),
        };
        let stuck =
            picked.iter().map(|(pool, _)| self.stuck(pool, &picked).filter(|_| verb.starts()));
        let stuck: Vec<_> = stuck.collect();
        if verb == Verb::Stop {
            return self.descend(picked, answer);
        }
        self.rooms.tasks.spawn(async move {
            let all = picked.into_iter().zip(stuck).map(|((pool, pick), stuck)| async move {
                let what = named(&pool, &pick);
                if let Some(why) = stuck {
                    // It is to start once that is no longer so, and nobody waits for it.
                    let (reply, _) = oneshot::channel();
                    let told = pool.tell(verb.command(pick, reply)).await;
                    return Err(told.map_or_else(|gone| format!("{what}: {gone}"), |()| why));
                }
                carry_out(verb, &pool, pick).await
            });
            reply(answer, gathered(futures_util::future::join_all(all).await));
        });
    }

    /// Stops pools, each after those that come after it.
    fn descend(&self, picked: Vec<Picked>, answer: Answer) {
        // As they are in the file now: a view may be of before the last edit.
        let settings = |(pool, _): &Picked| {
            let view = pool.view();
            let entry = self.pools.get(&view.name);
            entry.map_or_else(|| Arc::clone(&view.settings), |entry| Arc::clone(&entry.settings))
        };
        let settings: Vec<_> = picked.iter().map(settings).collect();
        let pools: Vec<_> =
            settings.iter().zip(&picked).map(|(settings, (_, pick))| (&**settings, pick)).collect();
        let steps = descent::steps(&pools, &self.rooms.intents);
        self.rooms.tasks.spawn(async move {
            let all = picked.into_iter().zip(steps).map(|((pool, pick), mut step)| async move {
                let done = match step.turn().await {
                    Ok(()) => carry_out(Verb::Stop, &pool, pick).await,
                    Err(why) => Err(why),
                };
                step.over(done.is_ok());
                done
            });
            reply(answer, gathered(futures_util::future::join_all(all).await));
        });
    }

    /// Why a pool cannot start before somebody starts another one, which is not picked too.
    fn stuck(&self, pool: &PoolHandle, picked: &[Picked]) -> Option<String> {
        let view = pool.view();
        if view.slots.iter().any(|slot| slot.pid.is_some()) {
            return None;
        }
        let is_picked = |name: &PoolName| picked.iter().any(|(pool, _)| pool.view().name == *name);
        let is_stopped = |name: &PoolName| {
            let entry = self.pools.get(name);
            entry.is_some_and(|entry| entry.handle.view().intent == PoolIntent::Stopped)
        };
        let mut after = view.settings.order.after.iter();
        let stopped = after.find(|name| is_stopped(name) && !is_picked(name))?;
        Some(format!("{} waits for {stopped}, which is stopped by an operator", view.name))
    }

    /// Kills the worker that holds a job, and answers when it has ended.
    fn kill_job(&self, worker: WorkerId, handle: String, actor: &str, answer: Answer) {
        let mut slots = self.pools.values().flat_map(|entry| {
            let slots = entry.handle.view().slots.clone();
            slots.into_iter().map(|slot| (entry.handle.clone(), slot))
        });
        let Some((pool, slot)) = slots.find(|(_, slot)| slot.worker == Some(worker)) else {
            let gone = format!("the worker of {handle} has ended meanwhile");
            return reply(answer, Err(CommandError::Failed(gone)));
        };
        let reason = format!("job {handle} was killed by {actor}");
        self.rooms.tasks.spawn(async move {
            let killed = pool.ask(|reply| PoolCommand::KillJob { worker, reason, reply }).await;
            let name = slot.name;
            let result = match killed {
                Ok(()) => Ok(vec![format!("{name} was killed for {handle}")]),
                Err(_) => Err(CommandError::Failed(format!("{name} has ended meanwhile"))),
            };
            reply(answer, result);
        });
    }

    async fn signal(
        &self,
        names: &[NamePattern],
        signal: nix::sys::signal::Signal,
    ) -> Result<Progress, CommandError> {
        let mut lines = Vec::new();
        for (pool, pick) in self.pick(names)? {
            let name = pool.view().name.clone();
            let sent = pool.ask(|reply| PoolCommand::Signal { pick, signal, reply }).await;
            lines.push(format!("{name}: {} processes signalled", sent.unwrap_or(0)));
        }
        Ok(lines)
    }

    async fn hold(
        &mut self,
        names: &[NamePattern],
        to: ScaleTo,
        until: Option<Instant>,
        answer: Answer,
    ) {
        if let Err(error) = self.pick(names) {
            return reply(answer, Err(error));
        }
        let mut settling = Vec::new();
        for (name, entry) in &mut self.pools {
            if !names.iter().any(|pattern| pattern.matches_pool(name)) {
                continue;
            }
            let hold = match to {
                ScaleTo::Bounds { min, max } => Some(Hold { bounds: Count { min, max }, until }),
                ScaleTo::Auto => None,
            };
            entry.set_hold(hold);
            entry.change(format!("an operator set the count to {}", entry.bounds()), None);
            entry.follow_bounds(&self.rooms.gate).await;
            settling.push((name.clone(), entry.bounds(), entry.target, entry.handle.clone()));
        }
        self.scaling.ask(Instant::now());
        self.rooms.tasks.spawn(async move {
            let all = settling.into_iter().map(|(name, bounds, target, pool)| async move {
                settle(pool, target).await.map(|()| format!("{name} at {bounds}"))
            });
            reply(answer, gathered(futures_util::future::join_all(all).await));
        });
    }

    /// Every pool, or part of one, that the names mean; each name must mean something.
    fn pick(&self, names: &[NamePattern]) -> Result<Vec<Picked>, CommandError> {
        let mut picked = Vec::new();
        for pattern in names {
            let before = picked.len();
            for (name, entry) in self.pools.iter().filter(|(name, _)| pattern.matches_pool(name)) {
                let view = entry.handle.view();
                let mut slots = view.slots.iter();
                if pattern.is_pool() {
                    picked.push((entry.handle.clone(), Pick::Pool));
                } else if slots.any(|slot| pattern.matches_worker(&slot.name)) {
                    picked.push((entry.handle.clone(), Pick::Slots(pattern.clone())));
                } else {
                    tracing::debug!(pool = %name, %pattern, "no worker is meant");
                }
            }
            if picked.len() == before {
                let name = pattern.to_string();
                let labels = self.pools.values().flat_map(|entry| &entry.settings.order.labels);
                let labels = labels.map(|label| format!("@{label}"));
                let known = self.pools.keys().map(ToString::to_string).chain(labels);
                let hint = nearest(&name, known);
                return Err(CommandError::NoSuchName { name, hint });
            }
        }
        Ok(picked)
    }
}

/// What is to be done with pools and workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart(RestartMode),
}

impl Verb {
    fn starts(self) -> bool {
        match self {
            Self::Start | Self::Restart(_) => true,
            Self::Stop => false,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart(_) => "restarted",
        }
    }

    fn command(self, pick: Pick, reply: oneshot::Sender<Result<(), String>>) -> PoolCommand {
        match self {
            Self::Start => PoolCommand::Start { pick, reply },
            Self::Stop => PoolCommand::Stop { pick, reply },
            Self::Restart(mode) => PoolCommand::Restart { pick, mode, reply },
        }
    }
}

/// `web`, `web:1`
fn named(pool: &PoolHandle, pick: &Pick) -> String {
    match pick {
        Pick::Pool => pool.view().name.to_string(),
        Pick::Slots(pattern) => pattern.to_string(),
    }
}

/// Has a pool do something; returns when it has happened.
async fn carry_out(verb: Verb, pool: &PoolHandle, pick: Pick) -> Result<String, String> {
    let what = named(pool, &pick);
    match pool.ask(|reply| verb.command(pick, reply)).await {
        Ok(Ok(())) => Ok(format!("{what} {}", verb.done())),
        Ok(Err(why)) => Err(why),
        Err(gone) => Err(format!("{what}: {gone}")),
    }
}

fn gathered(results: Vec<Result<String, String>>) -> Result<Progress, CommandError> {
    let (done, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    if failed.is_empty() {
        return Ok(done.into_iter().flatten().collect());
    }
    let reasons: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
    Err(CommandError::Failed(reasons.join("\n")))
}

/// Whoever asked may have gone; the command was carried out all the same.
pub(super) fn reply(answer: Answer, result: Result<Progress, CommandError>) {
    if answer.send(result).is_err() {
        tracing::debug!("whoever gave the command has gone");
    }
}

fn listed(names: &[NamePattern]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
