//! The rules of forwarding: packets in, packets out. Pure: no sockets, no clock.
//!
//! [`State::handle`] takes what happened to one session and appends what follows to [`Effects`].

mod client;
mod crews;
mod effects;
mod grabs;
mod jobs;
mod lane;
mod questions;
mod queues;
mod session;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub use self::effects::{Effects, Input, News, Orphan, Packet, Wire};
pub use self::queues::Listed;

use self::crews::Crews;
use self::queues::{Ours, Queues};
use self::session::{Session, Turn};
use crate::model::{Drain, FunctionName, InHand, PoolName, SessionId, Tally, WorkerId, WorkerName};

/// Every session, process and queue.
#[derive(Debug)]
pub struct State {
    servers: usize,
    sessions: BTreeMap<SessionId, Session>,
    crews: Crews,
    queues: Queues,
    /// When a server has been asked for too long, with the session that it was asked for.
    timers: BTreeSet<(Instant, SessionId)>,
}

impl State {
    /// The rules for so many servers.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self {
            servers,
            sessions: BTreeMap::new(),
            crews: Crews::default(),
            queues: Queues::default(),
            timers: BTreeSet::new(),
        }
    }

    /// Takes in what happened to a session.
    pub fn handle(&mut self, now: Instant, id: SessionId, input: Input, fx: &mut Effects) {
        if let Input::Opened { worker } = input {
            self.sessions.insert(id, Session::new(id, worker, self.servers));
            if let Some(process) = self.crews.processes.get_mut(&worker) {
                process.sessions.insert(id);
            }
            return;
        }
        let is_end = matches!(input, Input::Closed);
        self.with_session(now, id, fx, |session, turn| match input {
            Input::Opened { .. } => {}
            Input::Packet(frame) => session.packet(frame, turn),
            Input::Line(line) => session.line(line, turn),
            Input::Closed => session.end(turn),
            Input::Connected { server } => session.connected(server, turn),
            Input::Received { server, frame } => session.received(server, frame, turn),
            Input::Text { text, .. } => {
                turn.fx.sends.push((Wire::Worker(session.id), Packet::Text(text)));
            }
            Input::Lost { server } => session.lost(server, turn),
            Input::Unreachable { server } => session.unreachable(server, turn),
        });
        if is_end
            && let Some(ended) = self.sessions.remove(&id)
            && let Some(deadline) = ended.deadline()
        {
            self.timers.remove(&(deadline, id));
        }
        self.rouse(now, fx);
    }

    /// When to call [`State::deadline`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Looks at servers that owe an answer. Those of a session that is not to be read, since its
    /// worker leaves too much unread, may have given it; but a worker that is to stop is not
    /// waited for.
    pub fn deadline(
        &mut self,
        now: Instant,
        is_read: impl Fn(SessionId) -> bool,
        fx: &mut Effects,
    ) {
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.with_session(now, id, fx, |session, turn| {
                if is_read(id) || !turn.crews.is_serving(session.worker) {
                    session.overdue(turn);
                } else {
                    session.allow(turn);
                }
            });
        }
        self.rouse(now, fx);
    }

    /// What servers say to a session is read again.
    pub fn read_again(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        self.with_session(now, id, fx, |session, turn| session.allow(turn));
    }

    /// Whether more of what a worker sends is wanted.
    #[must_use]
    pub fn has_room(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_none_or(Session::has_room)
    }

    /// Whether a server has answered on the session's connection to it.
    #[must_use]
    pub fn is_ready(&self, id: SessionId, server: usize) -> bool {
        let lane = self.sessions.get(&id).and_then(|session| session.lanes.get(server));
        lane.is_some_and(lane::Lane::is_ready)
    }

    /// A worker process will come.
    pub fn admit(&mut self, worker: WorkerId, name: WorkerName) {
        self.crews.admit(worker, name);
    }

    /// A worker process has ended.
    pub fn gone(&mut self, now: Instant, worker: WorkerId, fx: &mut Effects) {
        self.crews.gone(now, worker);
        fx.settled.push(worker);
        fx.drained.push(worker);
        self.rouse(now, fx);
    }

    /// Gives the process no job if it holds none. `None`: a server is being asked for one;
    /// [`Effects::settled`] names the process when that is over.
    pub fn drain_if_idle(
        &mut self,
        now: Instant,
        worker: WorkerId,
        fx: &mut Effects,
    ) -> Option<Drain> {
        let handle = self.held_by(worker).next().map(|held| {
            let text = String::from_utf8_lossy(&held.handle);
            text.into_owned()
        });
        if let Some(handle) = handle {
            self.await_end(worker);
            return Some(Drain::Busy(handle));
        }
        if !self.crews.is_settled(worker) {
            return None;
        }
        self.crews.drain(worker, fx);
        self.retire(now, worker, fx);
        Some(Drain::Drained)
    }

    /// Has the end of the process's next job told.
    pub fn await_end(&mut self, worker: WorkerId) {
        if let Some(process) = self.crews.processes.get_mut(&worker) {
            process.awaited = true;
        }
    }

    /// Gives the process no further job; [`Effects::drained`] names it once it holds none.
    pub fn drain(&mut self, now: Instant, worker: WorkerId, fx: &mut Effects) {
        self.crews.drain(worker, fx);
        self.retire(now, worker, fx);
    }

    /// Wakes the sleeping sessions of a draining process with an ERROR packet.
    pub fn nudge(&mut self, worker: WorkerId, fx: &mut Effects) {
        if self.crews.is_serving(worker) {
            return;
        }
        for id in self.sessions_of(worker) {
            if let Some(session) = self.sessions.get(&id) {
                session.nudge(fx);
            }
        }
    }

    /// Sets how many processes of the pool may hold jobs at once.
    pub fn limit(&mut self, now: Instant, pool: PoolName, workers_max: usize, fx: &mut Effects) {
        self.crews.limit(pool, workers_max);
        self.rouse(now, fx);
    }

    /// Who of a pool holds which job, since when.
    #[must_use]
    pub fn in_hands(&self, now: Instant, pool: &PoolName) -> Vec<InHand> {
        let of_pool = self.crews.processes.iter().filter(|(_, process)| process.name.pool == *pool);
        let jobs = of_pool.flat_map(|(worker, _)| {
            self.held_by(*worker).map(|held| InHand {
                worker: *worker,
                handle: String::from_utf8_lossy(&held.handle).into_owned(),
                running: now.saturating_duration_since(held.since),
            })
        });
        jobs.collect()
    }

    /// What a pool's workers have done.
    #[must_use]
    pub fn tally(&self, now: Instant, pool: &PoolName) -> Vec<Tally> {
        self.crews.tally(now, pool)
    }

    /// Takes in a server's listing of its queues; an empty one when it is lost. True when jobs
    /// wait.
    pub fn listed(
        &mut self,
        now: Instant,
        server: usize,
        listing: &BTreeMap<FunctionName, Listed>,
    ) -> bool {
        let mut held: BTreeMap<&FunctionName, usize> = BTreeMap::new();
        let jobs = self.sessions.values().flat_map(|session| session.jobs.iter());
        for job in jobs.filter(|job| job.server == server && !job.is_orphan) {
            *held.entry(&job.function).or_default() += 1;
        }
        let functions = &self.crews.functions;
        self.queues.observe(now, server, listing, |name| Ours {
            running: held.get(name).copied().unwrap_or_default(),
            taken: taken(functions, name),
        });
        self.queues.any()
    }

    fn sessions_of(&self, worker: WorkerId) -> Vec<SessionId> {
        let process = self.crews.processes.get(&worker);
        process.map_or_else(Vec::new, |process| process.sessions.iter().copied().collect())
    }

    fn held_by(&self, worker: WorkerId) -> impl Iterator<Item = &jobs::Held> {
        let process = self.crews.processes.get(&worker);
        let sessions = process.into_iter().flat_map(|process| &process.sessions);
        sessions.filter_map(|id| self.sessions.get(id)).flat_map(|session| session.jobs.iter())
    }

    fn retire(&mut self, now: Instant, worker: WorkerId, fx: &mut Effects) {
        for id in self.sessions_of(worker) {
            self.with_session(now, id, fx, Session::retire);
        }
        self.rouse(now, fx);
    }

    /// Calls workers that were kept waiting by their pool's max, where there is room now.
    fn rouse(&mut self, now: Instant, fx: &mut Effects) {
        while let Some(pool) = self.crews.freed.pop_first() {
            let of_pool = self.crews.processes.values().filter(|process| process.name.pool == pool);
            let sessions: Vec<_> = of_pool.flat_map(|process| process.sessions.clone()).collect();
            for id in sessions {
                if self.sessions.get(&id).is_some_and(|session| session.is_withheld) {
                    self.with_session(now, id, fx, Session::call);
                }
            }
        }
    }

    /// Has a session do something, sets its timer anew, and tells when it came to have room.
    fn with_session(
        &mut self,
        now: Instant,
        id: SessionId,
        fx: &mut Effects,
        act: impl FnOnce(&mut Session, &mut Turn<'_>),
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let (before, had_room) = (session.deadline(), session.has_room());
        act(session, &mut Turn { now, crews: &mut self.crews, fx });
        let after = session.deadline();
        if !had_room && session.has_room() {
            fx.resumes.push(id);
        }
        if before != after {
            before.map(|at| self.timers.remove(&(at, id)));
            self.timers.extend(after.map(|at| (at, id)));
        }
    }
}

/// How many jobs of a function our workers have been given.
fn taken(functions: &BTreeMap<FunctionName, crews::Work>, name: &FunctionName) -> u64 {
    functions.get(name).map_or(0, |work| {
        work.ended.saturating_add(u64::try_from(work.running).unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests;
