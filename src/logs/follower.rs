//! One subscriber: recent lines first, then what comes, through a queue that never makes us wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::chunk::{Chunk, LogChunk, count_lines};
use super::handle::LogEntry;
use super::history::History;

/// Batches between us and a subscriber; when they are all full, its queue grows.
pub(super) const BATCHES_MAX: usize = 4;
/// Lines in a batch.
pub(super) const BATCH_LINES_MAX: usize = 1024;
/// Bytes in a subscriber's queue; when it is full, the oldest chunks are dropped and counted.
const QUEUE_LEN_MAX: usize = 1024 * 1024;
/// A subscriber that misses lines gets its batches at this distance: to render a tenth more of a
/// flood for it would cost as much as to read and write all of it.
const FLOOD_PAUSE: Duration = Duration::from_millis(10);
/// Bytes in a batch, unless a single line is longer.
const BATCH_LEN_MAX: usize = 64 * 1024;
/// What a chunk costs besides its bytes.
const CHUNK_LEN: usize = 2 * size_of::<Waiting>();

/// What a subscriber has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Follower {
    queue: RefCell<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Waiting>,
    /// The memory of all of them.
    len: usize,
    missed: u64,
}

/// A chunk that waits for its subscriber.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    chunk: LogChunk,
    lines: u64,
    /// Bytes that it keeps in memory: those of a whole buffer, when it is a part of one.
    len: usize,
}

impl Waiting {
    /// A chunk of what was read into `buffer`, if it is a part of one.
    pub(super) fn new(chunk: Chunk<'_>, buffer: Option<&Bytes>) -> Self {
        let lines = count_lines(chunk.bytes);
        let (chunk, len) = chunk.into_owned(buffer);
        Self { chunk, lines, len: len + CHUNK_LEN }
    }

    /// Takes off the first lines, and says how many they are; they keep nothing else in memory.
    fn split(&mut self, lines_max: usize, len_max: usize) -> (LogChunk, usize) {
        let (mut lines, count) = self.chunk.split_lines(lines_max, len_max);
        self.lines -= count as u64;
        let is_all = self.chunk.bytes.is_empty() && lines.bytes.len() + CHUNK_LEN == self.len;
        if !is_all {
            lines.bytes = Bytes::copy_from_slice(&lines.bytes);
        }
        (lines, count)
    }
}

impl Follower {
    /// Adds a chunk at the end.
    pub(super) fn push(&self, chunk: Waiting) {
        self.queue.borrow_mut().push(chunk);
        self.filled.notify_one();
    }

    /// Sends `history` and then what is pushed, until the subscriber leaves or the logs close.
    pub(super) async fn run(
        &self,
        history: Option<History>,
        sender: mpsc::Sender<Vec<LogEntry>>,
        closing: CancellationToken,
    ) {
        if let Some(history) = history {
            let sent = closing.run_until_cancelled(history.send(sender.clone())).await;
            if sent != Some(true) {
                return;
            }
        }
        loop {
            tokio::select! {
                () = self.filled.notified() => {}
                () = sender.closed() => return,
                () = closing.cancelled() => break,
            }
            while !self.queue.borrow().is_empty() {
                let Some(room) = closing.run_until_cancelled(sender.reserve()).await else { break };
                let Ok(room) = room else { return };
                let is_flooded = self.queue.borrow().missed > 0;
                room.send(self.queue.borrow_mut().take());
                if is_flooded && closing.run_until_cancelled(sleep(FLOOD_PAUSE)).await.is_none() {
                    break;
                }
            }
        }
        // The last words, as far as there is room for them without waiting.
        while !self.queue.borrow().is_empty() {
            let Ok(room) = sender.try_reserve() else { return };
            room.send(self.queue.borrow_mut().take());
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    fn push(&mut self, chunk: Waiting) {
        self.len += chunk.len;
        self.chunks.push_back(chunk);
        while self.len > QUEUE_LEN_MAX && self.chunks.len() > 1 {
            let Some(oldest) = self.chunks.pop_front() else { return };
            self.len -= oldest.len;
            self.missed += oldest.lines;
        }
    }

    /// The next batch; what was missed is told in the place where it would have been.
    fn take(&mut self) -> Vec<LogEntry> {
        let missed = std::mem::take(&mut self.missed);
        let mut batch = Vec::new();
        if missed > 0 {
            batch.push(LogEntry::Missed(missed));
        }
        let (mut lines_left, mut len_left) = (BATCH_LINES_MAX, BATCH_LEN_MAX);
        while lines_left > 0 && len_left > 0 {
            let Some(chunk) = self.chunks.front_mut() else { break };
            let (lines, count) = chunk.split(lines_left, len_left);
            lines_left -= count;
            len_left = len_left.saturating_sub(lines.bytes.len());
            batch.push(LogEntry::Lines(lines));
            if let Some(done) = self.chunks.pop_front_if(|chunk| chunk.chunk.bytes.is_empty()) {
                self.len -= done.len;
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::handle::LogStream;
    use super::*;

    /// A chunk that stands at the beginning of a buffer of `buffer_len`.
    fn waiting(text: &[u8], buffer_len: usize) -> Waiting {
        let mut buffer = text.to_vec();
        buffer.resize(buffer_len.max(text.len()), b'?');
        let buffer = Bytes::from(buffer);
        let chunk = Chunk {
            at: SystemTime::UNIX_EPOCH,
            worker: &"a:1".parse().unwrap(),
            pid: None,
            stream: LogStream::Stdout,
            bytes: &buffer[..text.len()],
            part: false,
            rule: None,
        };
        Waiting::new(chunk, Some(&buffer))
    }

    #[test]
    fn every_line_is_delivered_or_counted_as_missed_in_its_place() {
        let mut queue = Queue::default();
        let lines_each = 300;
        let chunks = 2000;
        for n in 0..chunks {
            queue.push(waiting(format!("{n}\n").repeat(lines_each).as_bytes(), 4096));
            assert!(queue.len <= QUEUE_LEN_MAX);
        }
        let batches: Vec<_> =
            std::iter::from_fn(|| Some(queue.take()).filter(|b| !b.is_empty())).collect();
        let count = |entry: &LogEntry| match entry {
            LogEntry::Lines(chunk) => usize::try_from(chunk.line_count()).unwrap(),
            LogEntry::Line(_) | LogEntry::Missed(_) => 0,
        };
        let counts: Vec<usize> = batches.iter().map(|b| b.iter().map(count).sum()).collect();
        assert!(counts.iter().all(|count| *count <= BATCH_LINES_MAX));
        let Some(LogEntry::Missed(missed)) = batches[0].first() else { panic!() };
        assert_eq!(*missed + counts.iter().sum::<usize>() as u64, (chunks * lines_each) as u64);
        assert_eq!(queue.len, 0);
        let Some(LogEntry::Lines(last)) = batches.iter().flatten().last() else { panic!() };
        assert_eq!(last.lines().last().unwrap(), (chunks - 1).to_string().as_bytes());
    }

    #[test]
    fn a_part_of_a_buffer_counts_as_all_that_it_keeps_in_memory() {
        let mut queue = Queue::default();
        for _ in 0..100 {
            queue.push(waiting(&b"x\n".repeat(32 * 1024), 256 * 1024));
            assert!(queue.chunks.len() <= 4 && queue.len <= QUEUE_LEN_MAX);
        }
        queue.push(waiting(&b"x\n".repeat(1024), 256 * 1024));
        let copied = queue.chunks.back().unwrap();
        assert_eq!(copied.len, 2 * 1024 + CHUNK_LEN, "a small one keeps only itself");
    }

    #[test]
    fn batches_are_short_and_a_long_line_is_one() {
        let mut queue = Queue::default();
        let long = [b"y".repeat(2 * BATCH_LEN_MAX), b"\n".to_vec()].concat();
        queue.push(waiting(&[&b"x".repeat(999)[..], b"\n"].concat().repeat(200), 0));
        queue.push(waiting(&long, 0));
        queue.push(waiting(b"z\n", 0));
        let mut lens = Vec::new();
        while let batch @ [_, ..] = &queue.take()[..] {
            let len = |entry: &LogEntry| match entry {
                LogEntry::Lines(chunk) => chunk.bytes.len(),
                LogEntry::Line(_) | LogEntry::Missed(_) => 0,
            };
            lens.push(batch.iter().map(len).sum::<usize>());
        }
        assert_eq!(lens, [66_000, 66_000, 66_000, 2_000 + long.len(), 2]);
        assert_eq!(queue.len, 0);
    }
}
