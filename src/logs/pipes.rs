//! Reads pipes, and owns what that takes: buffers, the memory of floods, the bound of what is held.

use std::collections::HashMap;

use bytes::Bytes;
use nix::errno::Errno;
use tokio::time::Instant;
use tracing::warn;

use super::buffers::Buffers;
use super::cutter::JOINED_LEN_MAX;
use super::pipe::{Pipe, PipeId};
use super::sink::Sink;
use super::terminals::Terminals;

/// Bytes of one read: more than a pipe holds at first.
const READ_LEN: usize = 128 * 1024;
/// The same of a pipe that is found fuller than it can be at first. Long reads and writes cost less
/// per byte: they find the pipe's lock free more often, and the file's pages come in larger pieces.
const FLOOD_READ_LEN: usize = 512 * 1024;
/// A read of so much begins a flood.
const FLOOD_LEN: usize = 64 * 1024;
/// A read of so much may have left something.
const MUCH_LEN: usize = 32 * 1024;
/// Reads of one pipe before something else may wait for what it held: a process that outlives its
/// leader could write for ever.
const DRAIN_READS_MAX: usize = 32;
/// Bytes of unended lines that may be held back over all pipes; above it they are passed on.
const HELD_LEN_MAX: usize = 8 * 1024 * 1024;

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more than these bytes.
    More(usize),
    /// The pipe is empty now.
    Drained,
    /// Nobody can write into it any more.
    Ended,
}

/// All pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    open: HashMap<PipeId, Open>,
    buffers: Buffers,
    /// For floods; empty while there is none.
    flood_buffers: Buffers,
    held_len: usize,
    next: u64,
}

#[derive(Debug)]
struct Open {
    pipe: Pipe,
    /// True from a long read until the pipe's task says that the pipe is calm.
    is_flooded: bool,
}

impl Pipes {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            open: HashMap::new(),
            buffers: Buffers::new(JOINED_LEN_MAX + READ_LEN),
            flood_buffers: Buffers::new(JOINED_LEN_MAX + FLOOD_READ_LEN),
            held_len: 0,
            next: 0,
        }
    }

    /// One more.
    pub(super) fn add(&mut self, pipe: Pipe) -> PipeId {
        let id = PipeId(self.next);
        self.next += 1;
        self.open.insert(id, Open { pipe, is_flooded: false });
        id
    }

    /// One that has not ended.
    pub(super) fn get(&self, id: PipeId) -> Option<&Pipe> {
        Some(&self.open.get(&id)?.pipe)
    }

    /// The same to be changed.
    pub(super) fn get_mut(&mut self, id: PipeId) -> Option<&mut Pipe> {
        Some(&mut self.open.get_mut(&id)?.pipe)
    }

    /// Those that are picked, the oldest first.
    pub(super) fn ids(&self, pick: impl Fn(&Pipe) -> bool) -> Vec<PipeId> {
        let picked = self.open.iter().filter(|(_, open)| pick(&open.pipe)).map(|(id, _)| *id);
        let mut ids: Vec<_> = picked.collect();
        ids.sort_unstable();
        ids
    }

    /// Reads a pipe once.
    pub(super) fn read(&mut self, id: PipeId, sink: &mut Sink, terminals: &mut Terminals) -> Turn {
        let Some(Open { pipe, is_flooded }) = self.open.get_mut(&id) else { return Turn::Ended };
        let is_flooded = *is_flooded;
        let buffers = if is_flooded { &mut self.flood_buffers } else { &mut self.buffers };
        let mut buffer = buffers.take();
        let joined_len = pipe.joinable_len();
        let read = pipe.read(&mut buffer, joined_len);
        let buffer = buffer.freeze();
        let turn = match read {
            // EIO is how a terminal ends.
            Ok(0) | Err(Errno::EIO) => self.end(id, sink, terminals),
            Ok(len) => {
                self.held_len -= joined_len;
                self.take(id, (&buffer, joined_len + len), sink, terminals)
            }
            Err(Errno::EAGAIN) => Turn::Drained,
            Err(Errno::EINTR) => Turn::More(0),
            Err(error) => {
                warn!(worker = %pipe.worker, stream = pipe.stream.as_str(), %error,
                    "worker's output could not be read and is given up");
                self.end(id, sink, terminals)
            }
        };
        let buffers = if is_flooded { &mut self.flood_buffers } else { &mut self.buffers };
        buffers.give_back(buffer);
        turn
    }

    /// Reads a pipe until it is empty.
    pub(super) fn read_all(&mut self, id: PipeId, sink: &mut Sink, terminals: &mut Terminals) {
        for _ in 0..DRAIN_READS_MAX {
            // A short read says that the pipe is empty, not whether it has ended: one more tells.
            match self.read(id, sink, terminals) {
                Turn::More(_) => {}
                Turn::Drained if matches!(self.read(id, sink, terminals), Turn::More(_)) => {}
                Turn::Drained | Turn::Ended => return,
            }
        }
    }

    /// Passes on what a pipe holds: as a part while it lives, as the last line at its end.
    pub(super) fn flush(&mut self, id: PipeId, part: bool, sink: &mut Sink) {
        let Some(Open { pipe, .. }) = self.open.get_mut(&id) else { return };
        self.held_len -= pipe.held_len();
        pipe.flush(part, sink);
        sink.commit(&pipe.worker.pool, Instant::now());
    }

    /// When [`Pipes::flush`] is due.
    pub(super) fn flush_due(&self, id: PipeId) -> Option<Instant> {
        self.get(id)?.flush_due()
    }

    /// A pipe gives little; the last one that gave much frees the memory that this took.
    pub(super) fn calm(&mut self, id: PipeId, sink: &mut Sink) {
        let was_flooded =
            self.open.get_mut(&id).is_some_and(|open| std::mem::take(&mut open.is_flooded));
        if was_flooded && !self.open.values().any(|open| open.is_flooded) {
            self.flood_buffers.forget();
            sink.shrink();
        }
    }

    fn take(
        &mut self,
        id: PipeId,
        (buffer, len): (&Bytes, usize),
        sink: &mut Sink,
        terminals: &mut Terminals,
    ) -> Turn {
        let Some(Open { pipe, is_flooded }) = self.open.get_mut(&id) else { return Turn::Ended };
        *is_flooded |= len >= FLOOD_LEN;
        let now = Instant::now();
        self.held_len -= pipe.held_len();
        pipe.take((id, now), (buffer, len), sink, terminals);
        if self.held_len + pipe.held_len() > HELD_LEN_MAX {
            pipe.flush_held(sink);
        }
        self.held_len += pipe.held_len();
        sink.commit(&pipe.worker.pool, now);
        // A terminal gives its bytes in pieces, of which each but the last may be short.
        if len < MUCH_LEN && pipe.screen().is_none() { Turn::Drained } else { Turn::More(len) }
    }

    fn end(&mut self, id: PipeId, sink: &mut Sink, terminals: &mut Terminals) -> Turn {
        self.flush(id, false, sink);
        self.calm(id, sink);
        let screen = self.open.remove(&id).and_then(|open| open.pipe.into_screen());
        if let Some((worker, screen)) = screen {
            terminals.close(&worker, id, screen);
        }
        Turn::Ended
    }
}
