//! Sessions: their answers in order, their options, their requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::functions::FunctionId;
use super::{Effects, Outgoing, State, Timer};
use crate::broker::record::ChangeSeq;
use crate::broker::{BrokerEvent, Peer};
use crate::model::{JobId, SessionId, WorkerId};
use crate::protocol::{
    CLIENT_ID_LEN_MAX, ErrorCode, GrabStyle, JobStatus, Kind, MalformedPacket, Request, Response,
};

/// How long a performer from a public listener is given no job while it is found out whose it is.
const IDENTITY_WAIT: Duration = Duration::from_millis(20);

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: Peer,
    pub(super) worker: Option<WorkerId>,
    pub(super) identity: Identity,
    /// What it performs, with the time that one job may take.
    pub(super) abilities: BTreeMap<FunctionId, Option<Duration>>,
    /// The function that it was given a job of last; the next turn begins after it.
    pub(super) turn: FunctionId,
    pub(super) answers: VecDeque<Answer>,
    /// Its place among the sleepers, while it waits for NOOP.
    pub(super) asleep: Option<u64>,
    /// Whether it was sent NOOP and has not grabbed since.
    pub(super) woken: bool,
    pub(super) client_id: Option<Bytes>,
    pub(super) exceptions: bool,
    pub(super) in_hand: BTreeSet<JobId>,
    pub(super) waits_for: BTreeSet<JobId>,
    /// Since when it has held no job.
    pub(super) closing: bool,
}

/// Whether it is known whose a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It performs nothing yet, or came from another host.
    Unasked,
    /// It was asked; the answer is due at this moment.
    Asked(Instant),
    /// It is known.
    Known,
}

/// A place in the order of a session's answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It can be sent.
    Ready(Outgoing),
    /// It can be sent once this change is durable.
    After(ChangeSeq, Outgoing),
    /// A GRAB_JOB that is answered once it is known whose the session is.
    Grab(GrabStyle),
}

impl State {
    pub(super) fn open(&mut self, id: SessionId, peer: Peer, worker: Option<WorkerId>) {
        let local = match &peer {
            Peer::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
            Peer::Unix { .. } => true,
        };
        let known = worker.is_some() || !local;
        let session = Session {
            peer,
            worker,
            identity: if known { Identity::Known } else { Identity::Unasked },
            abilities: BTreeMap::new(),
            turn: 0,
            answers: VecDeque::new(),
            asleep: None,
            woken: false,
            client_id: None,
            exceptions: false,
            in_hand: BTreeSet::new(),
            waits_for: BTreeSet::new(),
            closing: false,
        };
        self.sessions.insert(id, session);
        if let Some(worker) = worker.and_then(|worker| self.workers.get_mut(&worker)) {
            worker.sessions.insert(id);
        }
    }

    pub(super) fn request(
        &mut self,
        now: Instant,
        id: SessionId,
        request: Request,
        fx: &mut Effects,
    ) {
        match request {
            Request::CanDo { function, timeout } => self.can_do(now, id, &function, timeout, fx),
            Request::CantDo(function) => self.cant_do(id, &function),
            Request::ResetAbilities => self.reset_abilities(id),
            Request::PreSleep => self.sleep(now, id, fx),
            Request::Grab(style) => self.grab(now, id, style, fx),
            Request::Submit(submission) => self.submit(now, id, submission, fx),
            Request::Work { handle, report } => self.report(now, id, &handle, &report, fx),
            Request::GetStatus(handle) => {
                let status =
                    self.job_of(&handle).map_or_else(JobStatus::default, |job| self.status_of(job));
                self.answer(id, Response::Status { handle, status }, fx);
            }
            Request::GetStatusUnique(unique) => {
                let found = self.functions.uniques.iter().find(|((_, key), _)| key.0 == unique);
                let job = found.map(|(_, job)| *job);
                let status = job.map_or_else(JobStatus::default, |job| self.status_of(job));
                let clients =
                    job.and_then(|job| self.jobs.get(&job)).map_or(0, |job| job.clients.len());
                self.answer(id, Response::StatusUnique { unique, status, clients }, fx);
            }
            Request::Echo(data) => self.answer(id, Response::Echo(data), fx),
            Request::Option(name) => self.option(id, name, fx),
            Request::SetClientId(mut name) => {
                name.truncate(CLIENT_ID_LEN_MAX);
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.client_id = Some(name);
                }
            }
            Request::Unexpected(kind) => self.unexpected(id, kind, fx),
        }
    }

    fn option(&mut self, id: SessionId, name: Bytes, fx: &mut Effects) {
        if name.eq_ignore_ascii_case(b"exceptions") {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.exceptions = true;
            }
            self.answer(id, Response::Option(name), fx);
        } else {
            let text = "Server does not recognize given option";
            self.answer(id, Response::error(ErrorCode::UnknownOption, text), fx);
        }
    }

    fn unexpected(&mut self, id: SessionId, _kind: Kind, fx: &mut Effects) {
        self.answer(id, Response::error(ErrorCode::InvalidCommand, "Command not expected"), fx);
    }

    pub(super) fn malformed(&mut self, id: SessionId, error: MalformedPacket, fx: &mut Effects) {
        self.answer(id, Response::error(ErrorCode::InvalidPacket, error.to_string()), fx);
    }

    pub(super) fn wrong_magic(&mut self, id: SessionId, fx: &mut Effects) {
        self.answer(id, Response::error(ErrorCode::InvalidMagic, "Request magic expected"), fx);
    }

    pub(super) fn unreadable(&mut self, id: SessionId, reason: Option<String>, fx: &mut Effects) {
        if let Some(reason) = reason {
            self.answer(id, Response::error(ErrorCode::InvalidPacket, reason), fx);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.closing = true;
        }
        self.flush(id, fx);
    }

    /// Sends an answer in its turn.
    pub(super) fn answer(&mut self, id: SessionId, packet: Response, fx: &mut Effects) {
        self.answer_with(id, Answer::Ready(Outgoing::Packet(packet)), fx);
    }

    pub(super) fn answer_with(&mut self, id: SessionId, answer: Answer, fx: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.answers.push_back(answer);
        }
        self.flush(id, fx);
    }

    /// Sends the answers whose turn has come.
    pub(super) fn flush(&mut self, id: SessionId, fx: &mut Effects) {
        let durable = self.commits.settled();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        while let Some(answer) = session.answers.pop_front() {
            match answer {
                Answer::Ready(out) => fx.sends.push((id, out)),
                Answer::After(change, out) if change <= durable => fx.sends.push((id, out)),
                waiting @ (Answer::After(..) | Answer::Grab(_)) => {
                    session.answers.push_front(waiting);
                    return;
                }
            }
        }
        if session.closing {
            fx.closes.push(id);
        }
    }

    /// A session that begins to perform through a public listener: whose is it?
    pub(super) fn ask_identity(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.identity == Identity::Unasked {
            let until = now + IDENTITY_WAIT;
            session.identity = Identity::Asked(until);
            let peer = session.peer.clone();
            fx.events.push(BrokerEvent::Performer { session: id, peer });
            self.set_timer(until, Timer::Unknown(id));
        }
    }

    /// The answer to [`State::ask_identity`], or the end of waiting for it.
    pub(super) fn settle_identity(
        &mut self,
        now: Instant,
        id: SessionId,
        worker: Option<WorkerId>,
        fx: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Identity::Asked(until) = session.identity else { return };
        session.identity = Identity::Known;
        let grab = match session.answers.iter().position(|a| matches!(a, Answer::Grab(_))) {
            Some(at) => session.answers.get(at).cloned().map(|answer| (at, answer)),
            None => None,
        };
        self.timers.remove(&(until, Timer::Unknown(id)));
        self.join(id, worker, fx);
        if let Some((at, Answer::Grab(style))) = grab {
            let packet = self.assign_or_refuse(now, id, style, fx);
            let answers = self.sessions.get_mut(&id).map(|session| &mut session.answers);
            if let Some(place) = answers.and_then(|answers| answers.get_mut(at)) {
                *place = Answer::Ready(Outgoing::Packet(packet));
            }
            self.flush(id, fx);
        }
        self.wake_if_work(now, id, fx);
    }

    pub(super) fn close(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        self.leave_sleepers(id);
        let Some(session) = self.sessions.remove(&id) else { return };
        for function in session.abilities.keys() {
            if let Some(function) = self.functions.get_mut(*function) {
                function.performers.remove(&id);
            }
        }
        for job in &session.waits_for {
            self.client_left(*job, id, fx);
        }
        self.lose_jobs(now, id, &session, fx);
        if let Some(worker) = session.worker.and_then(|worker| self.workers.get_mut(&worker)) {
            worker.sessions.remove(&id);
        }
        if session.woken {
            // Whoever was woken in its place would have slept on.
            for function in session.abilities.keys() {
                self.wake_one(now, *function, fx);
            }
        }
    }

    /// A client that waited is gone. Nobody asks for a foreground job that nobody waits for.
    fn client_left(&mut self, id: JobId, client: SessionId, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.clients.retain(|other| *other != client);
        if job.clients.is_empty() && !job.background && matches!(job.phase, super::Phase::Ready) {
            self.remove_job(id, fx);
        }
    }
}
