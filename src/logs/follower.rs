//! One subscriber: recent lines first, then what comes, through a queue that never makes us wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::chunk::LogChunk;
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
/// What a chunk costs besides its bytes.
const CHUNK_LEN: usize = 2 * size_of::<LogChunk>();

/// What a subscriber has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Follower {
    queue: RefCell<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each with the number of its lines.
    chunks: VecDeque<(LogChunk, u64)>,
    len: usize,
    missed: u64,
}

impl Follower {
    /// Adds a chunk of so many lines at the end.
    pub(super) fn push(&self, chunk: LogChunk, lines: u64) {
        self.queue.borrow_mut().push(chunk, lines);
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

    fn push(&mut self, chunk: LogChunk, lines: u64) {
        self.len += chunk.bytes.len() + CHUNK_LEN;
        self.chunks.push_back((chunk, lines));
        while self.len > QUEUE_LEN_MAX && self.chunks.len() > 1 {
            let Some((oldest, lines)) = self.chunks.pop_front() else { return };
            self.len -= oldest.bytes.len() + CHUNK_LEN;
            self.missed += lines;
        }
    }

    /// The next batch; what was missed is told in the place where it would have been.
    fn take(&mut self) -> Vec<LogEntry> {
        let missed = std::mem::take(&mut self.missed);
        let mut batch = Vec::new();
        if missed > 0 {
            batch.push(LogEntry::Missed(missed));
        }
        let mut room = BATCH_LINES_MAX;
        while let Some((mut chunk, chunk_lines)) = self.chunks.pop_front() {
            self.len -= chunk.bytes.len() + CHUNK_LEN;
            let (lines, count) = chunk.split_lines(room);
            batch.push(LogEntry::Lines(lines));
            room -= count;
            if !chunk.bytes.is_empty() {
                self.len += chunk.bytes.len() + CHUNK_LEN;
                self.chunks.push_front((chunk, chunk_lines - count as u64));
            }
            if room == 0 {
                break;
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::super::handle::LogStream;
    use super::*;

    fn chunk(text: Vec<u8>) -> LogChunk {
        LogChunk {
            at: SystemTime::UNIX_EPOCH,
            worker: "a:1".parse().unwrap(),
            stream: LogStream::Stdout,
            bytes: Bytes::from(text),
            part: false,
            rule: None,
        }
    }

    #[test]
    fn every_line_is_delivered_or_counted_as_missed_in_its_place() {
        let mut queue = Queue::default();
        let lines_each = 300;
        let chunks = 2000;
        for n in 0..chunks {
            queue.push(chunk(format!("{n}\n").repeat(lines_each).into_bytes()), lines_each as u64);
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
}
