//! What travels from a pipe to rings, files and followers: lines of one stream, read at once.

use std::time::SystemTime;

use bytes::Bytes;
use memchr::{memchr, memchr_iter};

use super::handle::{LogLine, LogStream};
use crate::model::WorkerName;

/// Output of one worker's stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    /// When it was read.
    pub(super) at: SystemTime,
    /// Who wrote it.
    pub(super) worker: &'a WorkerName,
    /// The process, where it is known.
    pub(super) pid: Option<i32>,
    /// Where to.
    pub(super) stream: LogStream,
    /// Lines with their ends; or a single part without one.
    pub(super) bytes: &'a [u8],
    /// True for a part whose rest comes later.
    pub(super) continues: bool,
}

/// A chunk that outlives the read: what followers' queues hold.
#[derive(Clone, Debug)]
pub(super) struct OwnedChunk {
    /// When it was read.
    pub(super) at: SystemTime,
    /// Who wrote it.
    pub(super) worker: WorkerName,
    /// Where to.
    pub(super) stream: LogStream,
    /// Lines with their ends; or a single part without one.
    pub(super) bytes: Bytes,
    /// True for a part whose rest comes later.
    pub(super) continues: bool,
}

impl Chunk<'_> {
    /// A copy.
    pub(super) fn into_owned(self) -> OwnedChunk {
        OwnedChunk {
            at: self.at,
            worker: self.worker.clone(),
            stream: self.stream,
            bytes: Bytes::copy_from_slice(self.bytes),
            continues: self.continues,
        }
    }
}

impl OwnedChunk {
    /// How many lines it holds.
    pub(super) fn line_count(&self) -> u64 {
        count_lines(&self.bytes)
    }

    /// Takes the first line off; `None` when there is none left.
    pub(super) fn pop_line(&mut self) -> Option<LogLine> {
        if self.bytes.is_empty() {
            return None;
        }
        let text = match memchr(b'\n', &self.bytes) {
            Some(end) => {
                let mut line = self.bytes.split_to(end + 1);
                line.truncate(end);
                line
            }
            None => self.bytes.split_off(0),
        };
        Some(LogLine {
            at: self.at,
            worker: self.worker.clone(),
            stream: self.stream,
            text,
            continues: self.continues,
        })
    }
}

/// How many lines `bytes` holds; a part without its end counts as one.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    let unended = bytes.last().is_some_and(|last| *last != b'\n');
    memchr_iter(b'\n', bytes).count() as u64 + u64::from(unended)
}

/// The lines of `bytes` without their ends.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let cases: [(&[u8], &[&[u8]]); 5] = [
            (b"", &[]),
            (b"a\nb\n", &[b"a", b"b"]),
            (b"\n\n", &[b"", b""]),
            (b"a\nb", &[b"a", b"b"]),
            (b"\x1b[31mred\r\n\xff\n", &[b"\x1b[31mred\r", b"\xff"]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(lines(bytes).collect::<Vec<_>>(), expected);
            assert_eq!(count_lines(bytes), expected.len() as u64);
            let mut chunk = OwnedChunk {
                at: SystemTime::UNIX_EPOCH,
                worker: "a:1".parse().unwrap(),
                stream: LogStream::Stdout,
                bytes: Bytes::copy_from_slice(bytes),
                continues: false,
            };
            let popped: Vec<_> = std::iter::from_fn(|| chunk.pop_line()).collect();
            assert_eq!(popped.iter().map(|line| &line.text[..]).collect::<Vec<_>>(), expected);
        }
    }
}
