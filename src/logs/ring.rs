//! The recent output of one worker in bounded memory.
//!
//! Bytes stand in one queue as they came, and beside it a segment per read says whose they are.
//! When room is needed, the oldest lines go.

use std::collections::VecDeque;
use std::time::SystemTime;

use bytes::Bytes;
use memchr::memchr;

use super::chunk::{Chunk, LogChunk, count_lines};
use super::handle::{LogLine, LogStream};
use crate::model::WorkerName;

/// Memory grows in steps of this, so that a worker that prints little costs little.
const GROWTH_LEN: usize = 4 * 1024;
/// What a segment costs besides its bytes.
const SEGMENT_LEN: usize = size_of::<Segment>();

/// One worker's recent output.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    segments: VecDeque<Segment>,
    evicted: bool,
}

/// What was read at once.
#[derive(Clone, Copy, Debug)]
struct Segment {
    seq: u64,
    at: SystemTime,
    len: u32,
    stream: LogStream,
    part: bool,
}

/// The newest lines of a ring.
#[derive(Debug)]
pub(super) struct Newest {
    /// Each with the number of its read, the oldest first.
    pub(super) lines: Vec<(u64, LogLine)>,
    /// Reads older than this may have been forgotten; `None` when nothing has.
    pub(super) floor: Option<u64>,
}

impl Ring {
    /// Adds a chunk as read number `seq` and forgets old lines above `len_max` bytes.
    pub(super) fn push(&mut self, seq: u64, chunk: &Chunk<'_>, len_max: usize) {
        let room = len_max.saturating_sub(SEGMENT_LEN);
        let bytes = newest_part(chunk.bytes, room);
        self.evicted |= bytes.len() < chunk.bytes.len();
        self.shrink(len_max.saturating_sub(SEGMENT_LEN + bytes.len()));
        let wanted = self.bytes.len() + bytes.len();
        if wanted > self.bytes.capacity() {
            let grown = wanted.next_multiple_of(GROWTH_LEN);
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        self.bytes.extend(bytes);
        self.segments.push_back(Segment {
            seq,
            at: chunk.at,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            stream: chunk.stream,
            part: chunk.part,
        });
    }

    /// Forgets old lines until at most `len_max` bytes are used.
    pub(super) fn shrink(&mut self, len_max: usize) {
        while let Some(over) = self.len().checked_sub(len_max).filter(|over| *over > 0) {
            self.evict(over);
        }
    }

    /// Gives memory back that is not used.
    pub(super) fn compact(&mut self) {
        self.bytes.shrink_to_fit();
        self.segments.shrink_to_fit();
    }

    /// The newest `count` lines of the streams that `pick` takes.
    pub(super) fn newest(
        &self,
        worker: &WorkerName,
        count: usize,
        pick: impl Fn(LogStream) -> bool,
    ) -> Newest {
        let mut chunks = Vec::new();
        let (mut found, mut end) = (0, self.bytes.len());
        for segment in self.segments.iter().rev() {
            let begin = end.saturating_sub(segment.len as usize);
            if found >= count {
                break;
            }
            if pick(segment.stream) {
                let bytes: Vec<u8> = self.bytes.range(begin..end).copied().collect();
                found += usize::try_from(count_lines(&bytes)).unwrap_or(usize::MAX);
                chunks.push((segment.seq, segment.owned(worker, bytes)));
            }
            end = begin;
        }
        let mut lines = Vec::with_capacity(found);
        for (seq, chunk) in chunks.into_iter().rev() {
            lines.extend(chunk.into_lines().map(|line| (seq, line)));
        }
        lines.drain(..lines.len().saturating_sub(count));
        let exhausted = self.evicted && found < count;
        let floor = self.segments.front().filter(|_| exhausted).map(|segment| segment.seq);
        Newest { lines, floor }
    }

    /// Memory that is taken from the system, in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.segments.capacity() * SEGMENT_LEN
    }

    fn len(&self) -> usize {
        self.bytes.len() + self.segments.len() * SEGMENT_LEN
    }

    /// Drops lines of the oldest segment, `need` bytes of them or the whole segment.
    fn evict(&mut self, need: usize) {
        let Some(front) = self.segments.front_mut() else { return };
        self.evicted = true;
        let len = front.len as usize;
        let cut = self
            .bytes
            .range(need.saturating_sub(1).min(len)..len)
            .position(|byte| *byte == b'\n')
            .map_or(len, |at| need.saturating_sub(1) + at + 1);
        self.bytes.drain(..cut);
        front.len -= u32::try_from(cut).unwrap_or(front.len);
        if cut == len {
            self.segments.pop_front();
        }
    }
}

impl Segment {
    fn owned(&self, worker: &WorkerName, bytes: Vec<u8>) -> LogChunk {
        LogChunk {
            at: self.at,
            worker: worker.clone(),
            stream: self.stream,
            bytes: Bytes::from(bytes),
            part: self.part,
        }
    }
}

/// The last whole lines of `bytes` that fit; the end of the last line when even that does not fit.
fn newest_part(bytes: &[u8], room: usize) -> &[u8] {
    let Some(over) = bytes.len().checked_sub(room).filter(|over| *over > 0) else { return bytes };
    let tail = bytes.get(over..).unwrap_or_default();
    let begins_line = bytes.get(over - 1) == Some(&b'\n');
    let cut = if begins_line { 0 } else { memchr(b'\n', tail).map_or(0, |end| end + 1) };
    if cut == tail.len() { tail } else { tail.get(cut..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN_MAX: usize = 1024;

    fn worker() -> WorkerName {
        "a:1".parse().unwrap()
    }

    fn push(ring: &mut Ring, seq: u64, text: &[u8]) {
        let worker = worker();
        let chunk = Chunk {
            at: SystemTime::UNIX_EPOCH,
            worker: &worker,
            pid: None,
            stream: if seq.is_multiple_of(2) { LogStream::Stdout } else { LogStream::Stderr },
            bytes: text,
            part: false,
        };
        ring.push(seq, &chunk, LEN_MAX);
        assert!(ring.len() <= LEN_MAX, "{}", ring.len());
    }

    fn texts(newest: &Newest) -> Vec<String> {
        newest.lines.iter().map(|(_, l)| String::from_utf8_lossy(&l.text).into_owned()).collect()
    }

    #[test]
    fn a_ring_gives_the_newest_lines_oldest_first() {
        let mut ring = Ring::default();
        push(&mut ring, 0, b"a\nb\n");
        push(&mut ring, 1, b"c\n");
        push(&mut ring, 2, b"d\ne\n");
        let newest = ring.newest(&worker(), 4, |_| true);
        assert_eq!(texts(&newest), ["b", "c", "d", "e"]);
        assert_eq!(newest.floor, None);
        let stdout = ring.newest(&worker(), 9, |stream| stream == LogStream::Stdout);
        assert_eq!(texts(&stdout), ["a", "b", "d", "e"]);
    }

    #[test]
    fn what_does_not_fit_goes_line_by_line_from_the_oldest() {
        let mut ring = Ring::default();
        let many: Vec<u8> = (0..120).flat_map(|n| format!("{n:08}\n").into_bytes()).collect();
        push(&mut ring, 0, &many);
        push(&mut ring, 1, b"and one more\n");
        let newest = ring.newest(&worker(), 1000, |_| true);
        let texts = texts(&newest);
        assert!(texts.len() > 90 && texts.len() < 110, "{}", texts.len());
        assert_eq!(texts.last().unwrap(), "and one more");
        assert!(texts.iter().rev().skip(1).all(|line| line.len() == 8));
        assert_eq!(newest.floor, Some(0));
        assert_eq!(ring.newest(&worker(), 5, |_| true).floor, None, "five are all there");
    }

    #[test]
    fn of_a_line_longer_than_the_ring_the_end_stays() {
        let mut ring = Ring::default();
        let long = [b"x".repeat(5000), b"end\n".to_vec()].concat();
        push(&mut ring, 0, &long);
        let newest = ring.newest(&worker(), 1, |_| true);
        assert!(texts(&newest)[0].ends_with("xend"));
        push(&mut ring, 1, &b"\n".repeat(4000));
        assert_eq!(texts(&ring.newest(&worker(), 2, |_| true)), ["", ""]);
    }
}
