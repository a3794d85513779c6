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

/// The questions of a session, by number in their order.
///
/// A packet touches the one that it answers, and no other: a thousand may wait.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<u64, Question>,
    last: u64,
    /// What each server owes an answer to, in the order in which it was asked and will answer.
    owed: BTreeMap<usize, VecDeque<Owed>>,
    unanswered: usize,
}

#[derive(Debug)]
struct Question {
    frame: Frame,
    /// Servers that are asked once they are there.
    unasked: BTreeSet<usize>,
    /// How many servers owe an answer.
    owing: usize,
    /// What a server said that does not know the job.
    unknown: Option<Frame>,
    is_answered: bool,
}

/// An answer that a server owes.
#[derive(Clone, Copy, Debug)]
struct Owed {
    question: u64,
    until: Instant,
}

impl Questions {
    pub(super) fn has_room(&self) -> bool {
        let count = self.open.len();
        count < QUESTIONS_MAX || (count < KEPT_MAX && self.unanswered < QUESTIONS_MAX)
    }

    /// When the first answer is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.first_owed().map(|(_, owed)| owed.until).min()
    }

    /// Has servers owe their answers for longer.
    pub(super) fn allow(&mut self, until: Instant) {
        for owed in self.owed.values_mut().flatten() {
            owed.until = until;
        }
    }

    fn first_owed(&self) -> impl Iterator<Item = (usize, &Owed)> {
        self.owed.iter().filter_map(|(server, owed)| Some((*server, owed.front()?)))
    }

    fn add(&mut self, frame: Frame, unasked: BTreeSet<usize>) -> u64 {
        self.last += 1;
        let question = Question { frame, unasked, owing: 0, unknown: None, is_answered: false };
        self.open.insert(self.last, question);
        self.unanswered += 1;
        self.last
    }

    /// A server has been asked.
    fn asked(&mut self, question: u64, server: usize, until: Instant) {
        if let Some(asked) = self.open.get_mut(&question) {
            asked.owing += 1;
            self.owed.entry(server).or_default().push_back(Owed { question, until });
        }
    }

    /// The number of the question that this packet of a server answers, if it answers one; the
    /// server owes it no longer.
    fn take_answered(&mut self, server: usize, frame: &Frame) -> Option<u64> {
        let owed = self.owed.get_mut(&server)?;
        let number = owed.front()?.question;
        let question = self.open.get_mut(&number)?;
        let is_answer = match frame.kind {
            Kind::StatusRes => question.frame.kind == Kind::GetStatus,
            Kind::StatusResUnique => question.frame.kind == Kind::GetStatusUnique,
            // Not one about the report of a job, which answers nothing.
            _ => frame.kind == Kind::Error && !is_about_report(&frame.body),
        };
        if !is_answer {
            return None;
        }
        owed.pop_front();
        question.owing -= 1;
        Some(number)
    }

    /// Takes a server out of all questions; returns those that it leaves.
    fn take_out(&mut self, server: usize) -> BTreeSet<u64> {
        let owed = self.owed.remove(&server).unwrap_or_default();
        let mut left: BTreeSet<_> = owed.iter().map(|owed| owed.question).collect();
        for (number, question) in &mut self.open {
            question.owing -= usize::from(left.contains(number));
            if question.unasked.remove(&server) {
                left.insert(*number);
            }
        }
        left
    }

    fn answer(&mut self, number: u64) {
        if let Some(question) = self.open.get_mut(&number)
            && !std::mem::replace(&mut question.is_answered, true)
        {
            question.unasked.clear();
            self.unanswered -= 1;
        }
    }

    /// Takes a question that nobody owes an answer to any more.
    fn take_over(&mut self, number: u64) -> Option<Question> {
        let question = self.open.get(&number)?;
        if question.owing > 0 || !question.unasked.is_empty() {
            return None;
        }
        let question = self.open.remove(&number)?;
        self.unanswered -= usize::from(!question.is_answered);
        Some(question)
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
        let (mut asked, mut unasked) = (Vec::new(), BTreeSet::new());
        for server in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get(server) else { continue };
            match lane.state {
                LaneState::Ready => asked.push(server),
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
        let number = self.questions.add(frame.clone(), unasked);
        for server in asked {
            self.put(number, server, frame.clone(), turn);
        }
    }

    /// Puts a question to a server.
    fn put(&mut self, number: u64, server: usize, frame: Frame, turn: &mut Turn<'_>) {
        turn.fx.sends.push((Wire::Server(self.id, server), Packet::Frame(frame)));
        self.questions.asked(number, server, turn.now + ANSWER_WITHIN);
    }

    /// A server is there: it is asked what waits for it.
    pub(super) fn question_ready(&mut self, server: usize, turn: &mut Turn<'_>) {
        let open = self.questions.open.iter_mut();
        let waiting: Vec<_> = open
            .filter_map(|(number, question)| {
                question.unasked.remove(&server).then(|| (*number, question.frame.clone()))
            })
            .collect();
        for (number, frame) in waiting {
            self.put(number, server, frame, turn);
        }
    }

    /// A server will not answer.
    pub(super) fn question_lost(&mut self, server: usize, turn: &mut Turn<'_>) {
        for number in self.questions.take_out(server) {
            self.settle_question(number, turn);
        }
    }

    /// Drops servers that did not answer in time; the client gets what the others said.
    pub(super) fn questions_overdue(&mut self, turn: &mut Turn<'_>) {
        let owed = self.questions.first_owed().filter(|(_, owed)| owed.until <= turn.now);
        let silent: Vec<_> = owed.map(|(server, _)| server).collect();
        for server in silent {
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
        let Some(number) = self.questions.take_answered(server, frame) else { return false };
        let Some(question) = self.questions.open.get_mut(&number) else { return false };
        if is_status && is_known(&frame.body) && !question.is_answered {
            self.questions.answer(number);
            turn.fx.sends.push((Wire::Worker(self.id), Packet::Frame(frame.clone())));
        } else if is_status || question.unknown.is_none() {
            question.unknown = Some(owned(frame));
        }
        self.settle_question(number, turn);
        true
    }

    /// Once nobody can answer a question better: says what was said to it, and forgets it.
    fn settle_question(&mut self, number: u64, turn: &mut Turn<'_>) {
        let Some(question) = self.questions.take_over(number) else { return };
        if question.is_answered {
            return;
        }
        match question.unknown {
            Some(frame) => turn.fx.sends.push((Wire::Worker(self.id), Packet::Frame(frame))),
            None if self.performs() => {
                let why = "no Gearman server can be reached";
                turn.fx.tell(self.id, Response::error(ErrorCode::QueueError, why));
            }
            None => turn.fx.closes.push(self.id),
        }
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
