//! Workers' output as a stream of JSON lines.
//!
//! The stream takes from the logs only what the client has read; what it is too slow for is
//! dropped there and counted, never kept here.

use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::App;
use super::convert::rfc3339;
use super::queries::require;
use super::refusal::Refusal;
use crate::control::api::LogRecord;
use crate::logs::{LogEntry, LogFilter, LogLine, LogStream, LogsRequest};
use crate::model::NamePattern;

/// Recent lines that are sent unless another number is asked for.
const LINES_SENT: usize = 100;

pub(super) async fn stream(
    State(app): State<App>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let mut filter = parse_filter(&query, SystemTime::now())?;
    let names: Vec<_> = filter.names.iter().map(ToString::to_string).collect();
    filter.names = app.meant(&names).await?;
    require(&app.supervisor.snapshot().await?, &filter.names)?;
    let subscription =
        app.supervisor.logs.ask(|reply| LogsRequest::Subscribe { filter, reply }).await?;
    let entries = futures_util::stream::unfold(
        (subscription.entries, app.stop),
        |(mut entries, stop)| async {
            let next = tokio::select! {
                next = entries.recv() => next,
                () = stop.cancelled() => None,
            };
            next.map(|batch| (render(&batch), (entries, stop)))
        },
    );
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(entries)).into_response())
}

fn parse_filter(query: &[(String, String)], now: SystemTime) -> Result<LogFilter, Refusal> {
    let mut filter = LogFilter { names: Vec::new(), lines: LINES_SENT, since: None, follow: false };
    for (key, value) in query {
        let wrong = |want: &str| Refusal::bad_request(format!("{key}={value} is not {want}"));
        match key.as_str() {
            "name" => {
                let names = value.split(',').filter(|name| !name.is_empty());
                filter.names.extend(names.map(NamePattern::new));
            }
            "lines" => filter.lines = value.parse().or(Err(wrong("a number of lines")))?,
            "since" => {
                let since = parse_since(value, now);
                filter.since = Some(since.ok_or_else(|| wrong("seconds or an RFC 3339 time"))?);
            }
            "follow" => filter.follow = value.parse().or(Err(wrong("true or false")))?,
            _ => {
                return Err(Refusal::bad_request(format!("logs has no '{key}'"))
                    .hint("it has name, lines, since and follow"));
            }
        }
    }
    if filter.names.is_empty() {
        filter.names.push(NamePattern::new("all"));
    }
    Ok(filter)
}

/// `600`, that many seconds ago, or `2026-11-24T04:55:42Z`.
fn parse_since(text: &str, now: SystemTime) -> Option<SystemTime> {
    if let Ok(seconds) = text.parse::<f64>() {
        return now.checked_sub(Duration::try_from_secs_f64(seconds).ok()?);
    }
    text.parse::<Timestamp>().ok()?.try_into().ok()
}

fn render(batch: &[LogEntry]) -> Result<Bytes, serde_json::Error> {
    let mut text = Vec::new();
    for entry in batch {
        serde_json::to_writer(&mut text, &record(entry))?;
        text.push(b'\n');
    }
    Ok(Bytes::from(text))
}

fn record(entry: &LogEntry) -> LogRecord {
    match entry {
        LogEntry::Missed(missed) => LogRecord::Missed { missed: *missed },
        LogEntry::Line(LogLine { at, worker, stream, text, .. }) => {
            let utf8 = str::from_utf8(text).ok();
            LogRecord::Line {
                time: rfc3339(*at),
                worker: worker.to_string(),
                stream: stream_name(*stream).to_owned(),
                text: utf8.map(str::to_owned),
                base64: utf8.is_none().then(|| STANDARD.encode(text)),
            }
        }
    }
}

fn stream_name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
        LogStream::Mark => "mark",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &[(&str, &str)]) -> Result<LogFilter, Refusal> {
        let query: Vec<_> =
            query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        parse_filter(&query, SystemTime::UNIX_EPOCH + Duration::from_secs(1000))
    }

    #[test]
    fn names_may_be_repeated_or_listed() {
        let names = |query| filter(query).unwrap().names;
        let both = ["a", "b:1"].map(NamePattern::new).to_vec();
        assert_eq!(names(&[("name", "a"), ("name", "b:1")]), both);
        assert_eq!(names(&[("name", "a,b:1")]), both);
        assert_eq!(names(&[]), [NamePattern::new("all")]);
    }

    #[test]
    fn since_is_an_age_or_a_time() {
        let since = |text| filter(&[("since", text)]).unwrap().since;
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(since("10"), at(990));
        assert_eq!(since("1970-01-01T01:00:05+01:00"), at(5));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [("lines", "many"), ("since", "noon"), ("follow", "1x"), ("colour", "red")] {
            assert!(filter(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_utf8_travels_as_base64() {
        let line = |text: &'static [u8]| {
            record(&LogEntry::Line(LogLine {
                at: SystemTime::UNIX_EPOCH,
                worker: "a:1".parse().unwrap(),
                stream: LogStream::Stderr,
                text: Bytes::from_static(text),
                continues: false,
            }))
        };
        let LogRecord::Line { text, base64, .. } = line(b"\xff\x00") else { panic!("no line") };
        assert_eq!((text, base64.as_deref()), (None, Some("/wA=")));
        let LogRecord::Line { text, base64, .. } = line(b"plain") else { panic!("no line") };
        assert_eq!((text.as_deref(), base64), (Some("plain"), None));
    }
}
