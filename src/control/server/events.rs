//! Changes of workers' states as a stream of JSON lines.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::error::RecvError;

use super::App;
use super::convert::rfc3339;
use crate::control::api::EventRecord;
use crate::pool::{PoolNewsItem, SlotRole};

pub(super) async fn stream(State(app): State<App>) -> Response {
    let events = app.supervisor.news.subscribe();
    let lines = futures_util::stream::unfold((events, app.stop), |(mut events, stop)| async {
        let next = tokio::select! {
            next = events.recv() => next,
            () = stop.cancelled() => Err(RecvError::Closed),
        };
        let record = match next {
            Ok(event) => record(&event),
            Err(RecvError::Lagged(missed)) => EventRecord::Missed { missed },
            Err(RecvError::Closed) => return None,
        };
        Some((render(&record), (events, stop)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
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
    }
}

fn render(record: &EventRecord) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(record)?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}
