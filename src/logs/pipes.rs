//! Reads pipes, and owns what that takes: buffers, the memory of floods, the bound of what is held.

use std::collections::HashMap;
use std::time::Duration;

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
/// A flood ends when no long read has come for this long.
const CALM_AFTER: Duration = Duration::from_secs(1);
/// A read of so much may have left something.
const MUCH_LEN: usize = 32 * 1024;
/// Bytes of one pipe that are read before something else may wait for what it held: a process that
/// outlives its leader could write for ever.
const DRAIN_LEN_MAX: usize = 4 * 1024 * 1024;
/// The same as reads, which may be short.
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
    /// When a long read came last; `None` when that is long ago.
    flooded_at: Option<Instant>,
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
        self.open.insert(id, Open { pipe, flooded_at: None });
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
        let Some(Open { pipe, flooded_at }) = self.open.get_mut(&id) else { return Turn::Ended };
        let is_flooded = flooded_at.is_some();
        let buffers = if is_flooded { &mut self.flood_buffers } else { &mut self.buffers };
        let mut buffer = buffers.take();
        let joined_len = pipe.joinable_len();
        let read = pipe.read(&mut buffer, joined_len);
        let buffer = buffer.freeze();
        let turn = match read {
            // EIO is how a terminal ends.
            Ok(0) | Err(Errno::EIO) => Turn::Ended,
            Ok(len) => {
                self.held_len -= joined_len;
                self.take(id, (&buffer, joined_len + len), sink, terminals)
            }
            Err(Errno::EAGAIN) => Turn::Drained,
            Err(Errno::EINTR) => Turn::More(0),
            Err(error) => {
                warn!(worker = %pipe.worker, stream = pipe.stream.as_str(), %error,
                    "worker's output could not be read and is given up");
                Turn::Ended
            }
        };
        // Before the pipe's end, which may be that of a flood and forgets its buffers.
        let buffers = if is_flooded { &mut self.flood_buffers } else { &mut self.buffers };
        buffers.give_back(buffer);
        if turn == Turn::Ended {
            self.end(id, sink, terminals);
        }
        turn
    }

    /// Reads a pipe until it is empty.
    pub(super) fn read_all(&mut self, id: PipeId, sink: &mut Sink, terminals: &mut Terminals) {
        let mut len_left = DRAIN_LEN_MAX;
        for _ in 0..DRAIN_READS_MAX {
            // A short read says that the pipe is empty, not whether it has ended: one more tells.
            let turn = match self.read(id, sink, terminals) {
                Turn::Drained => self.read(id, sink, terminals),
                turn @ (Turn::More(_) | Turn::Ended) => turn,
            };
            match turn {
                Turn::More(len) if len < len_left => len_left -= len,
                Turn::More(_) => return,
                // Nothing wakes the pipe's task any more, which would see to it later.
                Turn::Drained | Turn::Ended => return self.calm(id, sink),
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

    /// When [`Pipes::settle`] is due.
    pub(super) fn due(&self, id: PipeId) -> Option<Instant> {
        let open = self.open.get(&id)?;
        open.pipe.flush_due().into_iter().chain(open.calm_due()).min()
    }

    /// Passes an unended line on and ends a flood, each in its time.
    pub(super) fn settle(&mut self, id: PipeId, now: Instant, sink: &mut Sink) {
        let Some(open) = self.open.get(&id) else { return };
        let has_come = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let (flush, calm) = (has_come(open.pipe.flush_due()), has_come(open.calm_due()));
        if flush {
            self.flush(id, true, sink);
        }
        if calm {
            self.calm(id, sink);
        }
    }

    /// A pipe gives little; the last one that gave much frees the memory that this took.
    fn calm(&mut self, id: PipeId, sink: &mut Sink) {
        let flooded_at = self.open.get_mut(&id).and_then(|open| open.flooded_at.take());
        if flooded_at.is_some() && self.open.values().all(|open| open.flooded_at.is_none()) {
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
        let Some(Open { pipe, flooded_at }) = self.open.get_mut(&id) else { return Turn::Ended };
        let now = Instant::now();
        if len >= FLOOD_LEN {
            *flooded_at = Some(now);
        }
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

    fn end(&mut self, id: PipeId, sink: &mut Sink, terminals: &mut Terminals) {
        self.flush(id, false, sink);
        self.calm(id, sink);
        let screen = self.open.remove(&id).and_then(|open| open.pipe.into_screen());
        if let Some((worker, screen)) = screen {
            terminals.close(&worker, id, screen);
        }
    }
}

impl Open {
    fn calm_due(&self) -> Option<Instant> {
        Some(self.flooded_at? + CALM_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::rc::Rc;

    use jiff::tz::TimeZone;
    use nix::fcntl::{FcntlArg, fcntl};
    use tokio::net::unix::pipe;

    use super::super::board::Board;
    use super::super::handle::LogStream;
    use super::super::outlet::Sockets;
    use super::*;

    /// What a pipe is made to hold.
    const PIPE_LEN: usize = 1024 * 1024;

    /// One pipe, and the end that is written into.
    struct Bench {
        pipes: Pipes,
        sink: Sink,
        terminals: Terminals,
        id: PipeId,
        writer: File,
    }

    impl Bench {
        fn set() -> Self {
            let (reader, writer) = nix::unistd::pipe().unwrap();
            fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_LEN.try_into().unwrap())).unwrap();
            let reader = Rc::new(pipe::Receiver::from_owned_fd(reader).unwrap());
            let process = ("a:1".parse().unwrap(), 1);
            let mut pipes = Pipes::new();
            let id = pipes.add(Pipe::new(process, LogStream::Stdout, reader, None));
            let sink = Sink::new(TimeZone::UTC, Sockets::default(), Board::new().0);
            Self { pipes, sink, terminals: Terminals::default(), id, writer: writer.into() }
        }

        /// Fills the pipe with lines.
        fn fill(&mut self) {
            let line = [&[b'x'; 63][..], b"\n"].concat();
            self.writer.write_all(&line.repeat(PIPE_LEN / line.len())).unwrap();
        }

        fn read(&mut self) -> Turn {
            self.pipes.read(self.id, &mut self.sink, &mut self.terminals)
        }

        fn read_all(&mut self) {
            self.pipes.read_all(self.id, &mut self.sink, &mut self.terminals);
        }

        fn settle(&mut self, now: Instant) {
            self.pipes.settle(self.id, now, &mut self.sink);
        }

        /// Lets a flood come, and reads until the pipe is empty.
        fn flood(&mut self) {
            self.fill();
            while self.read() != Turn::Drained {}
            assert!(!self.pipes.flood_buffers.is_empty());
        }
    }

    #[tokio::test]
    async fn a_worker_that_is_silent_after_a_flood_costs_no_memory_of_it() {
        let mut bench = Bench::set();
        bench.flood();
        let due = bench.pipes.due(bench.id).unwrap();
        bench.settle(due - Duration::from_millis(1));
        assert!(!bench.pipes.flood_buffers.is_empty(), "it may go on");
        bench.settle(due);
        assert!(bench.pipes.flood_buffers.is_empty());
        assert_eq!(bench.pipes.due(bench.id), None);
    }

    #[tokio::test]
    async fn a_flood_that_ends_with_its_process_leaves_no_buffer() {
        let mut bench = Bench::set();
        bench.flood();
        bench.writer = File::open("/dev/null").unwrap();
        assert_eq!(bench.read(), Turn::Ended);
        assert!(bench.pipes.flood_buffers.is_empty());
    }

    #[tokio::test]
    async fn a_flood_that_somebody_waits_for_is_over_when_it_is_read() {
        let mut bench = Bench::set();
        bench.fill();
        bench.read_all();
        assert!(bench.pipes.flood_buffers.is_empty());
        assert_eq!(bench.pipes.due(bench.id), None);
    }
}
