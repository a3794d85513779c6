//! Questions about jobs: put to every server, since any of them may have the job, and answered once,
//! by one that knows it or, when none does, by one that does not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::client::is_about_report;
use super::effects::{Packet, Wire};
use super::grabs::ANSWER_WITHIN;
use super::lane::{Lane, LaneState};
use super::session::{Session, Turn};
use crate::protocol::{ErrorCode, Frame, Kind, Response};

/// Questions without an answer before the worker is read no further.
const QUESTIONS_MAX: usize = 1024;
/// The same with those that are answered while another server owes its answer still: what a busy
/// client asks while one server is silent must not be kept without bound.
const KEPT_MAX: usize = 2 * QUESTIONS_MAX;

/// The questions of a session, in their order.
#[derive(Debug, Default)]
pub(super) struct Questions(VecDeque<Question>);

#[derive(Debug)]
struct Question {
    frame: Frame,
    /// Servers that are asked once they are there.
    unasked: BTreeSet<usize>,
    /// Servers that owe an answer, and until when; each answers in the order in which it was asked.
    asked: BTreeMap<usize, Instant>,
    /// What a server said that does not know the job.
    unknown: Option<Frame>,
    is_answered: bool,
}

impl Questions {
    pub(super) fn has_room(&self) -> bool {
        let unanswered = || self.0.iter().filter(|question| !question.is_answered).count();
        self.0.len() < QUESTIONS_MAX || (self.0.len() < KEPT_MAX && unanswered() < QUESTIONS_MAX)
    }

    /// When the first answer is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().flat_map(|question| question.asked.values()).min().copied()
    }

    /// Servers that owe an answer for too long.
    fn silent(&self, now: Instant) -> BTreeSet<usize> {
        let owed = self.0.iter().flat_map(|question| &question.asked);
        owed.filter(|(_, until)| **until <= now).map(|(server, _)| *server).collect()
    }

    /// The question that this packet of a server answers, if it answers one.
    fn answered_by(&mut self, server: usize, frame: &Frame) -> Option<&mut Question> {
        let first = self.0.iter_mut().find(|question| question.asked.contains_key(&server))?;
        let is_answer = match frame.kind {
            Kind::StatusRes => first.frame.kind == Kind::GetStatus,
            Kind::StatusResUnique => first.frame.kind == Kind::GetStatusUnique,
            // Not one about the report of a job, which answers nothing.
            _ => frame.kind == Kind::Error && !is_about_report(&frame.body),
        };
        is_answer.then_some(first)
    }
}

/// Whether it is a question for all servers.
pub(super) fn is_question(frame: &Frame) -> bool {
    matches!(frame.kind, Kind::GetStatus | Kind::GetStatusUnique)
}

impl Session {
    /// Asks every server. One that was lost is waited for only when no other one is there.
    pub(super) fn ask_all(&mut self, frame: &Frame, turn: &mut Turn<'_>) {
        let frame = owned(frame);
        let any_ready = self.lanes.iter().any(Lane::is_ready);
        let (mut asked, mut unasked) = (BTreeMap::new(), BTreeSet::new());
        for server in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get(server) else { continue };
            match lane.state {
                LaneState::Ready => {
                    let wire = Wire::Server(self.id, server);
                    turn.fx.sends.push((wire, Packet::Frame(frame.clone())));
                    asked.insert(server, turn.now + ANSWER_WITHIN);
                }
                LaneState::Closed => {
                    self.open(server, turn);
                    unasked.insert(server);
                }
                LaneState::Dialling | LaneState::Probing if lane.is_lost && any_ready => {}
                LaneState::Dialling | LaneState::Probing => {
                    unasked.insert(server);
                }
            }
        }
        let question = Question { frame, unasked, asked, unknown: None, is_answered: false };
        self.questions.0.push_back(question);
    }

    /// A server is there: it is asked what waits for it.
    pub(super) fn question_ready(&mut self, server: usize, turn: &mut Turn<'_>) {
        for question in &mut self.questions.0 {
            if question.unasked.remove(&server) {
                question.asked.insert(server, turn.now + ANSWER_WITHIN);
                let wire = Wire::Server(self.id, server);
                turn.fx.sends.push((wire, Packet::Frame(question.frame.clone())));
            }
        }
    }

    /// A server will not answer.
    pub(super) fn question_lost(&mut self, server: usize, turn: &mut Turn<'_>) {
        for question in &mut self.questions.0 {
            question.asked.remove(&server);
            question.unasked.remove(&server);
        }
        self.settle_questions(turn);
    }

    /// Drops servers that did not answer in time; the client gets what the others said.
    pub(super) fn questions_overdue(&mut self, turn: &mut Turn<'_>) {
        for server in self.questions.silent(turn.now) {
            turn.fx.hangs.push((self.id, server));
            self.lost(server, turn);
        }
    }

    /// Takes what a server answers to a question; `false`: it answers something else.
    pub(super) fn question_answered(
        &mut self,
        server: usize,
        frame: &Frame,
        turn: &mut Turn<'_>,
    ) -> bool {
        let is_status = frame.kind != Kind::Error;
        // An error may be about a request that went to this server alone.
        if !is_status && self.client.expects(server) {
            return false;
        }
        let Some(question) = self.questions.answered_by(server, frame) else { return false };
        question.asked.remove(&server);
        if is_status && is_known(&frame.body) && !question.is_answered {
            question.is_answered = true;
            question.unasked.clear();
            turn.fx.sends.push((Wire::Worker(self.id), Packet::Frame(frame.clone())));
        } else if is_status || question.unknown.is_none() {
            question.unknown = Some(owned(frame));
        }
        self.settle_questions(turn);
        true
    }

    /// Answers what nobody can answer better, and forgets what is over.
    fn settle_questions(&mut self, turn: &mut Turn<'_>) {
        let performs = self.performs();
        let id = self.id;
        self.questions.0.retain_mut(|question| {
            if !question.asked.is_empty() || !question.unasked.is_empty() {
                return true;
            }
            match question.unknown.take().filter(|_| !question.is_answered) {
                Some(frame) => turn.fx.sends.push((Wire::Worker(id), Packet::Frame(frame))),
                None if question.is_answered => {}
                None if performs => {
                    let why = "no Gearman server can be reached";
                    turn.fx.tell(id, Response::error(ErrorCode::QueueError, why));
                }
                None => turn.fx.closes.push(id),
            }
            false
        });
    }
}

/// What is kept; a packet is a part of the read buffer.
fn owned(frame: &Frame) -> Frame {
    Frame { body: Bytes::copy_from_slice(&frame.body), ..*frame }
}

/// Behind the handle or the unique stands whether the server knows the job.
fn is_known(body: &[u8]) -> bool {
    body.split(|byte| *byte == 0).nth(1) == Some(b"1")
}
