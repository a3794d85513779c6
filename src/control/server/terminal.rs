//! Workers' terminals: what they show as a stream of JSON lines, and what is typed.
//!
//! The keyboard is with whoever holds the stream that it was given to; the end of that stream gives
//! it back.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::sync::oneshot;
use tracing::info;

use super::commands::Order;
use super::refusal::Refusal;
use super::{App, Caller, queries};
use crate::control::api::{Done, SendRequest, SizeRequest, TerminalRecord};
use crate::logs::{
    KeyboardError, KeyboardId, KeyboardWish, LogsRequest, TerminalNews, TerminalRequest,
    TerminalView,
};
use crate::model::{NamePattern, WorkerName};
use crate::supervisor::Snapshot;
use crate::terminal::TerminalSize;

/// Longest line that `send` takes: a program that reads lines loses the rest of a longer one.
const LINE_LEN_MAX: usize = 4094;
/// How long a program may take to read what was typed before.
const TYPING_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
pub(super) struct ViewQuery {
    #[serde(default)]
    keyboard: bool,
    #[serde(default)]
    steal: bool,
    columns: Option<u16>,
    rows: Option<u16>,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeysQuery {
    keyboard: u64,
}

/// Shows a terminal until the client leaves or the worker's pool is gone.
pub(super) async fn view(
    State(app): State<App>,
    Path(name): Path<String>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    query: Result<Query<ViewQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let worker = only_worker(&app.supervisor.snapshot().await?, &name)?;
    let who = if query.keyboard { Some(caller.actor().await) } else { None };
    let default = TerminalSize::default();
    let columns = query.columns.unwrap_or_else(|| default.columns());
    let size = TerminalSize::new(columns, query.rows.unwrap_or_else(|| default.rows()));
    let keyboard = who.clone().map(|who| KeyboardWish { who, steal: query.steal, size });
    let view =
        app.ask(|reply| TerminalRequest::View { worker: worker.clone(), keyboard, reply }).await?;
    if let Some(actor) = who {
        info!(%worker, %actor, "took the keyboard of a terminal");
    }
    Ok(stream(&worker, view, app))
}

fn stream(worker: &WorkerName, view: TerminalView, app: App) -> Response {
    let keyboard = view.keyboard.map(|KeyboardId(id)| id);
    let first = TerminalRecord::Attached { worker: worker.to_string(), keyboard };
    let state = (Some(first), view.news, app.stop);
    let records = futures_util::stream::unfold(state, |(first, mut news, stop)| async {
        if let Some(first) = first {
            return Some((render(&[first]), (None, news, stop)));
        }
        let next = tokio::select! {
            next = news.recv() => next,
            () = stop.cancelled() => None,
        };
        let records: Vec<_> = next?.into_iter().map(record).collect();
        Some((render(&records), (None, news, stop)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(records)).into_response()
}

/// Types what stands in the body, as it is.
pub(super) async fn keys(
    State(app): State<App>,
    Path(name): Path<String>,
    query: Result<Query<KeysQuery>, QueryRejection>,
    keys: Bytes,
) -> Result<Json<Done>, Refusal> {
    let Query(KeysQuery { keyboard }) = query?;
    app.type_into(worker_of(&name)?, Some(KeyboardId(keyboard)), keys).await?;
    Ok(Json(Done::default()))
}

/// Changes the size of a terminal.
pub(super) async fn size(
    State(app): State<App>,
    Path(name): Path<String>,
    order: Order<SizeRequest>,
) -> Result<Json<Done>, Refusal> {
    let SizeRequest { keyboard, columns, rows } = order.what;
    let (worker, by) = (worker_of(&name)?, KeyboardId(keyboard));
    let size = TerminalSize::new(columns, rows);
    app.ask(|reply| TerminalRequest::Resize { worker, by, size, reply }).await?;
    Ok(Json(Done::default()))
}

/// Types a line into the terminals of all workers that are meant.
pub(super) async fn send(
    State(app): State<App>,
    order: Order<SendRequest>,
) -> Result<Json<Done>, Refusal> {
    let SendRequest { names, line } = order.what;
    if line.len() > LINE_LEN_MAX {
        let message = format!("{} bytes are more than a line of a terminal holds", line.len());
        return Err(Refusal::bad_request(message).hint(format!("send at most {LINE_LEN_MAX}")));
    }
    let patterns = app.patterns(&names).await?;
    let snapshot = app.supervisor.snapshot().await?;
    queries::require(&snapshot, &patterns)?;
    let workers = living(&snapshot, &patterns)?;
    // What the key at the end of a line sends; the terminal makes a line end of it.
    let keys = Bytes::from(format!("{line}\r"));
    let mut done = Vec::new();
    for worker in workers {
        app.type_into(worker.clone(), None, keys.clone()).await?;
        let actor = &order.actor;
        info!(%worker, actor, "a line was typed into a terminal");
        done.push(format!("typed into {worker}"));
    }
    Ok(Json(Done { done }))
}

impl App {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, KeyboardError>>) -> TerminalRequest,
    ) -> Result<T, Refusal> {
        let logs = &self.supervisor.logs;
        Ok(logs.ask(|reply| LogsRequest::Terminal(request(reply))).await??)
    }

    async fn type_into(
        &self,
        worker: WorkerName,
        by: Option<KeyboardId>,
        keys: Bytes,
    ) -> Result<(), Refusal> {
        let name = worker.clone();
        let typed = self.ask(|reply| TerminalRequest::Type { worker, by, keys, reply });
        tokio::time::timeout(TYPING_TIMEOUT, typed).await.unwrap_or_else(|_| {
            Err(Refusal::failed(format!("{name} does not read its terminal"))
                .hint("what was typed waits there"))
        })
    }
}

/// The one worker that a name means; it has a terminal.
fn only_worker(snapshot: &Snapshot, name: &str) -> Result<WorkerName, Refusal> {
    let pattern = NamePattern::new(name);
    queries::require(snapshot, std::slice::from_ref(&pattern))?;
    let mut meant = meant(snapshot, std::slice::from_ref(&pattern));
    let worker = match (meant.next(), meant.next()) {
        (Some(worker), None) => worker,
        (Some(first), Some(_)) => {
            return Err(Refusal::bad_request(format!("'{name}' means several workers"))
                .hint(format!("name one of them, such as {first}")));
        }
        (None, _) => {
            return Err(Refusal::failed(format!("'{name}' has no worker just now"))
                .hint(format!("gear-supervisor status {name} tells why")));
        }
    };
    require_terminal(snapshot, &worker)?;
    Ok(worker)
}

/// The workers that are meant and have a process.
fn living(snapshot: &Snapshot, patterns: &[NamePattern]) -> Result<Vec<WorkerName>, Refusal> {
    let workers: Vec<_> = meant(snapshot, patterns).collect();
    for worker in &workers {
        require_terminal(snapshot, worker)?;
    }
    if workers.is_empty() {
        let message = "none of these has a worker just now";
        return Err(Refusal::failed(message).hint("gear-supervisor status tells why"));
    }
    Ok(workers)
}

fn meant<'a>(
    snapshot: &'a Snapshot,
    patterns: &'a [NamePattern],
) -> impl Iterator<Item = WorkerName> + 'a {
    let slots = snapshot.pools.iter().flat_map(|brief| &brief.view.slots);
    let mut workers: Vec<_> = slots
        .map(|slot| slot.name.clone())
        .filter(|name| patterns.iter().any(|pattern| pattern.matches_worker(name)))
        .collect();
    workers.dedup();
    workers.into_iter()
}

fn require_terminal(snapshot: &Snapshot, worker: &WorkerName) -> Result<(), Refusal> {
    let pool = snapshot.settings.pools.get(&worker.pool);
    if pool.is_some_and(|pool| pool.program.tty) {
        return Ok(());
    }
    let pool = &worker.pool;
    Err(Refusal::failed(format!("the workers of {pool} have no terminal"))
        .hint(format!("write tty = true in [pool.{pool}]")))
}

fn worker_of(name: &str) -> Result<WorkerName, Refusal> {
    name.parse().map_err(|error| Refusal::bad_request(format!("{error}")))
}

fn record(news: TerminalNews) -> TerminalRecord {
    match news {
        TerminalNews::Screen { size, repaint } => TerminalRecord::Screen {
            columns: size.columns(),
            rows: size.rows(),
            repaint: STANDARD.encode(repaint),
        },
        TerminalNews::Output(bytes) => TerminalRecord::Output { bytes: STANDARD.encode(bytes) },
        TerminalNews::Resized(size) => {
            TerminalRecord::Resized { columns: size.columns(), rows: size.rows() }
        }
        TerminalNews::Gone => TerminalRecord::Gone,
        TerminalNews::Mark(text) => TerminalRecord::Mark { text },
        TerminalNews::KeyboardTaken { by } => TerminalRecord::KeyboardTaken { by },
    }
}

fn render(records: &[TerminalRecord]) -> Result<Bytes, serde_json::Error> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)?;
        text.push(b'\n');
    }
    Ok(Bytes::from(text))
}

impl From<KeyboardError> for Refusal {
    fn from(error: KeyboardError) -> Self {
        let refusal = Self::failed(error.to_string());
        match error {
            KeyboardError::Held { .. } => {
                refusal.hint("--steal takes it; attach without -i only looks")
            }
            KeyboardError::Lost { worker } => {
                refusal.hint(format!("gear-supervisor attach -i {worker} --steal takes it back"))
            }
            KeyboardError::NoProcess { worker } => {
                refusal.hint(format!("gear-supervisor status {worker} tells why"))
            }
            KeyboardError::Full { .. } => refusal,
        }
    }
}
