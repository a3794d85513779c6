//! Owns the pipes and what becomes of their output; everything here happens at once, on one thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use nix::errno::Errno;
use tokio::net::unix::pipe;
use tokio::time::Instant;
use tracing::warn;

use super::chunk::Chunk;
use super::cutter::{Cut, Cutter};
use super::handle::{LineWatch, LogLine, LogStream};
use super::sink::Sink;
use crate::model::{PoolName, WorkerName};

/// Bytes of one read: what a pipe holds.
pub(super) const READ_LEN: usize = 64 * 1024;
/// Reads of one pipe before something else may wait for what it held: a process that outlives its
/// leader could write for ever.
const DRAIN_READS_MAX: usize = 32;
/// Bytes of unended lines that may be held back over all pipes; above it they are passed on.
const HELD_LEN_MAX: usize = 8 * 1024 * 1024;

/// Names a pipe; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PipeId(u64);

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more.
    More,
    /// The pipe is empty now.
    Drained,
    /// Nobody can write into it any more.
    Ended,
}

/// The owner of all pipes.
#[derive(Debug)]
pub(super) struct Hub {
    /// Where output goes.
    pub(super) sink: Sink,
    pipes: HashMap<PipeId, Pipe>,
    scratch: Box<[u8]>,
    held_len: usize,
    next: u64,
}

#[derive(Debug)]
struct Pipe {
    worker: WorkerName,
    pid: i32,
    stream: LogStream,
    fd: Rc<pipe::Receiver>,
    cutter: Cutter,
    line: Option<SharedWatch>,
}

/// A line that is looked for in both pipes of a process; empty once it was found.
pub(super) type SharedWatch = Rc<RefCell<Option<LineWatch>>>;

impl Hub {
    /// A hub without pipes.
    pub(super) fn new(sink: Sink) -> Self {
        let scratch = vec![0; READ_LEN].into_boxed_slice();
        Self { sink, pipes: HashMap::new(), scratch, held_len: 0, next: 0 }
    }

    /// Takes a pipe; somebody is to call [`Hub::read`] when it is readable.
    pub(super) fn attach(
        &mut self,
        (worker, pid): (WorkerName, i32),
        stream: LogStream,
        fd: Rc<pipe::Receiver>,
        line: Option<SharedWatch>,
    ) -> PipeId {
        let id = PipeId(self.next);
        self.next += 1;
        self.sink.admit(&worker);
        self.pipes.insert(id, Pipe { worker, pid, stream, fd, cutter: Cutter::default(), line });
        id
    }

    /// Reads a pipe once.
    pub(super) fn read(&mut self, id: PipeId) -> Turn {
        let Self { sink, pipes, scratch, held_len, .. } = self;
        let Some(pipe) = pipes.get_mut(&id) else { return Turn::Ended };
        let len = match nix::unistd::read(&*pipe.fd, scratch) {
            Ok(0) => return self.end(id),
            Ok(len) => len,
            Err(Errno::EAGAIN) => return Turn::Drained,
            Err(Errno::EINTR) => return Turn::More,
            Err(error) => {
                warn!(worker = %pipe.worker, stream = pipe.stream.as_str(), %error,
                    "worker's output could not be read and is given up");
                return self.end(id);
            }
        };
        let now = Instant::now();
        let (cutter, source) = pipe.split();
        *held_len -= cutter.held_len();
        cutter.feed(now, scratch.get(..len).unwrap_or_default(), |cut| source.write(sink, cut));
        if *held_len + cutter.held_len() > HELD_LEN_MAX {
            cutter.flush(true, |cut| source.write(sink, cut));
        }
        *held_len += cutter.held_len();
        sink.commit(&pipe.worker.pool, now);
        if len < scratch.len() { Turn::Drained } else { Turn::More }
    }

    /// Passes a pipe's unended line on.
    pub(super) fn flush(&mut self, id: PipeId) {
        self.flush_held(id, true);
    }

    /// When [`Hub::flush`] is due.
    pub(super) fn flush_due(&self, id: PipeId) -> Option<Instant> {
        self.pipes.get(&id).and_then(|pipe| pipe.cutter.due())
    }

    /// Writes a mark into a worker's log, after what the worker has written before.
    pub(super) fn mark(&mut self, worker: &WorkerName, text: &str) {
        self.drain(worker);
        self.sink.admit(worker);
        let line = [text, "\n"].concat();
        self.sink.write(&Chunk {
            at: SystemTime::now(),
            worker,
            pid: None,
            stream: LogStream::Mark,
            bytes: line.as_bytes(),
            part: false,
        });
        self.sink.commit(&worker.pool, Instant::now());
    }

    /// The worker's last lines; what its pipes hold is read first, to the last byte.
    pub(super) fn tail(&mut self, worker: &WorkerName, lines: usize) -> Vec<LogLine> {
        self.drain(worker);
        for id in self.pipes_of(|pipe| pipe.worker == *worker) {
            self.flush_held(id, true);
        }
        self.sink.tail(worker, lines)
    }

    /// Forgets a pool, after its last output was written. Processes that still hold its pipes go on
    /// being read, to nowhere.
    pub(super) fn forget(&mut self, pool: &PoolName) {
        for id in self.pipes_of(|pipe| pipe.worker.pool == *pool) {
            self.read_all(id);
            self.flush_held(id, false);
        }
        self.sink.forget(pool);
    }

    /// Reads and writes everything that is there.
    pub(super) fn close(&mut self) {
        for id in self.pipes_of(|_| true) {
            self.read_all(id);
            self.flush_held(id, false);
        }
    }

    fn drain(&mut self, worker: &WorkerName) {
        for id in self.pipes_of(|pipe| pipe.worker == *worker) {
            self.read_all(id);
        }
    }

    fn read_all(&mut self, id: PipeId) {
        for _ in 0..DRAIN_READS_MAX {
            // A short read says that the pipe is empty, not whether it has ended: one more tells.
            match self.read(id) {
                Turn::More => {}
                Turn::Drained if self.read(id) == Turn::More => {}
                Turn::Drained | Turn::Ended => return,
            }
        }
    }

    fn end(&mut self, id: PipeId) -> Turn {
        self.flush_held(id, false);
        self.pipes.remove(&id);
        Turn::Ended
    }

    fn flush_held(&mut self, id: PipeId, part: bool) {
        let Self { sink, pipes, held_len, .. } = self;
        let Some(pipe) = pipes.get_mut(&id) else { return };
        let (cutter, source) = pipe.split();
        *held_len -= cutter.held_len();
        cutter.flush(part, |cut| source.write(sink, cut));
        sink.commit(&pipe.worker.pool, Instant::now());
    }

    fn pipes_of(&self, pick: impl Fn(&Pipe) -> bool) -> Vec<PipeId> {
        let picked = self.pipes.iter().filter(|(_, pipe)| pick(pipe)).map(|(id, _)| *id);
        let mut ids: Vec<_> = picked.collect();
        ids.sort_unstable();
        ids
    }
}

impl Pipe {
    fn split(&mut self) -> (&mut Cutter, Origin<'_>) {
        let origin = Origin {
            at: SystemTime::now(),
            worker: &self.worker,
            pid: self.pid,
            stream: self.stream,
            line: self.line.as_deref(),
        };
        (&mut self.cutter, origin)
    }
}

/// What all chunks of one read have in common.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    at: SystemTime,
    worker: &'a WorkerName,
    pid: i32,
    stream: LogStream,
    line: Option<&'a RefCell<Option<LineWatch>>>,
}

impl Origin<'_> {
    fn look(&self, bytes: &[u8]) {
        let Some(watch) = self.line else { return };
        let found = watch.borrow().as_ref().is_some_and(|watch| {
            bytes.split(|byte| *byte == b'\n').any(|line| watch.pattern.is_match(line))
        });
        if found && let Some(watch) = watch.take() {
            // The process that it was looked for may have ended.
            watch.found.send(()).ok();
        }
    }

    fn write(&self, sink: &mut Sink, cut: Cut<'_>) {
        self.look(cut.bytes);
        sink.write(&Chunk {
            at: self.at,
            worker: self.worker,
            pid: Some(self.pid),
            stream: self.stream,
            bytes: cut.bytes,
            part: cut.part,
        });
    }
}
