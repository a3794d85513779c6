//! Carrying out what the rules asked for in a turn.

use std::time::Instant;

use bytes::BytesMut;
use tracing::{trace, warn};

use super::core::{Core, now};
use super::session::{Owed, Session, Written};
use super::show::{ShowOutgoing, ShowPeer, TARGET};
use crate::broker::record::Fetched;
use crate::broker::state::{Input, Outgoing};
use crate::model::SessionId;

/// Output buffers kept for the next turns, and the largest worth keeping.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_LEN_MAX: usize = 64 * 1024;

impl Core {
    /// Carries out all effects; writing may find connections ended, which has effects again.
    pub(super) fn deliver(&mut self, now: Instant) {
        while !self.fx.is_empty() || !self.touched.is_empty() || !self.ended.is_empty() {
            self.ledger.take(&mut self.fx.changes, now);
            self.pass_on_fetches(now);
            self.encode_output();
            self.begin_job_lists();
            self.begin_closes();
            self.answer_drains();
            for event in self.fx.events.drain(..) {
                self.news.tell(event, now);
            }
            self.pass_on_endings();
            self.write_touched();
            while let Some(session) = self.ended.pop() {
                self.end(session, now);
            }
        }
        self.news.flush(now);
        if self.ledger.keeps_the_store_waiting(now) {
            self.pass_on_changes();
        }
        self.set_alarm(now);
    }

    /// Gives the store's thread what is due. The broker's main task calls it, whose turn comes after
    /// those of the connections that were ready with it, so that what they brought is one commit; a
    /// turn does when the store has nothing to do.
    pub(super) fn pass_on_changes(&mut self) {
        let now = now();
        if self.ledger.is_due(now)
            && let Err((through, stopped)) = self.ledger.hand_over()
        {
            self.input(Input::NotCommitted { through, reason: stopped.to_string() });
            // No report will come that lets those go on who wait for the disk.
            self.signals.thaw.notify_waiters();
        }
    }

    /// Writes on after the kernel had no room.
    pub(super) fn write_on(&mut self, session: SessionId, now: Instant) {
        if let Some(blocked) = self.sessions.get_mut(&session) {
            blocked.blocked = false;
            touch(&mut self.touched, blocked, session);
        }
        self.deliver(now);
    }

    fn pass_on_fetches(&mut self, now: Instant) {
        if self.fx.fetches.is_empty() {
            return;
        }
        let jobs = std::mem::take(&mut self.fx.fetches);
        let Some(reads) = &self.reads else { return };
        for job in reads.fetch(jobs).err().unwrap_or_default() {
            let input = Input::Fetched { job, outcome: Fetched::Failed };
            self.state.handle(now, input, &mut self.fx);
        }
    }

    fn encode_output(&mut self) {
        // Most of a turn goes to the connection whose turn it is, which is looked up once.
        for sends in self.fx.sends.chunk_by(|(one, _), (next, _)| one == next) {
            let Some((id, _)) = sends.first() else { continue };
            let Some(session) = self.sessions.get_mut(id) else { continue };
            if session.output.capacity() == 0
                && let Some(spare) = self.spare.pop()
            {
                session.output = spare;
            }
            for (_, outgoing) in sends {
                trace!(target: TARGET, "conn {id} → {}", ShowOutgoing(outgoing));
                match outgoing {
                    Outgoing::Packet(response) => response.encode(&mut session.output),
                    Outgoing::Text(reply) => session.output.extend_from_slice(&reply.render()),
                }
            }
            touch(&mut self.touched, session, *id);
        }
        self.fx.sends.clear();
    }

    fn begin_job_lists(&mut self) {
        for id in self.fx.job_lists.drain(..) {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.owed = Owed::JobList;
            // Its task goes on when all before the listing is written.
            touch(&mut self.touched, session, id);
        }
    }

    fn begin_closes(&mut self) {
        for id in self.fx.closes.drain(..) {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.begin_closing();
            touch(&mut self.touched, session, id);
        }
    }

    fn answer_drains(&mut self) {
        for worker in self.fx.drained.drain(..) {
            for reply in self.drains.remove(&worker).unwrap_or_default() {
                // Who asked may have stopped waiting.
                reply.send(()).unwrap_or_default();
            }
        }
    }

    fn write_touched(&mut self) {
        while let Some(id) = self.touched.pop() {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.touched = false;
            let written = if session.blocked { Written::Blocked } else { session.write() };
            let unsent = session.output.len();
            match written {
                Written::Broken => self.ended.push(id),
                Written::Blocked if unsent > self.output_len_max => {
                    let peer = ShowPeer(&session.peer);
                    warn!(
                        target: TARGET,
                        unsent, "conn {id} from {peer} does not read what it is sent; dropped"
                    );
                    self.ended.push(id);
                }
                Written::Blocked => session.wake.notify_one(),
                Written::All => {
                    if session.held || session.owed == Owed::JobList {
                        session.wake.notify_one();
                    }
                    let buffer = std::mem::take(&mut session.output);
                    if session.is_closing() {
                        self.ended.push(id);
                    }
                    self.keep_spare(buffer);
                    self.signals.drained.notify_one();
                }
            }
        }
    }

    fn keep_spare(&mut self, mut buffer: BytesMut) {
        let worth = 0 < buffer.capacity() && buffer.capacity() <= SPARE_LEN_MAX;
        if worth && self.spare.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    fn set_alarm(&mut self, now: Instant) {
        if self.ledger.is_due(now) {
            self.signals.alarm.notify_one();
        }
        let due = self.ledger.due().filter(|due| *due > now);
        let deadlines = [self.state.next_deadline(), self.news.next(), due];
        let Some(deadline) = deadlines.into_iter().flatten().min() else { return };
        // A later deadline leaves the timer as it is: it finds nothing due and is set anew.
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            self.signals.alarm.notify_one();
        }
    }
}

pub(super) fn touch(touched: &mut Vec<SessionId>, session: &mut Session, id: SessionId) {
    if !session.touched {
        session.touched = true;
        touched.push(id);
    }
}
