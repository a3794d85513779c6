//! Owns the pipes and what becomes of their output; everything here happens at once, on one thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use nix::errno::Errno;
use tokio::net::unix::pipe;
use tokio::time::Instant;
use tracing::warn;

use super::buffers::Buffers;
use super::chunk::Chunk;
use super::cutter::{Cut, Cutter, HOLD_MAX, JOINED_LEN_MAX};
use super::handle::{LineWatch, LogLine, LogStream};
use super::records::RecordRule;
use super::sink::Sink;
use super::terminals::{
    KeyboardError, KeyboardId, KeyboardWish, TerminalNews, Terminals, Viewer, whole,
};
use crate::config::LogSettings;
use crate::model::{PoolName, WorkerName};
use crate::terminal::{Emulator, TerminalSize};

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

/// Names a pipe; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PipeId(u64);

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

/// The owner of all pipes.
#[derive(Debug)]
pub(super) struct Hub {
    /// Where output goes.
    pub(super) sink: Sink,
    /// Who looks at terminals, and who types.
    pub(super) terminals: Terminals,
    pipes: HashMap<PipeId, Pipe>,
    buffers: Buffers,
    /// For floods; empty while there is none.
    flood_buffers: Buffers,
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
    rule: Option<RecordRule>,
    line: Option<SharedWatch>,
    screen: Option<Screen>,
    /// True from a long read until the pipe's task says that the pipe is calm.
    is_flooded: bool,
}

/// What a pipe has that is a terminal.
#[derive(Debug)]
struct Screen {
    emulator: Emulator,
    printed_at: Instant,
}

/// A line that is looked for in both pipes of a process; empty once it was found.
pub(super) type SharedWatch = Rc<RefCell<Option<LineWatch>>>;

impl Hub {
    /// A hub without pipes.
    pub(super) fn new(sink: Sink) -> Self {
        let (terminals, pipes) = (Terminals::default(), HashMap::new());
        let buffers = Buffers::new(JOINED_LEN_MAX + READ_LEN);
        let flood_buffers = Buffers::new(JOINED_LEN_MAX + FLOOD_READ_LEN);
        Self { sink, terminals, pipes, buffers, flood_buffers, held_len: 0, next: 0 }
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
        let rule = self.sink.rule(&worker.pool);
        let mut cutter = Cutter::default();
        cutter.configure(rule.clone());
        let (screen, is_flooded) = (None, false);
        let pipe = Pipe { worker, pid, stream, fd, cutter, rule, line, screen, is_flooded };
        self.pipes.insert(id, pipe);
        id
    }

    /// Takes a terminal, as [`Hub::attach`] does; somebody is to run its keyboard too.
    pub(super) fn attach_terminal(
        &mut self,
        process: (WorkerName, i32),
        (fd, keys): (Rc<pipe::Receiver>, pipe::Sender),
        line: Option<SharedWatch>,
    ) -> (PipeId, impl Future<Output = ()> + use<>) {
        let worker = process.0.clone();
        let id = self.attach(process, LogStream::Stdout, Rc::clone(&fd), line);
        let (emulator, keyboard) = self.terminals.open(&worker, (id, fd), keys);
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.screen = Some(Screen { emulator, printed_at: Instant::now() });
        }
        (id, keyboard)
    }

    /// Reads a pipe once.
    pub(super) fn read(&mut self, id: PipeId) -> Turn {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Turn::Ended };
        let is_flooded = pipe.is_flooded;
        let buffers = if is_flooded { &mut self.flood_buffers } else { &mut self.buffers };
        let mut buffer = buffers.take();
        // A terminal's lines do not come as they are read.
        let joined_len = if pipe.screen.is_none() { pipe.cutter.joinable_len() } else { 0 };
        let (joined, free) = buffer.split_at_mut(joined_len);
        let read = nix::unistd::read(&*pipe.fd, free);
        if let Ok(1..) = read {
            self.held_len -= joined_len;
            pipe.cutter.join(joined);
        }
        let buffer = buffer.freeze();
        let turn = match read {
            // EIO is how a terminal ends.
            Ok(0) | Err(Errno::EIO) => self.end(id),
            Ok(len) => self.take(id, &buffer, joined_len + len),
            Err(Errno::EAGAIN) => Turn::Drained,
            Err(Errno::EINTR) => Turn::More(0),
            Err(error) => {
                warn!(worker = %pipe.worker, stream = pipe.stream.as_str(), %error,
                    "worker's output could not be read and is given up");
                self.end(id)
            }
        };
        let buffers = if is_flooded { &mut self.flood_buffers } else { &mut self.buffers };
        buffers.give_back(buffer);
        turn
    }

    /// A pipe gives little; the last one that gave much frees the memory that this took.
    pub(super) fn calm(&mut self, id: PipeId) {
        let was_flooded =
            self.pipes.get_mut(&id).is_some_and(|pipe| std::mem::take(&mut pipe.is_flooded));
        if was_flooded {
            self.end_of_flood();
        }
    }

    fn end_of_flood(&mut self) {
        if !self.pipes.values().any(|pipe| pipe.is_flooded) {
            self.flood_buffers.forget();
            self.sink.shrink();
        }
    }

    /// Passes on the first `len` bytes of what was read into.
    fn take(&mut self, id: PipeId, buffer: &Bytes, len: usize) -> Turn {
        let Self { sink, terminals, pipes, held_len, .. } = self;
        let Some(pipe) = pipes.get_mut(&id) else { return Turn::Ended };
        pipe.is_flooded |= len >= FLOOD_LEN;
        let now = Instant::now();
        let mut bytes = buffer.get(..len).unwrap_or_default();
        let lines;
        let is_terminal = pipe.screen.is_some();
        if let Some(Screen { emulator, printed_at }) = &mut pipe.screen {
            emulator.feed(bytes);
            *printed_at = now;
            terminals.show(&pipe.worker, id, bytes, emulator.take_answers());
            lines = emulator.take_lines();
            bytes = lines.as_bytes();
        }
        let (cutter, source) = pipe.split(Some(buffer));
        *held_len -= cutter.held_len();
        cutter.feed(now, bytes, |cut| source.write(sink, cut));
        if *held_len + cutter.held_len() > HELD_LEN_MAX {
            cutter.flush(true, |cut| source.write(sink, cut));
        }
        *held_len += cutter.held_len();
        sink.commit(&pipe.worker.pool, now);
        // A terminal gives its bytes in pieces, of which each but the last may be short.
        if len < MUCH_LEN && !is_terminal { Turn::Drained } else { Turn::More(len) }
    }

    /// Keeps a pool's output in this way from now on.
    pub(super) fn configure(&mut self, pool: &PoolName, settings: &LogSettings) {
        self.sink.configure(pool.clone(), settings);
        let rule = self.sink.rule(pool);
        for pipe in self.pipes.values_mut().filter(|pipe| pipe.worker.pool == *pool) {
            pipe.cutter.configure(rule.clone());
            pipe.rule.clone_from(&rule);
        }
    }

    /// Passes a pipe's unended line on.
    pub(super) fn flush(&mut self, id: PipeId) {
        self.flush_held(id, true);
    }

    /// When [`Hub::flush`] is due.
    pub(super) fn flush_due(&self, id: PipeId) -> Option<Instant> {
        let pipe = self.pipes.get(&id)?;
        let screen = pipe.screen.as_ref().filter(|screen| screen.emulator.has_unended_line());
        pipe.cutter.due().or_else(|| screen.map(|screen| screen.printed_at + HOLD_MAX))
    }

    /// Shows a terminal to somebody from now on, who types too if `wish` says so.
    pub(super) fn view(
        &mut self,
        worker: &WorkerName,
        wish: Option<&KeyboardWish>,
    ) -> Result<(u64, Rc<Viewer>), KeyboardError> {
        let (id, viewer) = self.terminals.enter(worker, wish)?;
        if let Some(wish) = wish {
            self.resize(worker, KeyboardId(id), wish.size)?;
            self.mark(worker, &format!("keyboard taken by {}", wish.who));
            self.publish_typists();
        }
        Ok((id, viewer))
    }

    /// Ends what [`Hub::view`] began.
    pub(super) fn leave(&mut self, worker: &WorkerName, id: u64) {
        self.terminals.leave(worker, id);
        self.publish_typists();
    }

    /// Changes the size of a terminal.
    pub(super) fn resize(
        &mut self,
        worker: &WorkerName,
        by: KeyboardId,
        size: TerminalSize,
    ) -> Result<(), KeyboardError> {
        let pipe = self.terminals.resize(worker, by, size)?;
        let pipe = pipe.and_then(|pipe| self.pipes.get_mut(&pipe));
        if let Some(screen) = pipe.and_then(|pipe| pipe.screen.as_mut()) {
            screen.emulator.resize(size);
        }
        Ok(())
    }

    /// What a worker's terminal shows; `None` when there is none any more.
    pub(super) fn screen(&self, worker: &WorkerName) -> Option<TerminalNews> {
        match self.terminals.screen(worker)? {
            Ok(pipe) => Some(whole(&self.pipes.get(&pipe)?.screen.as_ref()?.emulator)),
            Err(past) => Some(past),
        }
    }

    /// Writes a mark into a worker's log, after what the worker has written before.
    pub(super) fn mark(&mut self, worker: &WorkerName, text: &str) {
        self.drain(worker);
        for id in self.pipes_of(|pipe| pipe.rule.is_some() && pipe.worker == *worker) {
            self.flush_held(id, true);
        }
        self.sink.admit(worker);
        let line = [text, "\n"].concat();
        let mark = Chunk {
            at: SystemTime::now(),
            worker,
            pid: None,
            stream: LogStream::Mark,
            bytes: line.as_bytes(),
            part: false,
            rule: None,
        };
        self.sink.write(&mark, None);
        self.sink.commit(&worker.pool, Instant::now());
        self.terminals.mark(worker, text);
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
        self.terminals.forget(pool);
        self.publish_typists();
    }

    /// Reads and writes everything that is there.
    pub(super) fn close(&mut self) {
        for id in self.pipes_of(|_| true) {
            self.read_all(id);
            self.flush_held(id, false);
        }
    }

    fn publish_typists(&self) {
        self.sink.board.type_by(self.terminals.typists());
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
                Turn::More(_) => {}
                Turn::Drained if matches!(self.read(id), Turn::More(_)) => {}
                Turn::Drained | Turn::Ended => return,
            }
        }
    }

    fn end(&mut self, id: PipeId) -> Turn {
        self.flush_held(id, false);
        self.calm(id);
        if let Some(Pipe { worker, screen: Some(screen), .. }) = self.pipes.remove(&id) {
            self.terminals.close(&worker, id, screen.emulator);
        }
        Turn::Ended
    }

    fn flush_held(&mut self, id: PipeId, part: bool) {
        let Self { sink, pipes, held_len, .. } = self;
        let Some(pipe) = pipes.get_mut(&id) else { return };
        let lines = pipe.screen.as_mut().map(|screen| {
            screen.emulator.cut_line();
            screen.emulator.take_lines()
        });
        let (cutter, source) = pipe.split(None);
        *held_len -= cutter.held_len();
        let lines = lines.unwrap_or_default();
        cutter.feed(Instant::now(), lines.as_bytes(), |cut| source.write(sink, cut));
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
    fn split<'a>(&'a mut self, buffer: Option<&'a Bytes>) -> (&'a mut Cutter, Origin<'a>) {
        let origin = Origin {
            at: SystemTime::now(),
            worker: &self.worker,
            pid: self.pid,
            stream: self.stream,
            rule: self.rule.as_ref(),
            buffer,
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
    rule: Option<&'a RecordRule>,
    /// What was read into.
    buffer: Option<&'a Bytes>,
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
        let chunk = Chunk {
            at: self.at,
            worker: self.worker,
            pid: Some(self.pid),
            stream: self.stream,
            bytes: cut.bytes,
            part: cut.part,
            rule: self.rule,
        };
        sink.write(&chunk, self.buffer);
    }
}
