//! Carrying out what the rules asked for in a turn.

use tokio::sync::mpsc::error::TrySendError;
use tracing::{debug, warn};

use super::core::{Core, Stage, now};
use super::outbox::Written;
use crate::forward::ForwardEvent;
use crate::forward::state::{News, Orphan, Wire};
use crate::model::{SessionId, WorkerId};

impl Core {
    /// Carries out all effects; writing may find connections ended, which has effects again.
    pub(super) fn deliver(&mut self) {
        while !self.fx.is_empty() || !self.touched.is_empty() || !self.ended.is_empty() {
            self.encode();
            self.opens.append(&mut self.fx.opens);
            for (session, server) in std::mem::take(&mut self.fx.hangs) {
                if let Some(hung) = self.wires.remove(&Wire::Server(session, server)) {
                    hung.wake.notify_one();
                }
            }
            for session in std::mem::take(&mut self.fx.closes) {
                self.close(Wire::Worker(session));
            }
            for session in std::mem::take(&mut self.fx.resumes) {
                self.resume(session);
            }
            self.pass_on_news();
            self.answer();
            while let Some(wire) = self.touched.pop() {
                self.write(wire);
            }
            while let Some(wire) = self.ended.pop() {
                self.end(wire);
            }
        }
        // A later deadline leaves the timer as it is: it finds nothing due and is set anew.
        let deadline = self.state.next_deadline();
        if deadline.is_some_and(|at| self.armed.is_none_or(|armed| at < armed)) {
            self.armed = deadline;
            self.alarm.notify_one();
        }
    }

    /// Writes on after the kernel had no room.
    pub(super) fn write_on(&mut self, wire: Wire) {
        if let Some(open) = self.wires.get_mut(&wire) {
            open.blocked = false;
        }
        self.write(wire);
    }

    fn encode(&mut self) {
        for (wire, packet) in std::mem::take(&mut self.fx.sends) {
            let Some(open) = self.wires.get_mut(&wire).filter(|open| open.stage != Stage::Closing)
            else {
                continue;
            };
            open.out.push(packet);
            if !std::mem::replace(&mut open.is_touched, true) {
                self.touched.push(wire);
            }
        }
    }

    fn write(&mut self, wire: Wire) {
        let Some(open) = self.wires.get_mut(&wire) else { return };
        open.is_touched = false;
        let (before, was_full) = (open.out.len(), open.is_full());
        let written = if open.blocked { Written::Blocked } else { open.out.write(&open.stream) };
        match written {
            Written::Broken => self.ended.push(wire),
            Written::All if open.stage == Stage::Closing => self.ended.push(wire),
            Written::All => {}
            Written::Blocked => {
                open.blocked = true;
                open.wake.notify_one();
            }
        }
        let Some(open) = self.wires.get(&wire) else { return };
        let (wrote, reads_again) = (open.out.len() < before, was_full && !open.is_full());
        if let (true, Wire::Worker(session)) = (reads_again, wire) {
            self.state.read_again(now(), session, &mut self.fx);
        }
        if wrote {
            self.resume(wire.session());
        }
    }

    /// Wakes the tasks of a session that wait until there is room for what they read.
    pub(super) fn resume(&mut self, session: SessionId) {
        let servers = (0..self.servers.len()).map(|server| Wire::Server(session, server));
        for wire in servers.chain([Wire::Worker(session)]) {
            if let Some(open) = self.wires.get_mut(&wire)
                && open.stage == Stage::Paused
            {
                open.stage = Stage::Read;
                open.wake.notify_one();
            }
        }
    }

    fn pass_on_news(&mut self) {
        let news = std::mem::take(&mut self.fx.news);
        let registered = std::mem::take(&mut self.unheard).into_iter().map(News::Registered);
        for news in registered.chain(news) {
            match news {
                News::Registered(worker) => {
                    if !self.tell(ForwardEvent::Registered(worker)) {
                        self.unheard.push(worker);
                    }
                }
                // A hint: whoever waits looks again by itself.
                News::JobEnded { worker, well } => {
                    self.tell(ForwardEvent::JobEnded { worker, well });
                }
            }
        }
        for Orphan { worker, handle, server } in std::mem::take(&mut self.fx.orphans) {
            let server = self.servers.get(server).map_or("", |server| &server.address);
            let worker = self.names.get(&worker).map(ToString::to_string).unwrap_or_default();
            warn!(
                worker,
                job = handle,
                "the server {server} was lost with this job in hand: its result is dropped, and \
                 the server gives it out again if it was a background job"
            );
        }
    }

    /// False when there was no room.
    pub(super) fn tell(&self, event: ForwardEvent) -> bool {
        match self.events.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Closed(_)) => {
                debug!(?event, "nobody listens any more");
                true
            }
        }
    }

    /// Answers those who wait for a process.
    fn answer(&mut self) {
        for worker in std::mem::take(&mut self.fx.settled) {
            self.ask_again(worker);
        }
        for worker in std::mem::take(&mut self.fx.drained) {
            for reply in self.drains.remove(&worker).unwrap_or_default() {
                // Who asked may have stopped waiting.
                reply.send(()).unwrap_or_default();
            }
        }
    }

    fn ask_again(&mut self, worker: WorkerId) {
        for reply in self.questions.remove(&worker).unwrap_or_default() {
            match self.state.drain_if_idle(now(), worker, &mut self.fx) {
                Some(answer) => drop(reply.send(answer)),
                None => self.questions.entry(worker).or_default().push(reply),
            }
        }
    }
}
