//! One connection of a worker, and the connections to servers behind it.
//!
//! What a worker says of itself (CAN_DO and the like) is kept, since each server has to hear it,
//! also one that comes back after it was lost. What it asks of a server is in `grabs` (jobs to do)
//! `client` (jobs it submits) and `questions` (about jobs).

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use super::client::Client;
use super::crews::{Crews, End};
use super::effects::{Effects, Orphan, Packet, Wire};
use super::grabs::{ANSWER_WITHIN, Grabs};
use super::jobs::{Held, Jobs};
use super::lane::{Lane, LaneRest, LaneState};
use super::questions::Questions;
use crate::model::{FunctionName, SessionId, WorkerId};
use crate::protocol::{ErrorCode, Frame, Kind, Magic, Request, Response, WorkReport};

/// The first packet on each connection to a server; its answer is not for the worker.
const PROBE: &[u8] = b"gear-supervisor";

/// A worker's connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) worker: WorkerId,
    pub(super) lanes: Vec<Lane>,
    client_id: Option<Frame>,
    abilities: BTreeMap<FunctionName, Frame>,
    pub(super) rest: Rest,
    /// A call for jobs was kept from it, since its pool's max of workers holds some.
    pub(super) is_withheld: bool,
    pub(super) grabs: Grabs,
    pub(super) jobs: Jobs,
    pub(super) client: Client,
    pub(super) questions: Questions,
}

/// What the worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Awake,
    /// It said PRE_SLEEP.
    Asleep,
    /// It was sent a NOOP since.
    Woken,
}

/// What a session's rules need beside it.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) crews: &'a mut Crews,
    pub(super) fx: &'a mut Effects,
}

impl Session {
    pub(super) fn new(id: SessionId, worker: WorkerId, servers: usize) -> Self {
        Self {
            id,
            worker,
            lanes: vec![Lane::default(); servers],
            client_id: None,
            abilities: BTreeMap::new(),
            rest: Rest::Awake,
            is_withheld: false,
            grabs: Grabs::default(),
            jobs: Jobs::default(),
            client: Client::default(),
            questions: Questions::default(),
        }
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = &FunctionName> {
        self.abilities.keys()
    }

    pub(super) fn performs(&self) -> bool {
        !self.abilities.is_empty()
    }

    /// Whether more of what the worker sends is wanted.
    pub(super) fn has_room(&self) -> bool {
        self.client.has_room() && self.questions.has_room()
    }

    /// When a server has owed an answer for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.grabs.deadline(), self.questions.deadline()].into_iter().flatten().min()
    }

    /// What servers have said could not be read: the worker took nothing. They have their time anew.
    pub(super) fn allow(&mut self, turn: &Turn<'_>) {
        let until = turn.now + ANSWER_WITHIN;
        self.grabs.allow(until);
        self.questions.allow(until);
    }

    /// Servers did not answer in time.
    pub(super) fn overdue(&mut self, turn: &mut Turn<'_>) {
        self.grab_overdue(turn);
        self.questions_overdue(turn);
    }

    /// Takes a packet from the worker.
    pub(super) fn packet(&mut self, frame: Frame, turn: &mut Turn<'_>) {
        if frame.magic == Magic::Response {
            return turn.fx.closes.push(self.id);
        }
        match frame.kind {
            Kind::GrabJob | Kind::GrabJobUniq | Kind::GrabJobAll => self.grab(frame, turn),
            Kind::PreSleep => self.pre_sleep(turn),
            Kind::WorkData
            | Kind::WorkWarning
            | Kind::WorkStatus
            | Kind::WorkComplete
            | Kind::WorkFail
            | Kind::WorkException => self.report(&frame, turn),
            Kind::CanDo | Kind::CanDoTimeout => self.can_do(&frame, turn),
            Kind::CantDo => {
                if let Ok(Request::CantDo(function)) = Request::decode(frame.clone()) {
                    self.abilities.remove(&function);
                }
                self.tell_all(&frame, turn);
            }
            Kind::ResetAbilities => {
                self.abilities.clear();
                self.tell_all(&frame, turn);
            }
            Kind::SetClientId => {
                self.tell_all(&frame, turn);
                self.client_id = Some(frame);
            }
            // AllYours asks for nothing, and the rest is judged by the server.
            _ => self.submit(frame, turn),
        }
    }

    /// Takes a packet from a server.
    pub(super) fn received(&mut self, server: usize, frame: Frame, turn: &mut Turn<'_>) {
        let Some(lane) = self.lanes.get_mut(server) else { return };
        match frame.kind {
            Kind::EchoRes if lane.state == LaneState::Probing => self.lane_ready(server, turn),
            Kind::Noop => {
                lane.rest = LaneRest::Called;
                self.call(turn);
            }
            Kind::NoJob => self.no_job(server, turn),
            Kind::JobAssign | Kind::JobAssignUniq | Kind::JobAssignAll => {
                self.assigned(server, &frame, turn);
            }
            _ => self.answered(server, frame, turn),
        }
    }

    /// A connection to a server stands.
    pub(super) fn connected(&mut self, server: usize, turn: &mut Turn<'_>) {
        if let Some(lane) = self.lanes.get_mut(server) {
            lane.state = LaneState::Probing;
            turn.fx.ask(self.id, server, Request::Echo(Bytes::from_static(PROBE)));
        }
    }

    /// A connection to a server ended, and is tried again.
    pub(super) fn lost(&mut self, server: usize, turn: &mut Turn<'_>) {
        let Some(lane) = self.lanes.get_mut(server) else { return };
        lane.dial_again();
        for handle in self.jobs.orphan(server) {
            let handle = String::from_utf8_lossy(&handle).into_owned();
            let worker = self.worker;
            turn.fx.orphans.push(Orphan { worker, handle, server });
        }
        self.question_lost(server, turn);
        self.client_lost(server, turn);
        self.ask_elsewhere(server, turn);
    }

    /// Opens connections to all servers: it is to be given jobs of each.
    pub(super) fn open_all(&mut self, turn: &mut Turn<'_>) {
        for server in 0..self.lanes.len() {
            self.open(server, turn);
        }
    }

    pub(super) fn open(&mut self, server: usize, turn: &mut Turn<'_>) {
        if let Some(lane) = self.lanes.get_mut(server)
            && lane.state == LaneState::Closed
        {
            lane.dial();
            turn.fx.opens.push((self.id, server));
        }
    }

    /// Its process is to stop: servers that gave it no job forget what it can do, so that none
    /// waits for it to wake up.
    pub(super) fn retire(&mut self, turn: &mut Turn<'_>) {
        for server in 0..self.lanes.len() {
            self.retire_at(server, turn);
        }
    }

    /// gearmand takes no result of a function that was taken back before, so a job in hand there
    /// has to be over, and one asked for refused.
    pub(super) fn retire_at(&mut self, server: usize, turn: &mut Turn<'_>) {
        let is_ready = self.lanes.get(server).is_some_and(Lane::is_ready);
        let is_in_use = self.jobs.any_at(server) || self.grabs.is_asked(server);
        if is_ready && self.performs() && !is_in_use {
            turn.fx.ask(self.id, server, Request::ResetAbilities);
        }
    }

    /// A server answers: it is told what the worker told before.
    fn lane_ready(&mut self, server: usize, turn: &mut Turn<'_>) {
        let (is_serving, is_asleep) =
            (turn.crews.is_serving(self.worker), self.rest == Rest::Asleep);
        let Some(lane) = self.lanes.get_mut(server) else { return };
        lane.state = LaneState::Ready;
        lane.is_lost = false;
        let wire = Wire::Server(self.id, server);
        let told = self.client_id.iter().chain(self.abilities.values().filter(|_| is_serving));
        turn.fx.sends.extend(told.map(|frame| (wire, Packet::Frame(frame.clone()))));
        if is_asleep && is_serving && self.performs() {
            self.put_to_sleep(server, turn);
        }
        self.client_ready(server, turn);
        self.question_ready(server, turn);
    }

    fn can_do(&mut self, frame: &Frame, turn: &mut Turn<'_>) {
        let Ok(Request::CanDo { function, .. }) = Request::decode(frame.clone()) else {
            return turn.fx.closes.push(self.id);
        };
        // Kept for as long as the connection lives; the packet is a part of the read buffer.
        let name = FunctionName(Bytes::copy_from_slice(&function.0));
        let frame = Frame { body: Bytes::copy_from_slice(&frame.body), ..*frame };
        turn.crews.registered(turn.now, self.worker, turn.fx);
        self.abilities.insert(name, frame.clone());
        self.open_all(turn);
        if turn.crews.is_serving(self.worker) {
            self.tell_all(&frame, turn);
        }
        // Jobs of this function may wait, and gearmand calls nobody for it who sleeps already.
        for server in 0..self.lanes.len() {
            let is_asleep = self.lanes.get(server).is_some_and(|l| l.rest == LaneRest::Asleep);
            if is_asleep && self.rest == Rest::Asleep {
                self.put_to_sleep(server, turn);
            }
        }
    }

    fn tell_all(&mut self, frame: &Frame, turn: &mut Turn<'_>) {
        for (server, lane) in self.lanes.iter().enumerate() {
            if lane.is_ready() {
                let wire = Wire::Server(self.id, server);
                turn.fx.sends.push((wire, Packet::Frame(frame.clone())));
            }
        }
    }

    /// The worker reports on a job.
    fn report(&mut self, frame: &Frame, turn: &mut Turn<'_>) {
        let (handle, rest) = split_handle(&frame.body);
        let Some(held) = self.jobs.get_mut(handle) else {
            let text = "Job given in work result not found";
            return turn.fx.tell(self.id, Response::error(ErrorCode::JobNotFound, text));
        };
        let ends = matches!(frame.kind, Kind::WorkComplete | Kind::WorkFail | Kind::WorkException);
        if frame.kind == Kind::WorkStatus
            && let Ok(Request::Work {
                report: WorkReport::Status { numerator, denominator }, ..
            }) = Request::decode(frame.clone())
        {
            held.progress = number(&numerator).zip(number(&denominator));
        }
        let wire = Wire::Server(self.id, held.server);
        if !held.is_orphan {
            let body = if handle == &held.handle[..] {
                frame.body.clone()
            } else {
                [&held.handle[..], rest].concat().into()
            };
            turn.fx.sends.push((wire, Packet::Frame(Frame { body, ..*frame })));
        }
        if ends {
            let handle = Bytes::copy_from_slice(handle);
            let is_complete = frame.kind == Kind::WorkComplete;
            self.end_job(&handle, if is_complete { End::Completed } else { End::Failed }, turn);
        }
    }

    fn end_job(&mut self, handle: &[u8], end: End, turn: &mut Turn<'_>) {
        let Some(Held { server, function, is_orphan, .. }) = self.jobs.remove(handle) else {
            return;
        };
        let end = if is_orphan { End::GivenBack } else { end };
        turn.crews.let_go(turn.now, self.worker, (&function, end), turn.fx);
        if !turn.crews.is_serving(self.worker) {
            self.retire_at(server, turn);
        }
    }

    /// The worker has gone: its servers give its jobs to others once they see its connections end.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>) {
        for held in self.jobs.take_all() {
            turn.crews.let_go(turn.now, self.worker, (&held.function, End::GivenBack), turn.fx);
        }
        if self.grabs.is_asking() {
            turn.crews.asked(self.worker, turn.fx);
        }
        if let Some(process) = turn.crews.processes.get_mut(&self.worker) {
            process.sessions.remove(&self.id);
        }
    }

    /// Makes libgearman's worker return from its wait: it does so at any packet but a NOOP.
    pub(super) fn nudge(&self, fx: &mut Effects) {
        if self.rest == Rest::Asleep && self.performs() {
            fx.tell(self.id, Response::error(ErrorCode::Shutdown, "this worker is being stopped"));
        }
    }
}

/// The handle that a WORK_* packet begins with, and the rest with its NUL.
pub(super) fn split_handle(body: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(0, body).unwrap_or(body.len());
    body.split_at_checked(end).unwrap_or((body, b""))
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}
