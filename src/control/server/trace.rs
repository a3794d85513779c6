//! Jobs that end as a stream of JSON lines: times, no payloads.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::App;
use super::refusal::Refusal;
use crate::broker::{Command, JobEnding};
use crate::control::api::TraceRecord;

/// Jobs of one piece of the answer at most.
const PIECE_MAX: usize = 1024;

pub(super) async fn stream(State(app): State<App>) -> Result<Response, Refusal> {
    let endings = app.broker()?.ask(Command::Record).await?;
    let begin = Instant::now();
    let pieces = futures_util::stream::unfold((endings, app.stop), move |(mut endings, stop)| {
        async move {
            let first = tokio::select! {
                next = endings.recv() => next,
                () = stop.cancelled() => Err(RecvError::Closed),
            };
            let mut records = vec![match first {
                Ok(ending) => record(&ending, begin),
                Err(RecvError::Lagged(missed)) => TraceRecord::Missed { missed },
                Err(RecvError::Closed) => return None,
            }];
            // Whatever else is there goes with it: a piece for each job would cost more than the job.
            while records.len() < PIECE_MAX {
                records.push(match endings.try_recv() {
                    Ok(ending) => record(&ending, begin),
                    Err(TryRecvError::Lagged(missed)) => TraceRecord::Missed { missed },
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                });
            }
            Some((render(&records), (endings, stop)))
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

fn record(ending: &JobEnding, begin: Instant) -> TraceRecord {
    let since = ending.at.saturating_duration_since(begin).as_secs_f64();
    let before = begin.saturating_duration_since(ending.at).as_secs_f64();
    let service = ending.service.unwrap_or_default();
    TraceRecord::Ended {
        function: ending.function.to_string(),
        at: since - before - ending.age.as_secs_f64(),
        wait: ending.age.saturating_sub(service).as_secs_f64(),
        service: ending.service.map(|service| service.as_secs_f64()),
    }
}

fn render(records: &[TraceRecord]) -> Result<Bytes, serde_json::Error> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)?;
        text.push(b'\n');
    }
    Ok(Bytes::from(text))
}
