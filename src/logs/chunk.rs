//! What travels from a pipe to rings, files and followers: lines of one stream, read at once.

use std::time::SystemTime;

use bytes::Bytes;
use memchr::{memchr, memchr_iter};

use super::buffers::part_of;
use super::handle::{LogLine, LogStream};
use super::records::RecordRule;
use crate::model::WorkerName;

/// A smaller part of a buffer than one in so many is copied for followers, since a part keeps the
/// whole buffer that it lies in.
const SHARED_PART_MIN: usize = 4;

/// Output of one worker's stream, as it was read.
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
    pub(super) part: bool,
    /// Which lines belong together.
    pub(super) rule: Option<&'a RecordRule>,
}

/// Output of one worker's stream that outlives the read: what followers are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// When it was read.
    pub at: SystemTime,
    /// Who wrote it.
    pub worker: WorkerName,
    /// Where to.
    pub stream: LogStream,
    /// Lines with their ends; or a single part without one.
    pub bytes: Bytes,
    /// True for a part whose rest comes later.
    pub part: bool,
    /// Which lines belong together; `None` where each stands for itself.
    pub rule: Option<RecordRule>,
}

impl Chunk<'_> {
    /// Whether a line goes with the one before it.
    pub(super) fn continues(&self, line: &[u8]) -> bool {
        self.rule.is_some_and(|rule| rule.continues(line))
    }

    /// The same to be kept: a part of the buffer that was read into, or a copy. Comes with the
    /// length of what it keeps in memory.
    pub(super) fn into_owned(self, buffer: Option<&Bytes>) -> (LogChunk, usize) {
        let much = buffer.filter(|buffer| self.bytes.len() >= buffer.len() / SHARED_PART_MIN);
        let shared = much.and_then(|buffer| Some((part_of(buffer, self.bytes)?, buffer.len())));
        let (bytes, len) =
            shared.unwrap_or_else(|| (Bytes::copy_from_slice(self.bytes), self.bytes.len()));
        let chunk = LogChunk {
            at: self.at,
            worker: self.worker.clone(),
            stream: self.stream,
            bytes,
            part: self.part,
            rule: self.rule.cloned(),
        };
        (chunk, len)
    }
}

impl LogChunk {
    /// Whether a line goes with the one before it.
    pub fn continues(&self, line: &[u8]) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.continues(line))
    }

    /// Its lines without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        lines(&self.bytes)
    }

    /// How many lines it holds.
    pub fn line_count(&self) -> u64 {
        count_lines(&self.bytes)
    }

    /// Takes off the first lines, at most `count_max` of them and `len_max` bytes, but one line
    /// always; and says how many they are.
    pub(super) fn split_lines(&mut self, count_max: usize, len_max: usize) -> (Self, usize) {
        let unended = self.bytes.last().filter(|last| **last != b'\n').map(|_| self.bytes.len());
        let ends = memchr_iter(b'\n', &self.bytes).map(|end| end + 1).chain(unended);
        let fitting =
            ends.take(count_max).enumerate().take_while(|(n, e)| *n == 0 || *e <= len_max);
        let (count, cut) = fitting.last().map_or((0, 0), |(n, end)| (n + 1, end));
        let bytes = self.bytes.split_to(cut);
        (Self { bytes, ..self.clone() }, count)
    }

    /// Each line for itself.
    pub(super) fn into_lines(self) -> impl Iterator<Item = LogLine> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let text = match memchr(b'\n', &rest) {
                Some(end) => {
                    let mut line = rest.split_to(end + 1);
                    line.truncate(end);
                    line
                }
                None => rest.split_off(0),
            };
            Some(LogLine {
                at: self.at,
                worker: self.worker.clone(),
                stream: self.stream,
                part: self.part,
                continues: self.rule.as_ref().is_some_and(|rule| rule.continues(&text)),
                text,
            })
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
            let chunk = LogChunk {
                at: SystemTime::UNIX_EPOCH,
                worker: "a:1".parse().unwrap(),
                stream: LogStream::Stdout,
                bytes: Bytes::copy_from_slice(bytes),
                part: false,
                rule: None,
            };
            for (count_max, len_max) in [(1, 9), (2, 9), (3, 1), (3, 2), (3, 3), (9, 9)] {
                let (mut rest, mut parts, mut count) = (chunk.clone(), Vec::new(), 0);
                while !rest.bytes.is_empty() {
                    let (first, lines) = rest.split_lines(count_max, len_max);
                    assert!(lines <= count_max && first.line_count() == lines as u64);
                    assert!(lines == 1 || first.bytes.len() <= len_max);
                    count += lines;
                    parts.extend_from_slice(&first.bytes);
                }
                assert_eq!((&parts[..], count), (bytes, expected.len()));
            }
            let lines: Vec<_> = chunk.into_lines().collect();
            assert_eq!(lines.iter().map(|line| &line.text[..]).collect::<Vec<_>>(), expected);
        }
    }
}
