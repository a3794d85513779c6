//! The file: boot, edits and `reload` are one path, from a difference to its effects.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::commands::reply;
use super::entry::Entry;
use super::floor::Floor;
use super::handle::{Answer, CommandError, ConfigState, Rejected};
use super::plan::{self, Plan, PlannedStep};
use super::settle::settle;
use super::task::{Rooms, Supervisor};
use super::timing::Timing;
use super::usher::usher;
use crate::broker::Command;
use crate::config::{
    self, Changes, PoolChange, ReloadOnEdit, Run, Settings, Sources, Surroundings,
};
use crate::logs::LogsRequest;
use crate::model::PoolName;
use crate::pool::PoolCommand;

/// An edit that removes pools is applied after so long without another one: a file that was cut
/// short while it was written is often valid and lacks its last pools.
const QUIET_BEFORE_REMOVAL: Duration = Duration::from_secs(5);
/// How long `docker stop` waits before it kills, unless it is told otherwise.
const DOCKER_PATIENCE: Duration = Duration::from_secs(10);
/// A removed pool finishes its jobs, however long they take.
const NO_HURRY: Duration = Duration::MAX;

/// Something that is still to happen.
pub(super) struct Effect {
    /// What was done, or why it was not.
    done: BoxFuture<'static, Result<String, String>>,
    /// Whether the log has told all of it already.
    is_told: bool,
}

impl Effect {
    /// Told when it has happened.
    pub(super) fn new(done: impl Future<Output = Result<String, String>> + Send + 'static) -> Self {
        Self { done: Box::pin(done), is_told: false }
    }
}

impl Supervisor {
    /// The start: the difference from no pools at all.
    pub(super) async fn boot(&mut self) {
        let settings = Arc::clone(&self.settings);
        let changes = config::diff(&settings.without_pools(), &settings);
        let effects = self.apply(settings, &changes).await;
        self.say_when_done(effects, None);
        let grace = self.settings.supervisor.shutdown_grace;
        if nix::unistd::getpid().as_raw() == 1 && grace > DOCKER_PATIENCE {
            let grace = humantime::format_duration(grace);
            warn!(
                "running as PID 1: `docker stop` kills after 10 s unless it is told otherwise, \
                 and shutdown_grace is {grace}; give the container a longer --stop-timeout \
                 (compose: stop_grace_period), or set shutdown_grace to less"
            );
        }
        info!("{} of {}", self.serving(), self.settings.file.display());
        if self.config.rejected.is_some() {
            self.say_bad_start();
        } else {
            self.keep_good();
            self.service.ready(&self.serving());
        }
    }

    /// The daemon was started with a broken file.
    fn say_bad_start(&mut self) {
        for line in self.config.rejected.iter().flat_map(|rejected| &rejected.errors) {
            error!("{line}");
        }
        let then = plan::at_clock(self.config.loaded_at);
        let said = format!(
            "the file has mistakes: running the last good one, applied at {then}, as on_bad_file \
             says; it is applied when it is mended"
        );
        error!("{said}");
        self.service.ready(&said);
    }

    /// Keeps the files that are in force, for a start with a broken one.
    fn keep_good(&self) {
        let surroundings = Surroundings::of_process();
        let kept = config::keep_last_good(&self.settings, &surroundings, &self.rooms.state_dir);
        if let Err(error) = kept {
            warn!(%error, "the last good file cannot be kept");
        }
    }

    fn serving(&self) -> String {
        let pools = self.pools.len();
        format!("serving {pools} {}", if pools == 1 { "pool" } else { "pools" })
    }

    /// The watcher saw an edit.
    pub(super) async fn edited(&mut self) {
        match self.settings.supervisor.reload_on_edit {
            ReloadOnEdit::Off => {}
            ReloadOnEdit::Check => match self.read() {
                Ok(_) => {
                    self.config.rejected = None;
                    info!("the edited file is right; reload applies it");
                    self.service.ready(&self.serving());
                }
                Err(errors) => self.reject(errors),
            },
            ReloadOnEdit::Apply => match self.read() {
                Ok(new) if self.is_doubtful(&new) => {
                    info!("the edit removes pools: applied in 5 s unless another edit follows");
                    self.quiet_until = Some(Instant::now() + QUIET_BEFORE_REMOVAL);
                    self.service.ready(&self.serving());
                }
                Ok(new) => self.take(new, None).await,
                Err(errors) => self.reject(errors),
            },
        }
    }

    /// Nothing followed an edit that removes pools.
    pub(super) async fn settled_edit(&mut self) {
        self.quiet_until = None;
        self.reload_and_log("the edit").await;
    }

    /// Reads and applies the file for nobody who waits.
    pub(super) async fn reload_and_log(&mut self, cause: &str) {
        info!("reading the file again: {cause}");
        let read = self.read().and_then(|new| self.refuse_empty(new, false));
        match read {
            Ok(new) => self.take(new, None).await,
            Err(errors) => self.reject(errors),
        }
    }

    pub(super) async fn reload(&mut self, allow_empty: bool, answer: Answer) {
        let read = self.read().and_then(|new| self.refuse_empty(new, allow_empty));
        match read {
            Ok(new) => self.take(new, Some(answer)).await,
            Err(errors) => {
                self.reject(errors.clone());
                reply(answer, Err(CommandError::BadFile(errors)));
            }
        }
    }

    /// What a reload would do. The file is read as it is now, and nothing else happens.
    pub(super) fn plan(&self, allow_empty: bool) -> Result<Vec<PlannedStep>, CommandError> {
        let read = config::load(&self.settings.file, &Surroundings::of_process());
        let new = read.map_err(|errors| errors.lines());
        let new = new.and_then(|new| self.refuse_empty(new, allow_empty));
        let new = new.map_err(CommandError::BadFile)?;
        let changes = config::diff(&self.settings, &new);
        let view = |name: &PoolName| self.pools.get(name).map(|entry| entry.handle.view());
        let counts = |change: &PoolChange| {
            let Some(entry) = self.pools.get(change.name()) else { return (0, 0) };
            let hold = entry.hold.filter(|_| !change.changes_count());
            let bounds = hold.map_or(change.new.count, |hold| hold.bounds);
            (entry.target, entry.target.clamp(bounds.min, bounds.max))
        };
        Ok(plan::steps(&changes, view, counts))
    }

    fn is_doubtful(&self, new: &Settings) -> bool {
        let kept = |name| new.pools.contains_key(name);
        !self.pools.keys().all(kept)
    }

    fn refuse_empty(&self, new: Settings, allowed: bool) -> Result<Settings, Vec<String>> {
        if new.pools.is_empty() && !self.pools.is_empty() && !allowed {
            let file = new.file.display();
            let why = "leaves no pool; if that is meant, run reload --allow-empty";
            return Err(vec![format!("{file}: {why}")]);
        }
        Ok(new)
    }

    /// Reads the file, and watches what was read. Whatever comes of it ends with word to the
    /// service manager, which waits for it.
    fn read(&mut self) -> Result<Settings, Vec<String>> {
        self.service.reloading();
        let read = config::load(&self.settings.file, &Surroundings::of_process());
        let watch = |supervisor: &Self, sources: &Sources| {
            if let Some(watcher) = &supervisor.rooms.watcher {
                watcher.watch(sources.clone());
            }
        };
        match read {
            Ok(new) => {
                watch(self, &new.sources);
                Ok(new)
            }
            Err(errors) => {
                watch(self, &errors.sources);
                Err(errors.lines())
            }
        }
    }

    fn reject(&mut self, errors: Vec<String>) {
        for line in &errors {
            error!("{line}");
        }
        let running = plan::at_clock(self.config.loaded_at);
        let said = format!("the file was not applied; still running the file of {running}");
        error!("{said}");
        self.service.ready(&said);
        self.config.rejected = Some(Rejected { at: SystemTime::now(), errors });
    }

    /// Puts new settings in force.
    async fn take(&mut self, new: Settings, answer: Option<Answer>) {
        self.quiet_until = None;
        let was_rejected = self.config.rejected.is_some();
        self.config = ConfigState { loaded_at: SystemTime::now(), is_copy: false, rejected: None };
        let changes = config::diff(&self.settings, &new);
        if changes.is_empty() {
            self.settings = Arc::new(new);
            self.keep_good();
            self.service.ready(&self.serving());
            let again = if was_rejected { " right again" } else { " right" };
            let said = format!("the file is{again}, and changes nothing that runs");
            return self.say_when_done(vec![Effect::new(async { Ok(said) })], answer);
        }
        for key in &changes.at_restart {
            warn!("{key} changed: takes effect when the daemon is started again");
        }
        for said in changes.sentences() {
            self.rooms.news.edited(said);
        }
        let mut effects = self.apply(Arc::new(new), &changes).await;
        for key in changes.live {
            let said = format!("{key} changed, and is in force");
            effects.push(Effect::new(async { Ok(said) }));
        }
        self.keep_good();
        self.service.ready(&self.serving());
        self.say_when_done(effects, answer);
    }

    async fn apply(&mut self, new: Arc<Settings>, changes: &Changes) -> Vec<Effect> {
        let listening = self.settings.broker.listen != new.broker.listen;
        let rules_changed = self.settings.broker.rules != new.broker.rules;
        self.settings = new;
        let mut effects: Vec<Effect> = Vec::new();
        let is_kept = |name: &str| self.settings.pools.keys().any(|kept| kept.as_str() == name);
        self.rooms.intents.keep(is_kept);
        self.rooms.memory.keep(is_kept);
        for pool in &changes.added {
            self.open_pool(pool).await;
            if let Some(entry) = self.pools.get(&pool.name) {
                let (name, count, handle) = (pool.name.clone(), pool.count, entry.handle.clone());
                let done = match pool.run.run {
                    Run::Serve | Run::Once => format!("{name} added: {count} started"),
                    Run::OnCall => format!("{name} added: it runs when it is time"),
                };
                effects.push(Effect::new(
                    async move { settle(handle, count.min).await.map(|()| done) },
                ));
            }
        }
        for name in &changes.removed {
            if let Some(entry) = self.pools.remove(name) {
                self.unwatch_program(name).await;
                effects.push(self.close_pool(entry).await);
            }
        }
        for change in &changes.changed {
            let (pool, settings) = (change.name().clone(), change.new.log.clone());
            self.tell_logs(LogsRequest::Configure { pool, settings }).await;
            if change.old.deploys.watch != change.new.deploys.watch
                || change.old.program != change.new.program
            {
                self.watch_program(&change.new).await;
            }
            if let Some(entry) = self.pools.get_mut(change.name()) {
                effects.push(configure(entry, change, &self.rooms).await);
            }
        }
        if rules_changed && let Some(broker) = self.rooms.source.broker() {
            let rules = Arc::clone(&self.settings.broker.rules);
            if broker.tell(Command::Configure(rules)).await.is_err() {
                warn!("the broker has ended");
            }
        }
        if listening {
            effects.extend(self.listen());
        }
        self.publish_routes();
        self.scaling.ask(Instant::now());
        effects
    }

    async fn close_pool(&mut self, entry: Entry) -> Effect {
        let name = entry.settings.name.clone();
        let (reply, closed) = oneshot::channel();
        let close = PoolCommand::Close { grace: NO_HURRY, reply };
        if entry.handle.tell(close).await.is_err() {
            warn!(pool = %name, "the pool had been closed before");
        }
        self.leaving.push(entry.handle);
        let logs = self.rooms.logs.clone();
        let routes = self.rooms.routes.subscribe();
        Effect::new(async move {
            closed.await.or(Err(format!("{name} could not be closed")))?;
            // A pool of its name may have come back while it finished its jobs.
            let is_back = routes.borrow().contains_key(&name);
            if !is_back && logs.tell(LogsRequest::Forget(name.clone())).await.is_err() {
                warn!("the logs have ended");
            }
            Ok(format!("{name} removed"))
        })
    }

    fn listen(&self) -> Option<Effect> {
        let broker = self.rooms.source.broker()?.clone();
        let addresses = self.settings.broker.listen.clone();
        Some(Effect::new(async move {
            let listening = broker.ask(|reply| Command::Listen { addresses, reply }).await;
            listening.map_err(|gone| gone.to_string())??;
            Ok("listening addresses changed".to_owned())
        }))
    }

    /// Logs each effect when it has happened, unless that was told before, and answers whoever waits
    /// for all of them.
    pub(super) fn say_when_done(&self, effects: Vec<Effect>, answer: Option<Answer>) {
        self.rooms.tasks.spawn(async move {
            let logged = effects.into_iter().map(|effect| async move {
                let result = effect.done.await;
                match &result {
                    Ok(_) if effect.is_told => {}
                    Ok(line) => info!("{line}"),
                    Err(line) => warn!("{line}"),
                }
                result
            });
            let results = join_all(logged).await;
            let Some(answer) = answer else { return };
            let failed = results.iter().any(Result::is_err);
            let lines: Vec<_> = results.into_iter().map(|r| r.unwrap_or_else(|e| e)).collect();
            let result =
                if failed { Err(CommandError::Failed(lines.join("\n"))) } else { Ok(lines) };
            reply(answer, result);
        });
    }
}

/// Gives a pool its new settings, and tells at once what that will do; a second line follows when
/// workers had to finish their jobs for it. An edit of the count releases an operator's hold.
async fn configure(entry: &mut Entry, change: &PoolChange, rooms: &Rooms) -> Effect {
    entry.settings = Arc::clone(&change.new);
    entry.floor = Floor::at(&change.new.min_at, Timestamp::now());
    if !change.program.is_empty() {
        // The new program may serve others.
        entry.learned.forget(Instant::now());
    }
    let mut said = change.to_string();
    let is_released = change.changes_count() && entry.hold.is_some();
    if is_released {
        entry.set_hold(None);
        said.push_str(", which ends the hold");
    }
    let (before, bounds) = (entry.target, entry.bounds());
    entry.target = before.clamp(bounds.min, bounds.max);
    entry.wanted = entry.target;
    let plan = Plan::of(change, &entry.handle.view(), before, entry.target);
    info!("{said}: {}", plan.begun());
    let (reply, done) = oneshot::channel();
    let settings = Arc::clone(&change.new);
    let command = PoolCommand::Configure { settings, target: entry.target, reply };
    let gone = entry.handle.tell(command).await.is_err();
    if change.old.run.timetable != change.new.run.timetable {
        entry.timing = Timing::of(&change.new);
    }
    if change.old.order.after != change.new.order.after {
        entry.usher = Some(usher(&entry.handle, &change.new, &rooms.routes, &rooms.tasks));
    }
    if is_released {
        entry.follow_bounds(&rooms.gate).await;
    }
    let done = async move {
        match done.await {
            Ok(Ok(())) if !gone => Ok(format!("{said}: {}", plan.done())),
            Ok(Err(why)) => Err(format!("{said}: {why}")),
            Ok(Ok(())) | Err(_) => Err(format!("{said}: the pool has been closed")),
        }
    };
    Effect { done: Box::pin(done), is_told: !plan.takes_time() }
}
