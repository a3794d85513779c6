//! One pipe of a worker: how it is read, and what its bytes become.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use nix::errno::Errno;
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::chunk::Chunk;
use super::cutter::{Cut, Cutter, HOLD_MAX};
use super::handle::{LineWatch, LogStream};
use super::records::RecordRule;
use super::sink::Sink;
use super::terminals::Terminals;
use crate::model::WorkerName;
use crate::terminal::Emulator;

/// Names a pipe; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PipeId(pub(super) u64);

/// A line that is looked for in both pipes of a process; empty once it was found.
pub(super) type SharedWatch = Rc<RefCell<Option<LineWatch>>>;

/// A pipe.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Who writes.
    pub(super) worker: WorkerName,
    pid: i32,
    /// Which of its streams.
    pub(super) stream: LogStream,
    fd: Rc<pipe::Receiver>,
    cutter: Cutter,
    rule: Option<RecordRule>,
    line: Option<SharedWatch>,
    screen: Option<Screen>,
}

/// What a pipe has that is a terminal.
#[derive(Debug)]
struct Screen {
    emulator: Emulator,
    printed_at: Instant,
}

impl Pipe {
    /// A pipe of a process, in whose lines `line` is looked for.
    pub(super) fn new(
        (worker, pid): (WorkerName, i32),
        stream: LogStream,
        fd: Rc<pipe::Receiver>,
        line: Option<SharedWatch>,
    ) -> Self {
        let cutter = Cutter::default();
        Self { worker, pid, stream, fd, cutter, rule: None, line, screen: None }
    }

    /// Cuts records by `rule` from now on.
    pub(super) fn configure(&mut self, rule: Option<RecordRule>) {
        self.cutter.configure(rule.clone());
        self.rule = rule;
    }

    /// True when lines are put together to records.
    pub(super) fn has_rule(&self) -> bool {
        self.rule.is_some()
    }

    /// It is a terminal with this screen.
    pub(super) fn set_screen(&mut self, emulator: Emulator) {
        self.screen = Some(Screen { emulator, printed_at: Instant::now() });
    }

    /// Its screen, when it is a terminal.
    pub(super) fn screen(&self) -> Option<&Emulator> {
        self.screen.as_ref().map(|screen| &screen.emulator)
    }

    /// The same to be changed.
    pub(super) fn screen_mut(&mut self) -> Option<&mut Emulator> {
        self.screen.as_mut().map(|screen| &mut screen.emulator)
    }

    /// Who wrote, and the screen that is left of a terminal.
    pub(super) fn into_screen(self) -> Option<(WorkerName, Emulator)> {
        Some((self.worker, self.screen?.emulator))
    }

    /// Bytes that are held back.
    pub(super) fn held_len(&self) -> usize {
        self.cutter.held_len()
    }

    /// The length of what is held and is to stand in front of what is read next; a terminal's lines
    /// do not come as they are read.
    pub(super) fn joinable_len(&self) -> usize {
        if self.screen.is_none() { self.cutter.joinable_len() } else { 0 }
    }

    /// Reads once, behind what is held: that comes to the first `joined_len` bytes of the buffer, if
    /// there is anything to read.
    pub(super) fn read(&mut self, buffer: &mut [u8], joined_len: usize) -> Result<usize, Errno> {
        let (joined, free) = buffer.split_at_mut(joined_len);
        let read = nix::unistd::read(&*self.fd, free);
        if let Ok(1..) = read {
            self.cutter.join(joined);
        }
        read
    }

    /// Passes on the first `len` bytes of what was read into.
    pub(super) fn take(
        &mut self,
        (id, now): (PipeId, Instant),
        (buffer, len): (&Bytes, usize),
        sink: &mut Sink,
        terminals: &mut Terminals,
    ) {
        let mut bytes = buffer.get(..len).unwrap_or_default();
        let lines;
        if let Some(Screen { emulator, printed_at }) = &mut self.screen {
            emulator.feed(bytes);
            *printed_at = now;
            terminals.show(&self.worker, id, bytes, emulator.take_answers());
            lines = emulator.take_lines();
            bytes = lines.as_bytes();
        }
        let (cutter, source) = self.split(Some(buffer));
        cutter.feed(now, bytes, |cut| source.write(sink, cut));
    }

    /// Passes on what is held: as a part while the pipe lives, as the last line at its end.
    pub(super) fn flush(&mut self, part: bool, sink: &mut Sink) {
        let lines = self.screen_mut().map(|emulator| {
            emulator.cut_line();
            emulator.take_lines()
        });
        let (cutter, source) = self.split(None);
        let lines = lines.unwrap_or_default();
        cutter.feed(Instant::now(), lines.as_bytes(), |cut| source.write(sink, cut));
        cutter.flush(part, |cut| source.write(sink, cut));
    }

    /// The same but for what a screen holds: that is bounded.
    pub(super) fn flush_held(&mut self, sink: &mut Sink) {
        let (cutter, source) = self.split(None);
        cutter.flush(true, |cut| source.write(sink, cut));
    }

    /// When [`Pipe::flush`] is due.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        let screen = self.screen.as_ref().filter(|screen| screen.emulator.has_unended_line());
        self.cutter.due().or_else(|| screen.map(|screen| screen.printed_at + HOLD_MAX))
    }

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
