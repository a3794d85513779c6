//! What is typed into a terminal waits here until its program has room for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, oneshot};

use super::request::KeyboardError;
use crate::model::WorkerName;

/// Bytes that wait at most; more are refused.
const KEYS_LEN_MAX: usize = 64 * 1024;

/// The way into one process's terminal.
#[derive(Debug)]
pub(super) struct Keyboard {
    worker: WorkerName,
    keys: RefCell<VecDeque<Keys>>,
    typed: Notify,
    is_closed: Cell<bool>,
}

#[derive(Debug)]
struct Keys {
    bytes: Bytes,
    reply: Option<oneshot::Sender<Result<(), KeyboardError>>>,
}

impl Keyboard {
    pub(super) fn new(worker: WorkerName) -> Self {
        let (keys, typed) = (RefCell::default(), Notify::new());
        Self { worker, keys, typed, is_closed: Cell::new(false) }
    }

    /// Types; `reply` is told when the program has it to read, or never will.
    pub(super) fn push(
        &self,
        bytes: Bytes,
        reply: Option<oneshot::Sender<Result<(), KeyboardError>>>,
    ) {
        let waiting: usize = self.keys.borrow().iter().map(|keys| keys.bytes.len()).sum();
        if waiting + bytes.len() > KEYS_LEN_MAX {
            return tell(reply, Err(KeyboardError::Full { worker: self.worker.clone() }));
        }
        self.keys.borrow_mut().push_back(Keys { bytes, reply });
        self.typed.notify_one();
    }

    /// The process has ended.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.typed.notify_one();
        self.refuse_all();
    }

    /// Passes on what is typed until the process has ended.
    pub(super) async fn run(&self, terminal: pipe::Sender) {
        while !self.is_closed.get() {
            if self.keys.borrow().is_empty() {
                self.typed.notified().await;
                continue;
            }
            if terminal.writable().await.is_err() {
                break;
            }
            let first = self.keys.borrow().front().map(|keys| keys.bytes.clone());
            match terminal.try_write(&first.unwrap_or_default()) {
                Ok(len) => self.advance(len),
                // There was no room after all.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        self.refuse_all();
    }

    fn advance(&self, len: usize) {
        let mut keys = self.keys.borrow_mut();
        let Some(first) = keys.front_mut() else { return };
        first.bytes.advance(len.min(first.bytes.len()));
        if first.bytes.is_empty()
            && let Some(first) = keys.pop_front()
        {
            tell(first.reply, Ok(()));
        }
    }

    fn refuse_all(&self) {
        for keys in self.keys.borrow_mut().drain(..) {
            tell(keys.reply, Err(KeyboardError::NoProcess { worker: self.worker.clone() }));
        }
    }
}

/// Who left needs no answer.
fn tell(
    reply: Option<oneshot::Sender<Result<(), KeyboardError>>>,
    outcome: Result<(), KeyboardError>,
) {
    if let Some(reply) = reply {
        drop(reply.send(outcome));
    }
}
