//! Orders about jobs and functions: pauses, dead letters, many jobs at once, payloads.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tracing::info;

use super::App;
use super::commands::Order;
use super::convert;
use super::refusal::Refusal;
use crate::broker::Command;
use crate::broker::state::{Exported, Sweep, SweepAction};
use crate::control::api::{Done, Functions, QueueDone, QueueRequest};
use crate::model::JobId;

/// Handles that an answer names; the count tells of the others.
const HANDLES_TOLD: usize = 100;

pub(super) async fn pause(
    State(app): State<App>,
    order: Order<Functions>,
) -> Result<Json<Done>, Refusal> {
    let broker = app.broker()?;
    let mut done = Vec::new();
    for pattern in some(order.what.functions)? {
        info!(actor = order.actor, "pause {pattern}");
        broker.ask(|reply| Command::Pause { pattern: pattern.clone(), reply }).await?;
        done.push(format!("{pattern} paused: its jobs wait until it is resumed"));
    }
    Ok(Json(Done { done }))
}

pub(super) async fn resume(
    State(app): State<App>,
    order: Order<Functions>,
) -> Result<Json<Done>, Refusal> {
    let broker = app.broker()?;
    let mut done = Vec::new();
    for pattern in some(order.what.functions)? {
        info!(actor = order.actor, "resume {pattern}");
        let ended = broker.ask(|reply| Command::Resume { pattern: pattern.clone(), reply }).await?;
        if ended.is_empty() {
            let pauses = broker.ask(Command::Pauses).await?;
            let refusal = Refusal::no_such_name(format!("'{pattern}' is not paused"));
            return Err(refusal.hint(match pauses.as_slice() {
                [] => "nothing is paused".to_owned(),
                pauses => format!("paused are: {}", pauses.join(", ")),
            }));
        }
        done.extend(ended.into_iter().map(|pattern| format!("{pattern} resumed")));
    }
    Ok(Json(Done { done }))
}

pub(super) async fn sweep(
    State(app): State<App>,
    Path(action): Path<String>,
    order: Order<QueueRequest>,
) -> Result<Json<QueueDone>, Refusal> {
    let action_taken = match action.as_str() {
        "cancel" => SweepAction::Cancel,
        "retry" => SweepAction::Retry,
        "purge" => SweepAction::Purge,
        other => return Err(Refusal::bad_request(format!("a queue has no '{other}'"))),
    };
    let QueueRequest { handles, function, older_than, dry_run } = order.what;
    if handles.is_empty() && function.is_none() && older_than.is_none() {
        return Err(Refusal::bad_request("nothing says which jobs are meant")
            .hint("name handles, a function, or an age; the function '*' means all"));
    }
    let older_than = older_than
        .map(|age| Duration::try_from_secs_f64(age).map_err(|error| error.to_string()))
        .transpose()
        .map_err(|error| Refusal::bad_request(format!("older_than: {error}")))?;
    let sweep =
        Sweep { action: action_taken, handle: None, functions: function, older_than, dry_run };
    let mut sweeps: Vec<Sweep> =
        handles.into_iter().map(|handle| Sweep { handle: Some(handle), ..sweep.clone() }).collect();
    if sweeps.is_empty() {
        sweeps.push(sweep);
    }
    let mut done = QueueDone::default();
    for sweep in sweeps {
        let handle = sweep.handle.clone();
        let swept = app.broker()?.ask(|reply| Command::Sweep { sweep, reply }).await?;
        if let (true, Some(handle)) = (swept.is_empty(), handle) {
            return Err(Refusal::no_such_name(match action_taken {
                SweepAction::Cancel => format!("no job with the handle {handle} waits"),
                SweepAction::Retry | SweepAction::Purge => {
                    format!("no dead letter has the handle {handle}")
                }
            }));
        }
        done.count += swept.len();
        done.handles.extend(swept);
    }
    if !dry_run {
        info!(actor = order.actor, jobs = done.count, "queue {action}");
    }
    done.handles.truncate(HANDLES_TOLD);
    Ok(Json(done))
}

pub(super) async fn export(State(app): State<App>) -> Result<Response, Refusal> {
    let broker = app.broker()?.clone();
    // The broker is asked for a piece when the client has read the one before.
    let pieces = futures_util::stream::unfold(Some(JobId(0)), move |after| {
        let broker = broker.clone();
        async move {
            let after = after?;
            let exported = broker.ask(|reply| Command::Export { after, reply }).await;
            Some(match exported {
                Ok(Ok(exported)) => (render(&exported), exported.next),
                Ok(Err(unread)) => (Err(io::Error::other(unread)), None),
                Err(gone) => (Err(io::Error::other(gone)), None),
            })
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

fn render(exported: &Exported) -> Result<Bytes, io::Error> {
    let mut text = Vec::new();
    for (handle, record) in &exported.jobs {
        serde_json::to_writer(&mut text, &convert::exported(handle, record))?;
        text.push(b'\n');
    }
    Ok(Bytes::from(text))
}

pub(super) async fn payload(
    State(app): State<App>,
    Path(handle): Path<String>,
) -> Result<Bytes, Refusal> {
    let found = app.broker()?.ask(|reply| Command::Payload { handle: handle.clone(), reply });
    let found = found.await?.map_err(|unread| Refusal::failed(unread.to_string()))?;
    found.ok_or_else(|| {
        Refusal::no_such_name(format!("no job has the handle {handle}"))
            .hint("it may have ended: a job is known while it waits or runs")
    })
}

fn some(functions: Vec<String>) -> Result<Vec<String>, Refusal> {
    if functions.is_empty() {
        return Err(Refusal::bad_request("no function is named").hint("'*' means every function"));
    }
    Ok(functions)
}
