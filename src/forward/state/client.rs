//! What a worker asks for as a client: jobs that it submits, and questions about them.
//!
//! All but questions about jobs (`questions`) goes to one server, the first that is there; another
//! follows when that is lost. What
//! was under way then is over: who only submits loses its connection, as it would without us, and
//! its library knows what to do; who performs too is told that its jobs failed.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::effects::{Packet, Wire};
use super::lane::{Lane, LaneState};
use super::questions::is_question;
use super::session::{Session, Turn, split_handle};
use crate::protocol::{ErrorCode, Frame, HEADER_LEN, Kind, Response, WorkReport};

/// Bytes that may wait for a server before the worker is read no further.
const WAITING_LEN_MAX: usize = 1 << 20;
/// Options that are told anew to another server; there are two.
const OPTIONS_MAX: usize = 16;

/// The client's side of a session.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Who is asked; `None` when nobody is yet, or it was lost.
    server: Option<usize>,
    /// What came while no server was there.
    waiting: VecDeque<Packet>,
    waiting_len: usize,
    /// Servers that could not be reached while something waited.
    refused: BTreeSet<usize>,
    /// Requests without an answer so far, in their order.
    pending: VecDeque<Pending>,
    /// Jobs whose results are waited for, and by how many submissions.
    awaited: HashMap<Bytes, usize>,
    options: Vec<Frame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Foreground,
    Background,
    Question,
    Option,
    /// An option that is told again: the answer is not for the worker.
    OptionAgain,
}

impl Client {
    /// Whether more of what the worker sends is wanted.
    pub(super) fn has_room(&self) -> bool {
        self.waiting_len < WAITING_LEN_MAX
    }

    /// Whether an answer of this server may be to a request that went to it alone.
    pub(super) fn expects(&self, server: usize) -> bool {
        self.server == Some(server) && !self.pending.is_empty()
    }

    fn take_pending(&mut self, is_it: impl Fn(Pending) -> bool) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| is_it(*pending))?;
        self.pending.remove(at)
    }
}

impl Session {
    /// Takes a request that is no performer's.
    pub(super) fn submit(&mut self, frame: Frame, turn: &mut Turn<'_>) {
        if self.lanes.len() > 1 && is_question(&frame) {
            return self.ask_all(&frame, turn);
        }
        self.request(Packet::Frame(frame), turn);
    }

    /// Takes a text command.
    pub(super) fn line(&mut self, line: Bytes, turn: &mut Turn<'_>) {
        self.request(Packet::Text(line), turn);
    }

    fn request(&mut self, packet: Packet, turn: &mut Turn<'_>) {
        if self.client.server.is_none() {
            self.choose(turn);
        }
        if let Some(server) = self.client.server {
            return self.send(server, packet, turn);
        }
        self.client.waiting_len += len(&packet);
        self.client.waiting.push_back(packet);
        self.seek(turn);
    }

    /// Takes the first server that is there.
    fn choose(&mut self, turn: &mut Turn<'_>) {
        let Some(server) = self.lanes.iter().position(Lane::is_ready) else { return };
        self.client.server = Some(server);
        self.client.refused.clear();
        for frame in self.client.options.clone() {
            let wire = Wire::Server(self.id, server);
            turn.fx.sends.push((wire, Packet::Frame(frame)));
            self.client.pending.push_back(Pending::OptionAgain);
        }
    }

    /// Has one more server dialled unless one is on its way; with none left it is over.
    fn seek(&mut self, turn: &mut Turn<'_>) {
        let mut left = (0..self.lanes.len()).filter(|server| !self.client.refused.contains(server));
        let mut hopeful = left.clone().filter_map(|server| self.lanes.get(server));
        if hopeful.any(|lane| lane.state != LaneState::Closed) {
            return;
        }
        match left.next() {
            Some(server) => self.open(server, turn),
            None => self.refuse_all("no Gearman server can be reached", turn),
        }
    }

    fn send(&mut self, server: usize, packet: Packet, turn: &mut Turn<'_>) {
        if let Packet::Frame(frame) = &packet {
            self.client.pending.extend(expected(frame.kind));
            if frame.kind == Kind::OptionReq && self.client.options.len() < OPTIONS_MAX {
                let body = Bytes::copy_from_slice(&frame.body);
                self.client.options.push(Frame { body, ..*frame });
            }
        }
        turn.fx.sends.push((Wire::Server(self.id, server), packet));
    }

    /// A server answers: what waited for one goes there.
    pub(super) fn client_ready(&mut self, server: usize, turn: &mut Turn<'_>) {
        self.client.refused.remove(&server);
        if self.client.waiting.is_empty() {
            return;
        }
        self.choose(turn);
        let Some(server) = self.client.server else { return };
        self.client.waiting_len = 0;
        for packet in std::mem::take(&mut self.client.waiting) {
            self.send(server, packet, turn);
        }
    }

    /// A try to reach a server failed.
    pub(super) fn unreachable(&mut self, server: usize, turn: &mut Turn<'_>) {
        self.question_lost(server, turn);
        if let Some(lane) = self.lanes.get_mut(server) {
            lane.dial_again();
        }
        if !self.client.waiting.is_empty() {
            self.client.refused.insert(server);
            self.seek(turn);
        }
    }

    /// The connection to a server ended.
    pub(super) fn client_lost(&mut self, server: usize, turn: &mut Turn<'_>) {
        if !self.client.waiting.is_empty() {
            return self.unreachable(server, turn);
        }
        if self.client.server != Some(server) {
            return;
        }
        self.client.server = None;
        self.client.pending.retain(|pending| *pending != Pending::OptionAgain);
        if !self.client.pending.is_empty() || !self.client.awaited.is_empty() {
            self.refuse_all("the Gearman server was lost", turn);
        }
    }

    /// Ends all that is under way.
    fn refuse_all(&mut self, why: &'static str, turn: &mut Turn<'_>) {
        let client = &mut self.client;
        client.refused.clear();
        client.waiting_len = 0;
        let waiting = std::mem::take(&mut client.waiting);
        let expected = waiting.iter().filter_map(|packet| match packet {
            Packet::Frame(frame) => expected(frame.kind),
            Packet::Text(_) => Some(Pending::Question),
            Packet::Request(_) | Packet::Response(_) => None,
        });
        let unanswered = client.pending.drain(..).chain(expected).count();
        let awaited = std::mem::take(&mut client.awaited);
        if !self.performs() {
            return turn.fx.closes.push(self.id);
        }
        for _ in 0..unanswered {
            turn.fx.tell(self.id, Response::error(ErrorCode::QueueError, why));
        }
        for (handle, _) in awaited {
            turn.fx.tell(self.id, Response::Work { handle, report: WorkReport::Fail });
        }
    }

    /// A server answers a request, or tells of a job.
    pub(super) fn answered(&mut self, server: usize, frame: Frame, turn: &mut Turn<'_>) {
        if self.question_answered(server, &frame, turn) {
            return;
        }
        let client = &mut self.client;
        let is_heard = match frame.kind {
            Kind::JobCreated => {
                let is_submit = |it| matches!(it, Pending::Foreground | Pending::Background);
                if client.take_pending(is_submit) == Some(Pending::Foreground) {
                    let handle = Bytes::copy_from_slice(&frame.body);
                    *client.awaited.entry(handle).or_default() += 1;
                }
                true
            }
            Kind::WorkComplete | Kind::WorkFail | Kind::WorkException => {
                let (handle, _) = split_handle(&frame.body);
                match client.awaited.get_mut(handle) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => drop(client.awaited.remove(handle)),
                }
                true
            }
            Kind::EchoRes | Kind::StatusRes | Kind::StatusResUnique => {
                client.take_pending(|it| it == Pending::Question);
                true
            }
            Kind::OptionRes => {
                let is_option = |it| matches!(it, Pending::Option | Pending::OptionAgain);
                client.take_pending(is_option) != Some(Pending::OptionAgain)
            }
            // One about a job's report answers no request.
            Kind::Error if !is_about_report(&frame.body) => {
                client.pending.pop_front() != Some(Pending::OptionAgain)
            }
            _ => true,
        };
        if is_heard {
            turn.fx.sends.push((Wire::Worker(self.id), Packet::Frame(frame)));
        }
    }
}

/// What a request is answered by; `None`: by nothing.
fn expected(kind: Kind) -> Option<Pending> {
    match kind {
        Kind::SubmitJob | Kind::SubmitJobHigh | Kind::SubmitJobLow | Kind::SubmitReduceJob => {
            Some(Pending::Foreground)
        }
        Kind::SubmitJobBg
        | Kind::SubmitJobHighBg
        | Kind::SubmitJobLowBg
        | Kind::SubmitJobEpoch
        | Kind::SubmitJobSched
        | Kind::SubmitReduceJobBackground => Some(Pending::Background),
        Kind::GetStatus | Kind::GetStatusUnique | Kind::EchoReq => Some(Pending::Question),
        Kind::OptionReq => Some(Pending::Option),
        _ => None,
    }
}

/// Whether an error is about the report of a job, which nobody waits for an answer to.
pub(super) fn is_about_report(body: &[u8]) -> bool {
    body.starts_with(ErrorCode::JobNotFound.as_str().as_bytes())
}

fn len(packet: &Packet) -> usize {
    match packet {
        Packet::Frame(frame) => HEADER_LEN + frame.body.len(),
        Packet::Text(text) => text.len(),
        Packet::Request(_) | Packet::Response(_) => HEADER_LEN,
    }
}
