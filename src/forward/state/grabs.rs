//! Asking servers for a job on behalf of a worker, one after the other.
//!
//! A worker that was woken asks those that called or were not heard of; one that asks by itself is
//! taken at its word and all are asked, as libgearman would do. Of those alike the one after that
//! which gave the last job comes first. The answer to a GRAB_JOB is a job or nothing, so two are
//! never asked at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::effects::{Packet, Wire};
use super::jobs::Held;
use super::lane::{Lane, LaneRest, Urgency};
use super::session::{Rest, Session, Turn, split_handle};
use crate::model::{FunctionName, Unique};
use crate::protocol::{Frame, Request, Response};

/// How long a server may take to answer; then it counts as lost, and the others are asked.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Questions of one worker that wait for answers; nobody needs more than one.
const GRABS_MAX: usize = 64;

/// Questions of a worker.
#[derive(Debug, Default)]
pub(super) struct Grabs {
    /// In the order of their coming; the first is being asked.
    waiting: VecDeque<Frame>,
    asked: Option<Asked>,
    /// The server that is asked first the next time.
    turn: usize,
}

/// A question under way.
#[derive(Debug)]
struct Asked {
    server: usize,
    until: Instant,
    /// Who is asked after it.
    next: VecDeque<usize>,
}

impl Grabs {
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.until)
    }

    /// Has the server that is asked owe its answer for longer.
    pub(super) fn allow(&mut self, until: Instant) {
        if let Some(asked) = &mut self.asked {
            asked.until = until;
        }
    }

    pub(super) fn is_asked(&self, server: usize) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.server == server)
    }
}

impl Session {
    /// The worker wants a job.
    pub(super) fn grab(&mut self, frame: Frame, turn: &mut Turn<'_>) {
        if self.grabs.waiting.len() == GRABS_MAX {
            return turn.fx.closes.push(self.id);
        }
        self.grabs.waiting.push_back(frame);
        if !self.grabs.is_asking() {
            self.begin_grab(turn);
        }
    }

    fn begin_grab(&mut self, turn: &mut Turn<'_>) {
        while !self.grabs.waiting.is_empty() {
            let was_woken = std::mem::replace(&mut self.rest, Rest::Awake) == Rest::Woken;
            if turn.crews.may_take(self.worker) {
                self.is_withheld = false;
                let next = self.order(was_woken, turn.now);
                turn.crews.ask(self.worker);
                if self.ask_next(next, turn) {
                    return;
                }
                turn.crews.asked(self.worker, turn.fx);
            } else {
                self.is_withheld = turn.crews.is_serving(self.worker);
            }
            self.grabs.waiting.pop_front();
            turn.fx.tell(self.id, Response::NoJob);
        }
    }

    /// The servers that are to be asked.
    fn order(&self, was_woken: bool, now: Instant) -> VecDeque<usize> {
        let count = self.lanes.len();
        let mut order: Vec<(Urgency, usize, usize)> = Vec::with_capacity(count);
        for step in 0..count {
            let server = (self.grabs.turn + step) % count;
            let Some(lane) = self.lanes.get(server) else { continue };
            let sleeps = was_woken && lane.rest == LaneRest::Asleep;
            if let Some(urgency) = lane.urgency(now).filter(|_| !sleeps) {
                order.push((urgency, step, server));
            }
        }
        order.sort_unstable();
        order.into_iter().map(|(_, _, server)| server).collect()
    }

    /// Asks the next server that can be asked; false when none is left.
    fn ask_next(&mut self, mut next: VecDeque<usize>, turn: &mut Turn<'_>) -> bool {
        self.grabs.asked = None;
        let Some(frame) = self.grabs.waiting.front() else { return false };
        while let Some(server) = next.pop_front() {
            if self.lanes.get(server).is_some_and(Lane::is_ready) {
                let packet = Packet::Frame(frame.clone());
                turn.fx.sends.push((Wire::Server(self.id, server), packet));
                self.grabs.asked = Some(Asked { server, until: turn.now + ANSWER_WITHIN, next });
                return true;
            }
        }
        false
    }

    /// A server has no job.
    pub(super) fn no_job(&mut self, server: usize, turn: &mut Turn<'_>) {
        if let Some(lane) = self.lanes.get_mut(server) {
            lane.had_none(turn.now);
        }
        self.ask_elsewhere(server, turn);
    }

    /// The question to this server is over, if there is one.
    pub(super) fn ask_elsewhere(&mut self, server: usize, turn: &mut Turn<'_>) {
        if !self.grabs.is_asked(server) {
            return;
        }
        let next = self.grabs.asked.take().map(|asked| asked.next).unwrap_or_default();
        if turn.crews.is_serving(self.worker) && self.ask_next(next, turn) {
            return;
        }
        self.grabs.waiting.pop_front();
        turn.fx.tell(self.id, Response::NoJob);
        turn.crews.asked(self.worker, turn.fx);
        if !turn.crews.is_serving(self.worker) {
            self.retire_at(server, turn);
        }
        self.begin_grab(turn);
    }

    /// A server gives a job.
    pub(super) fn assigned(&mut self, server: usize, frame: &Frame, turn: &mut Turn<'_>) {
        if !self.grabs.is_asked(server) {
            // It was not asked, or too long ago: ending the connection gives the job back.
            turn.fx.hangs.push((self.id, server));
            return self.lost(server, turn);
        }
        let Ok(Some(Response::JobAssign { handle, function, unique, payload, .. })) =
            Response::decode(frame.clone())
        else {
            turn.fx.hangs.push((self.id, server));
            return self.lost(server, turn);
        };
        // Kept while the job runs; slices would hold its payload too.
        let kept = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let function = FunctionName(kept(&function.0));
        let told = self.jobs.insert(Held {
            server,
            handle: kept(&handle),
            function: function.clone(),
            unique: Unique(unique.map_or_else(Bytes::new, |unique| kept(&unique.0))),
            since: turn.now,
            progress: None,
            payload_len: payload.len(),
            is_orphan: false,
        });
        let body = if told == handle {
            frame.body.clone()
        } else {
            let (_, rest) = split_handle(&frame.body);
            [&told[..], rest].concat().into()
        };
        let packet = Packet::Frame(Frame { body, ..*frame });
        turn.fx.sends.push((Wire::Worker(self.id), packet));
        if let Some(lane) = self.lanes.get_mut(server) {
            lane.had_one();
        }
        self.grabs.asked = None;
        self.grabs.waiting.pop_front();
        self.grabs.turn = (server + 1) % self.lanes.len();
        // In this order, so that the process is never taken for idle between the two.
        turn.crews.hold(turn.now, self.worker, &function);
        turn.crews.asked(self.worker, turn.fx);
        self.begin_grab(turn);
    }

    /// The worker goes to sleep.
    pub(super) fn pre_sleep(&mut self, turn: &mut Turn<'_>) {
        self.rest = Rest::Asleep;
        if !turn.crews.is_serving(self.worker) {
            return;
        }
        self.open_all(turn);
        // With its pool's max at work no server need call it; it hears when there is room.
        if self.is_withheld {
            return self.call(turn);
        }
        for server in 0..self.lanes.len() {
            let is_awake = |lane: &Lane| lane.is_ready() && lane.rest == LaneRest::Awake;
            if self.lanes.get(server).is_some_and(is_awake) {
                self.put_to_sleep(server, turn);
            }
        }
        self.call(turn);
    }

    pub(super) fn put_to_sleep(&mut self, server: usize, turn: &mut Turn<'_>) {
        if let Some(lane) = self.lanes.get_mut(server) {
            lane.rest = LaneRest::Asleep;
            turn.fx.ask(self.id, server, Request::PreSleep);
        }
    }

    /// Wakes the worker if it sleeps, may have a job, and somebody has called or room came about.
    pub(super) fn call(&mut self, turn: &mut Turn<'_>) {
        let is_called = self.lanes.iter().any(|lane| lane.rest == LaneRest::Called);
        if self.rest != Rest::Asleep || !(is_called || self.is_withheld) {
            return;
        }
        if turn.crews.may_take(self.worker) {
            self.rest = Rest::Woken;
            self.is_withheld = false;
            turn.fx.tell(self.id, Response::Noop);
        } else {
            self.is_withheld = turn.crews.is_serving(self.worker);
        }
    }

    /// A server did not answer in time.
    pub(super) fn grab_overdue(&mut self, turn: &mut Turn<'_>) {
        let Some(asked) = &self.grabs.asked else { return };
        if asked.until <= turn.now {
            let server = asked.server;
            turn.fx.hangs.push((self.id, server));
            self.lost(server, turn);
        }
    }
}
