//! Questions: the daemon's state, jobs, and why a pool has the count it has.

use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::App;
use super::convert::{self, WorkerNames};
use super::refusal::Refusal;
use crate::broker::{self, BrokerHandle, Command, JobView, JobsOf};
use crate::control::api::{Done, Explanation, JobStatus, PlanStatus, Status};
use crate::control::{is_label, nearest};
use crate::model::{FunctionName, NamePattern, WorkerId};
use crate::supervisor::{Brief, Snapshot};

/// Jobs that are listed unless more are asked for.
const JOBS_LISTED: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct JobsQuery {
    function: Option<String>,
    limit: Option<usize>,
    /// `oldest`, `newest` or `dead`.
    of: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct PlanQuery {
    #[serde(default)]
    allow_empty: bool,
}

pub(super) async fn plan(
    State(app): State<App>,
    query: Result<Query<PlanQuery>, QueryRejection>,
) -> Result<Json<PlanStatus>, Refusal> {
    let Query(PlanQuery { allow_empty }) = query?;
    let steps = app.supervisor.plan(allow_empty).await?;
    Ok(Json(PlanStatus { steps: steps.into_iter().map(convert::planned).collect() }))
}

pub(super) async fn status(State(app): State<App>) -> Result<Json<Status>, Refusal> {
    let snapshot = app.supervisor.snapshot().await?;
    Ok(Json(convert::status(&snapshot, Instant::now())))
}

pub(super) async fn jobs(
    State(app): State<App>,
    query: Result<Query<JobsQuery>, QueryRejection>,
) -> Result<Json<Vec<JobStatus>>, Refusal> {
    let Query(query) = query?;
    let broker_handle = app.broker()?;
    let function = query.function.map(|name| FunctionName(Bytes::from(name)));
    let limit = query.limit.unwrap_or(JOBS_LISTED);
    let of = match query.of.as_deref() {
        None | Some("oldest") => JobsOf::Oldest,
        Some("newest") => JobsOf::Newest,
        Some("dead") => JobsOf::Dead,
        Some(other) => return Err(Refusal::bad_request(format!("there are no '{other}' jobs"))),
    };
    let query = broker::JobsQuery { function, limit, of };
    let jobs = broker_handle.ask(|reply| Command::Jobs { query, reply }).await?;
    let names = WorkerNames::of(&app.supervisor.snapshot().await?);
    Ok(Json(jobs.iter().map(|job| convert::job(job, &names)).collect()))
}

pub(super) async fn job(
    State(app): State<App>,
    Path(handle): Path<String>,
) -> Result<Json<JobStatus>, Refusal> {
    app.job(handle).await.map(Json)
}

pub(super) async fn cancel(
    State(app): State<App>,
    Path(handle): Path<String>,
) -> Result<Json<Done>, Refusal> {
    let broker = app.broker()?;
    let cancelled = broker.ask(|reply| Command::Cancel { handle: handle.clone(), reply }).await?;
    if cancelled {
        return Ok(Json(Done { done: vec![format!("job {handle} was cancelled")] }));
    }
    let job = app.job(handle).await?;
    let holder = job.worker.unwrap_or_else(|| "a worker".to_owned());
    Err(Refusal::failed(format!("job {} is in the hands of {holder}", job.handle))
        .hint("only a job that waits can be cancelled"))
}

pub(super) async fn explain(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Explanation>, Refusal> {
    let snapshot = app.supervisor.snapshot().await?;
    let patterns = convert::patterns(&snapshot, std::slice::from_ref(&name));
    require(&snapshot, &patterns)?;
    let is_meant = |brief: &&Brief| patterns.iter().any(|p| p.matches_pool(&brief.view.name));
    let mut meant = snapshot.pools.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(brief), None) => Ok(Json(convert::explanation(&snapshot, brief))),
        _ => Err(Refusal::bad_request(format!("'{name}' means several pools; name one"))),
    }
}

impl App {
    /// Names as they were typed; labels are looked up.
    pub(super) async fn meant(&self, names: &[String]) -> Result<Vec<NamePattern>, Refusal> {
        if names.iter().any(|name| is_label(name)) {
            return Ok(convert::patterns(&self.supervisor.snapshot().await?, names));
        }
        Ok(names.iter().map(|name| NamePattern::new(name)).collect())
    }

    pub(super) fn broker(&self) -> Result<&BrokerHandle, Refusal> {
        self.supervisor.broker.as_ref().ok_or_else(|| {
            Refusal::failed("the jobs are held by other servers: [broker] servers is set")
                .hint("ask those servers, for example with gearadmin --status")
        })
    }

    /// The worker of ours that holds a job.
    pub(super) async fn holder(&self, handle: &str) -> Result<WorkerId, Refusal> {
        let Some(broker) = &self.supervisor.broker else {
            return self.holder_outside(handle).await;
        };
        let handle = handle.to_owned();
        let job = broker.ask(|reply| Command::Job { handle: handle.clone(), reply }).await?;
        match job.map(|job| (job.running, job.worker)) {
            None => Err(Refusal::no_such_name(format!("no job has the handle {handle}"))
                .hint("it may have ended: a job is known while it waits or runs")),
            Some((None, _)) => Err(Refusal::failed(format!("job {handle} waits"))
                .hint(format!("withdraw it with gear-supervisor cancel {handle}"))),
            Some((Some(_), None)) => Err(Refusal::failed(format!(
                "job {handle} is in the hands of another host's worker"
            ))
            .hint("only workers of this daemon can be killed")),
            Some((Some(_), Some(worker))) => Ok(worker),
        }
    }

    /// The same of a job of a server outside.
    async fn holder_outside(&self, handle: &str) -> Result<WorkerId, Refusal> {
        let snapshot = self.supervisor.snapshot().await?;
        let job = in_hand(&snapshot, handle).ok_or_else(|| unknown_outside(handle))?;
        job.worker.ok_or_else(|| unknown_outside(handle))
    }

    async fn job(&self, handle: String) -> Result<JobStatus, Refusal> {
        let Some(broker) = &self.supervisor.broker else {
            let snapshot = self.supervisor.snapshot().await?;
            let job = in_hand(&snapshot, &handle).ok_or_else(|| unknown_outside(&handle))?;
            return Ok(convert::job(job, &WorkerNames::of(&snapshot)));
        };
        let job = broker.ask(|reply| Command::Job { handle: handle.clone(), reply }).await?;
        let job = job.ok_or_else(|| {
            Refusal::no_such_name(format!("no job has the handle {handle}"))
                .hint("it may have ended: a job is known while it waits or runs")
        })?;
        let names = WorkerNames::of(&self.supervisor.snapshot().await?);
        Ok(convert::job(&job, &names))
    }
}

/// A job in the hands of a worker of ours.
fn in_hand<'a>(snapshot: &'a Snapshot, handle: &str) -> Option<&'a JobView> {
    let workers = snapshot.broker.iter().flat_map(|overview| overview.workers.values());
    workers.flat_map(|worker| &worker.jobs).find(|job| job.handle == handle)
}

fn unknown_outside(handle: &str) -> Refusal {
    Refusal::no_such_name(format!("no worker here holds a job with the handle {handle}"))
        .hint("[broker] servers is set: a job is known here while a worker of ours runs it")
}

/// Refuses names that no pool and no worker has.
pub(super) fn require(snapshot: &Snapshot, patterns: &[NamePattern]) -> Result<(), Refusal> {
    for pattern in patterns {
        if snapshot.pools.iter().any(|brief| convert::is_meant(brief, pattern)) {
            continue;
        }
        let name = pattern.to_string();
        let refusal = Refusal::no_such_name(format!("no pool or worker is called '{name}'"));
        return Err(match nearest(&name, known_names(snapshot)) {
            Some(near) => refusal.hint(format!("did you mean '{near}'?")),
            None => refusal.hint("gear-supervisor status lists them"),
        });
    }
    Ok(())
}

fn known_names(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let pools = snapshot.pools.iter().map(|brief| brief.view.name.to_string());
    let slots = snapshot.pools.iter().flat_map(|brief| &brief.view.slots);
    let labels = snapshot.pools.iter().flat_map(|brief| &brief.view.settings.order.labels);
    let labels = labels.map(|label| format!("@{label}"));
    pools.chain(slots.map(|slot| slot.name.to_string())).chain(labels)
}
