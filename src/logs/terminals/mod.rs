//! Workers' terminals: their screens, who looks at them, and who types.
//!
//! A terminal belongs to a slot and shows the newest process of it: viewers and the keyboard stay when a
//! successor takes over. The screen itself belongs to the process, since one that is on its way out
//! still prints. At most one viewer has the keyboard; the size follows theirs.

mod keyboard;
mod request;
mod viewer;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bytes::Bytes;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tracing::debug;

pub use self::request::{
    KeyboardError, KeyboardId, KeyboardWish, TerminalNews, TerminalRequest, TerminalView,
};
pub(super) use self::viewer::{BATCHES_MAX, Viewer};

use self::keyboard::Keyboard;
use super::pipe::PipeId;
use crate::model::{PoolName, WorkerName};
use crate::terminal::{Emulator, TerminalSize};

/// All terminals.
#[derive(Debug, Default)]
pub(super) struct Terminals {
    slots: HashMap<WorkerName, Terminal>,
    /// Numbers viewers and keyboards.
    last: u64,
}

#[derive(Debug, Default)]
struct Terminal {
    process: Option<Process>,
    /// What the last process left on the screen.
    past: Option<Emulator>,
    size: TerminalSize,
    viewers: BTreeMap<ViewerId, Rc<Viewer>>,
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Process {
    pipe: PipeId,
    fd: Rc<pipe::Receiver>,
    keyboard: Rc<Keyboard>,
}

/// Who has the keyboard.
#[derive(Debug)]
struct Holder {
    id: ViewerId,
    who: String,
}

/// Names a viewer; its keyboard has the same number.
type ViewerId = u64;

impl Terminals {
    /// A process has its terminal; returns the screen that it is to print on, and its keyboard to run.
    pub(super) fn open(
        &mut self,
        worker: &WorkerName,
        (pipe, fd): (PipeId, Rc<pipe::Receiver>),
        keys: pipe::Sender,
    ) -> (Emulator, impl Future<Output = ()> + use<>) {
        let terminal = self.slots.entry(worker.clone()).or_default();
        if let Some(before) = terminal.process.take() {
            before.keyboard.close();
        }
        terminal.past = None;
        let keyboard = Rc::new(Keyboard::new(worker.clone()));
        if terminal.size != TerminalSize::default() {
            set_size(&fd, terminal.size);
        }
        terminal.process = Some(Process { pipe, fd, keyboard: Rc::clone(&keyboard) });
        for viewer in terminal.viewers.values() {
            viewer.repaint();
        }
        (Emulator::new(terminal.size), async move { keyboard.run(keys).await })
    }

    /// A process printed something, and asked its terminal what `answers` tells.
    pub(super) fn show(&self, worker: &WorkerName, pipe: PipeId, bytes: &[u8], answers: Vec<u8>) {
        let Some(terminal) = self.slots.get(worker) else { return };
        let Some(process) = terminal.process.as_ref().filter(|process| process.pipe == pipe) else {
            return;
        };
        // The terminal of whoever types answers by itself.
        if !answers.is_empty() && terminal.holder.is_none() {
            process.keyboard.push(answers.into(), None);
        }
        if !terminal.viewers.is_empty() {
            let bytes = Bytes::copy_from_slice(bytes);
            for viewer in terminal.viewers.values() {
                viewer.push(TerminalNews::Output(bytes.clone()));
            }
        }
    }

    /// A process has left its terminal.
    pub(super) fn close(&mut self, worker: &WorkerName, pipe: PipeId, screen: Emulator) {
        let Some(terminal) = self.slots.get_mut(worker) else { return };
        if let Some(process) = terminal.process.take_if(|process| process.pipe == pipe) {
            process.keyboard.close();
            terminal.past = Some(screen);
            terminal.tell(&TerminalNews::Gone);
        }
    }

    /// Tells viewers of a mark in the worker's log.
    pub(super) fn mark(&self, worker: &WorkerName, text: &str) {
        if let Some(terminal) = self.slots.get(worker) {
            terminal.tell(&TerminalNews::Mark(text.to_owned()));
        }
    }

    /// Forgets a pool's terminals; their viewers' streams end.
    pub(super) fn forget(&mut self, pool: &PoolName) {
        self.slots.retain(|worker, terminal| {
            let is_kept = worker.pool != *pool;
            if !is_kept {
                terminal.viewers.values().for_each(|viewer| viewer.repaint());
                if let Some(process) = &terminal.process {
                    process.keyboard.close();
                }
            }
            is_kept
        });
    }

    /// Who has which keyboard.
    pub(super) fn typists(&self) -> HashMap<WorkerName, String> {
        let typist = |(worker, terminal): (&WorkerName, &Terminal)| {
            Some((worker.clone(), terminal.holder.as_ref()?.who.clone()))
        };
        self.slots.iter().filter_map(typist).collect()
    }

    /// Adds a viewer, who has the keyboard too if `wish` says so.
    pub(super) fn enter(
        &mut self,
        worker: &WorkerName,
        wish: Option<&KeyboardWish>,
    ) -> Result<(u64, Rc<Viewer>), KeyboardError> {
        let id = self.last + 1;
        let terminal = self.slots.entry(worker.clone()).or_default();
        if let Some(KeyboardWish { who, steal, .. }) = wish {
            match &terminal.holder {
                Some(holder) if !steal => {
                    let (worker, holder) = (worker.clone(), holder.who.clone());
                    return Err(KeyboardError::Held { worker, holder });
                }
                Some(holder) => {
                    if let Some(viewer) = terminal.viewers.get(&holder.id) {
                        viewer.push(TerminalNews::KeyboardTaken { by: who.clone() });
                    }
                }
                None => {}
            }
            terminal.holder = Some(Holder { id, who: who.clone() });
        }
        self.last = id;
        let viewer = Rc::new(Viewer::default());
        if terminal.process.is_none() {
            viewer.push(TerminalNews::Gone);
        }
        viewer.repaint();
        terminal.viewers.insert(id, Rc::clone(&viewer));
        Ok((id, viewer))
    }

    /// A viewer has left, and gives the keyboard back.
    pub(super) fn leave(&mut self, worker: &WorkerName, id: u64) {
        let Some(terminal) = self.slots.get_mut(worker) else { return };
        terminal.viewers.remove(&id);
        terminal.holder.take_if(|holder| holder.id == id);
        let is_used = terminal.process.is_some() || terminal.past.is_some();
        if !is_used && terminal.viewers.is_empty() {
            self.slots.remove(worker);
        }
    }

    /// Types into a terminal.
    pub(super) fn type_into(
        &self,
        worker: &WorkerName,
        by: Option<KeyboardId>,
        keys: Bytes,
        reply: oneshot::Sender<Result<(), KeyboardError>>,
    ) {
        match self.keyboard(worker, by) {
            Ok(process) => process.keyboard.push(keys, Some(reply)),
            // Who left needs no answer.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Changes the size of a terminal; returns whose screen has to follow.
    pub(super) fn resize(
        &mut self,
        worker: &WorkerName,
        by: KeyboardId,
        size: TerminalSize,
    ) -> Result<Option<PipeId>, KeyboardError> {
        let lost = || KeyboardError::Lost { worker: worker.clone() };
        let terminal = self.slots.get_mut(worker).ok_or_else(lost)?;
        if terminal.holder.as_ref().is_none_or(|holder| holder.id != by.0) {
            return Err(lost());
        }
        if terminal.size != size {
            terminal.size = size;
            terminal.tell(&TerminalNews::Resized(size));
            if let Some(past) = &mut terminal.past {
                past.resize(size);
            }
            if let Some(process) = &terminal.process {
                set_size(&process.fd, size);
            }
        }
        Ok(terminal.process.as_ref().map(|process| process.pipe))
    }

    /// The pipe whose screen is a worker's, or the screen that its last process left; `None`: there
    /// is no such terminal any more.
    pub(super) fn screen(&self, worker: &WorkerName) -> Option<Result<PipeId, TerminalNews>> {
        let terminal = self.slots.get(worker)?;
        Some(match (&terminal.process, &terminal.past) {
            (Some(process), _) => Ok(process.pipe),
            (None, Some(past)) => Err(whole(past)),
            (None, None) => Err(whole(&Emulator::new(terminal.size))),
        })
    }

    /// The process that keys go to, if they may.
    fn keyboard(
        &self,
        worker: &WorkerName,
        by: Option<KeyboardId>,
    ) -> Result<&Process, KeyboardError> {
        let terminal = self.slots.get(worker);
        let holder = terminal.and_then(|terminal| terminal.holder.as_ref());
        if by.is_some_and(|by| holder.is_none_or(|holder| holder.id != by.0)) {
            return Err(KeyboardError::Lost { worker: worker.clone() });
        }
        terminal
            .and_then(|terminal| terminal.process.as_ref())
            .ok_or_else(|| KeyboardError::NoProcess { worker: worker.clone() })
    }
}

impl Terminal {
    fn tell(&self, news: &TerminalNews) {
        for viewer in self.viewers.values() {
            viewer.push(news.clone());
        }
    }
}

/// The whole screen as news.
pub(super) fn whole(screen: &Emulator) -> TerminalNews {
    TerminalNews::Screen { size: screen.size(), repaint: screen.repaint().into() }
}

/// Tells the kernel, which tells the program by SIGWINCH.
fn set_size(fd: &pipe::Receiver, size: TerminalSize) {
    let (ws_col, ws_row) = (size.columns(), size.rows());
    let size = Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 };
    if let Err(error) = tcsetwinsize(fd, size) {
        debug!(%error, "a terminal keeps its size");
    }
}
