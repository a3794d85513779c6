//! Reading a stream of records such as log lines, a batch at a time.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::path::PathBuf;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use memchr::memchr;
use serde::de::DeserializeOwned;

use super::ClientError;
use super::wire::escape;
use crate::control::api::LogRecord;

/// Which lines are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Pools, workers or patterns.
    pub names: Vec<String>,
    /// So many recent lines first.
    pub lines: usize,
    /// Of those, none older: seconds, or an RFC 3339 time.
    pub since: Option<String>,
    /// Whether to go on with new ones.
    pub follow: bool,
}

impl LogQuery {
    pub(super) fn route(&self) -> String {
        let names = self.names.iter().map(|name| format!("&name={}", escape(name)));
        let since = self.since.iter().map(|since| format!("&since={}", escape(since)));
        let rest: String = names.chain(since).collect();
        format!("/v1/logs?lines={}&follow={}{rest}", self.lines, self.follow)
    }
}

/// A stream of log records.
pub type LogReader = RecordReader<LogRecord>;

/// A stream of records, a line of JSON each.
#[derive(Debug)]
pub struct RecordReader<T> {
    path: PathBuf,
    body: Incoming,
    text: LineBuffer,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> RecordReader<T> {
    pub(super) fn new(path: PathBuf, body: Incoming) -> Self {
        Self { path, body, text: LineBuffer::default(), of: PhantomData }
    }

    /// The records that are there, at least one; waits for it. `None` at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks off, or what comes is no record.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<T>>, ClientError> {
        loop {
            let lines = self.text.take_lines();
            if !lines.is_empty() {
                let records = lines.iter().map(|line| serde_json::from_slice(line));
                return records
                    .collect::<Result<_, _>>()
                    .map(Some)
                    .map_err(|source| ClientError::Unreadable { path: self.path.clone(), source });
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame
                .map_err(|source| ClientError::BrokenOff { path: self.path.clone(), source })?;
            if let Ok(chunk) = frame.into_data() {
                self.text.push(&chunk);
            }
        }
    }
}

/// Bytes that are cut at line ends; a line without its end waits for the rest.
#[derive(Debug, Default)]
struct LineBuffer {
    bytes: BytesMut,
    /// Leading bytes that are known to hold no line end.
    searched: usize,
}

impl LineBuffer {
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
    }

    fn take_lines(&mut self) -> VecDeque<BytesMut> {
        let mut lines = VecDeque::new();
        while let Some(at) = memchr(b'\n', self.bytes.get(self.searched..).unwrap_or_default()) {
            lines.push_back(self.bytes.split_to(self.searched + at));
            self.bytes.advance(1);
            self.searched = 0;
        }
        self.searched = self.bytes.len();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_are_cut() {
        let text = b"one\n\ntwo and more\nthree\nrest";
        for size in 1..=text.len() {
            let mut buffer = LineBuffer::default();
            let mut lines: Vec<BytesMut> = Vec::new();
            for chunk in text.chunks(size) {
                buffer.push(chunk);
                lines.extend(buffer.take_lines());
            }
            assert_eq!(lines, [&b"one"[..], b"", b"two and more", b"three"], "cut by {size}");
        }
    }

    #[test]
    fn a_query_becomes_a_route() {
        let query = LogQuery {
            names: vec!["slow:1".to_owned(), "th*".to_owned()],
            lines: 20,
            since: Some("600".to_owned()),
            follow: true,
        };
        let want = "/v1/logs?lines=20&follow=true&name=slow%3A1&name=th%2A&since=600";
        assert_eq!(query.route(), want);
    }
}
