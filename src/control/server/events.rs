//! Changes of workers' states, and of pools' counts, as a stream of JSON lines.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::App;
use super::convert::{self, rfc3339};
use crate::control::api::EventRecord;
use crate::pool::{PoolNewsItem, SlotRole};
use crate::supervisor::CountChange;

/// What one client hears of.
struct Hearing {
    moves: Receiver<Arc<PoolNewsItem>>,
    counts: Receiver<Arc<CountChange>>,
    stop: CancellationToken,
}

pub(super) async fn stream(State(app): State<App>) -> Response {
    let moves = app.supervisor.news.subscribe();
    let counts = app.supervisor.counts.subscribe();
    let hearing = Hearing { moves, counts, stop: app.stop };
    let lines = futures_util::stream::unfold(hearing, |mut hearing| async {
        let record = match hearing.next().await {
            Ok(record) => record,
            Err(RecvError::Lagged(missed)) => EventRecord::Missed { missed },
            Err(RecvError::Closed) => return None,
        };
        Some((render(&record), hearing))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

impl Hearing {
    async fn next(&mut self) -> Result<EventRecord, RecvError> {
        tokio::select! {
            moved = self.moves.recv() => moved.map(|event| record(&event)),
            change = self.counts.recv() => {
                change.map(|change| EventRecord::Count(convert::count(&change)))
            }
            () = self.stop.cancelled() => Err(RecvError::Closed),
        }
    }
}

fn record(item: &Arc<PoolNewsItem>) -> EventRecord {
    match &**item {
        PoolNewsItem::Moved(event) => EventRecord::Moved {
            time: rfc3339(event.at),
            worker: event.worker.to_string(),
            outgoing: event.role == SlotRole::Predecessor,
            pid: event.pid,
            from: event.from.as_str().to_owned(),
            to: event.to.as_str().to_owned(),
            why: event.why.clone(),
        },
        PoolNewsItem::Deployed(event) => EventRecord::Deployed {
            time: rfc3339(event.at),
            worker: event.worker.to_string(),
            deploy: event.what.to_owned(),
            reason: event.reason.clone(),
        },
        PoolNewsItem::Edited(event) => {
            EventRecord::Edited { time: rfc3339(event.at), edit: event.said.clone() }
        }
    }
}

fn render(record: &EventRecord) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(record)?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}
