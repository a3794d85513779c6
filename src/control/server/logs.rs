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
use crate::model::{NamePattern, WorkerName};

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
    let mut out = Vec::new();
    for entry in batch {
        match entry {
            LogEntry::Missed(missed) => {
                serde_json::to_writer(&mut out, &LogRecord::Missed { missed: *missed })?;
                out.push(b'\n');
            }
            LogEntry::Line(LogLine { at, worker, stream, text, part }) => {
                append_lines(&mut out, &head(*at, worker, *stream)?, [&text[..]], *part)?;
            }
            LogEntry::Lines(chunk) => {
                let head = head(chunk.at, &chunk.worker, chunk.stream)?;
                append_lines(&mut out, &head, chunk.lines(), chunk.part)?;
            }
        }
    }
    Ok(Bytes::from(out))
}

/// What the records of lines that came together have in common, without the end of the object. It
/// is rendered once for all of them: a follower of a busy worker is sent millions.
fn head(
    at: SystemTime,
    worker: &WorkerName,
    stream: LogStream,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut head = serde_json::to_vec(&LogRecord::Line {
        time: rfc3339(at),
        worker: worker.to_string(),
        stream: stream.as_str().to_owned(),
        text: None,
        base64: None,
        part: false,
    })?;
    head.pop();
    Ok(head)
}

/// Appends a record for each line, as [`LogRecord::Line`] is written.
fn append_lines<'a>(
    out: &mut Vec<u8>,
    head: &[u8],
    lines: impl IntoIterator<Item = &'a [u8]>,
    part: bool,
) -> Result<(), serde_json::Error> {
    for line in lines {
        out.extend_from_slice(head);
        if let Ok(text) = str::from_utf8(line) {
            out.extend_from_slice(b",\"text\":");
            serde_json::to_writer(&mut *out, text)?;
        } else {
            out.extend_from_slice(b",\"base64\":");
            serde_json::to_writer(&mut *out, &STANDARD.encode(line))?;
        }
        out.extend_from_slice(if part { b",\"part\":true}\n" } else { b"}\n" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::LogChunk;

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
    fn lines_are_rendered_as_the_records_that_they_are() {
        let worker: WorkerName = "a:1".parse().unwrap();
        let texts: [&[u8]; 5] =
            [b"plain", b"", b"\"quoted\" \x1b[1m\t", b"\xff\x00", "ä€".as_bytes()];
        for part in [false, true] {
            let expected = texts.map(|text| {
                let utf8 = str::from_utf8(text).ok();
                LogRecord::Line {
                    time: rfc3339(SystemTime::UNIX_EPOCH),
                    worker: worker.to_string(),
                    stream: "stderr".to_owned(),
                    text: utf8.map(str::to_owned),
                    base64: utf8.is_none().then(|| STANDARD.encode(text)),
                    part,
                }
            });
            let (at, stream) = (SystemTime::UNIX_EPOCH, LogStream::Stderr);
            let line = |text: &[u8]| {
                let (worker, text) = (worker.clone(), Bytes::copy_from_slice(text));
                LogEntry::Line(LogLine { at, worker, stream, text, part })
            };
            let bytes = Bytes::from([&texts.join(&b'\n')[..], b"\n"].concat());
            let chunk = LogChunk { at, worker: worker.clone(), stream, bytes, part };
            for batch in [texts.map(line).to_vec(), vec![LogEntry::Lines(chunk)]] {
                let rendered = render(&batch).unwrap();
                let records: Vec<LogRecord> = rendered
                    .strip_suffix(b"\n")
                    .unwrap()
                    .split(|byte| *byte == b'\n')
                    .map(|record| serde_json::from_slice(record).unwrap())
                    .collect();
                assert_eq!(records, expected);
                assert_eq!(rendered[..], whole(&records));
            }
        }
    }

    fn whole(records: &[LogRecord]) -> Vec<u8> {
        records
            .iter()
            .flat_map(|record| [serde_json::to_vec(record).unwrap(), b"\n".to_vec()].concat())
            .collect()
    }
}
