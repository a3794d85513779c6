//! Owns the pipes and what becomes of their output; everything here happens at once, on one thread.

use std::rc::Rc;
use std::time::SystemTime;

use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::chunk::Chunk;
use super::handle::{LogLine, LogStream};
use super::pipe::{Pipe, PipeId, SharedWatch};
use super::pipes::{Pipes, Turn};
use super::sink::Sink;
use super::terminals::{
    KeyboardError, KeyboardId, KeyboardWish, TerminalNews, Terminals, Viewer, whole,
};
use crate::config::LogSettings;
use crate::model::{PoolName, WorkerName};
use crate::terminal::TerminalSize;

/// The owner of all pipes.
#[derive(Debug)]
pub(super) struct Hub {
    /// Where output goes.
    pub(super) sink: Sink,
    /// Who looks at terminals, and who types.
    pub(super) terminals: Terminals,
    pipes: Pipes,
}

impl Hub {
    /// A hub without pipes.
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, terminals: Terminals::default(), pipes: Pipes::new() }
    }

    /// Takes a pipe; somebody is to call [`Hub::read`] when it is readable.
    pub(super) fn attach(
        &mut self,
        process: (WorkerName, i32),
        stream: LogStream,
        fd: Rc<pipe::Receiver>,
        line: Option<SharedWatch>,
    ) -> PipeId {
        self.sink.admit(&process.0);
        let rule = self.sink.rule(&process.0.pool);
        let mut pipe = Pipe::new(process, stream, fd, line);
        pipe.configure(rule);
        self.pipes.add(pipe)
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
        if let Some(pipe) = self.pipes.get_mut(id) {
            pipe.set_screen(emulator);
        }
        (id, keyboard)
    }

    /// Reads a pipe once.
    pub(super) fn read(&mut self, id: PipeId) -> Turn {
        self.pipes.read(id, &mut self.sink, &mut self.terminals)
    }

    /// Keeps a pool's output in this way from now on.
    pub(super) fn configure(&mut self, pool: &PoolName, settings: &LogSettings) {
        self.sink.configure(pool.clone(), settings);
        let rule = self.sink.rule(pool);
        for id in self.pipes.ids(|pipe| pipe.worker.pool == *pool) {
            if let Some(pipe) = self.pipes.get_mut(id) {
                pipe.configure(rule.clone());
            }
        }
    }

    /// Passes a pipe's unended line on and ends a flood, each in its time.
    pub(super) fn settle(&mut self, id: PipeId) {
        self.pipes.settle(id, Instant::now(), &mut self.sink);
    }

    /// When [`Hub::settle`] is due.
    pub(super) fn due(&self, id: PipeId) -> Option<Instant> {
        self.pipes.due(id)
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
        let pipe = pipe.and_then(|pipe| self.pipes.get_mut(pipe));
        if let Some(screen) = pipe.and_then(Pipe::screen_mut) {
            screen.resize(size);
        }
        Ok(())
    }

    /// What a worker's terminal shows; `None` when there is none any more.
    pub(super) fn screen(&self, worker: &WorkerName) -> Option<TerminalNews> {
        match self.terminals.screen(worker)? {
            Ok(pipe) => Some(whole(self.pipes.get(pipe)?.screen()?)),
            Err(past) => Some(past),
        }
    }

    /// Writes a mark into a worker's log, after what the worker has written before.
    pub(super) fn mark(&mut self, worker: &WorkerName, text: &str) {
        self.drain(worker);
        for id in self.pipes.ids(|pipe| pipe.has_rule() && pipe.worker == *worker) {
            self.pipes.flush(id, true, &mut self.sink);
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
        for id in self.pipes.ids(|pipe| pipe.worker == *worker) {
            self.pipes.flush(id, true, &mut self.sink);
        }
        self.sink.tail(worker, lines)
    }

    /// Forgets a pool, after its last output was written. Processes that still hold its pipes go on
    /// being read, to nowhere.
    pub(super) fn forget(&mut self, pool: &PoolName) {
        for id in self.pipes.ids(|pipe| pipe.worker.pool == *pool) {
            self.read_all(id);
            self.pipes.flush(id, false, &mut self.sink);
        }
        self.sink.forget(pool);
        self.terminals.forget(pool);
        self.publish_typists();
    }

    /// Reads and writes everything that is there.
    pub(super) fn close(&mut self) {
        for id in self.pipes.ids(|_| true) {
            self.read_all(id);
            self.pipes.flush(id, false, &mut self.sink);
        }
    }

    fn publish_typists(&self) {
        self.sink.board.type_by(self.terminals.typists());
    }

    fn drain(&mut self, worker: &WorkerName) {
        for id in self.pipes.ids(|pipe| pipe.worker == *worker) {
            self.read_all(id);
        }
    }

    fn read_all(&mut self, id: PipeId) {
        self.pipes.read_all(id, &mut self.sink, &mut self.terminals);
    }
}
