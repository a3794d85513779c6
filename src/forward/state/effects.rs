//! What goes into the rules, and what comes out of them.

use bytes::Bytes;

use crate::model::{SessionId, WorkerId};
use crate::protocol::{Frame, Request, Response};

/// One socket: a worker's, or one of those to servers that stand behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wire {
    /// To the worker.
    Worker(SessionId),
    /// To a server, by its place in the file, on behalf of a session.
    Server(SessionId, usize),
}

impl Wire {
    /// The session it belongs to.
    pub fn session(self) -> SessionId {
        match self {
            Self::Worker(session) | Self::Server(session, _) => session,
        }
    }
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// A worker process has connected.
    Opened {
        /// Its process.
        worker: WorkerId,
    },
    /// It sent a packet.
    Packet(Frame),
    /// It sent a text command, with its line end.
    Line(Bytes),
    /// Its connection ended.
    Closed,
    /// A connection to a server stands.
    Connected {
        /// Which.
        server: usize,
    },
    /// A server sent a packet.
    Received {
        /// Which.
        server: usize,
        /// What.
        frame: Frame,
    },
    /// A server sent text, with its line ends.
    Text {
        /// Which.
        server: usize,
        /// What.
        text: Bytes,
    },
    /// A connection to a server ended; it is tried again.
    Lost {
        /// Which.
        server: usize,
    },
    /// A try to connect to a server failed; it is tried again.
    Unreachable {
        /// Which.
        server: usize,
    },
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A packet as it came.
    Frame(Frame),
    /// One of our own to a server.
    Request(Request),
    /// One of our own to a worker.
    Response(Response),
    /// Text as it came.
    Text(Bytes),
}

/// A job whose server was lost while a worker of ours had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The process.
    pub worker: WorkerId,
    /// The job.
    pub handle: String,
    /// Its server.
    pub server: usize,
}

/// News for the pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A process registered its first function.
    Registered(WorkerId),
    /// A process that somebody waits for has ended a job.
    JobEnded {
        /// The process.
        worker: WorkerId,
        /// Whether it completed the job.
        well: bool,
    },
}

/// What is to be done; carried out in the order of the fields.
#[derive(Debug, Default)]
pub struct Effects {
    /// Packets, in the order of each wire.
    pub sends: Vec<(Wire, Packet)>,
    /// Connections to servers that are wanted from now on.
    pub opens: Vec<(SessionId, usize)>,
    /// Connections to servers that are to be dropped at once; they are wanted still.
    pub hangs: Vec<(SessionId, usize)>,
    /// Sessions that are to end once what is owed to the worker has been sent.
    pub closes: Vec<SessionId>,
    /// Sessions of which more is wanted again, see [`super::State::has_room`].
    pub resumes: Vec<SessionId>,
    /// News.
    pub news: Vec<News>,
    /// Jobs whose servers were lost.
    pub orphans: Vec<Orphan>,
    /// Processes for which no server is asked any more: whether they are idle can be told.
    pub settled: Vec<WorkerId>,
    /// Draining processes that hold no job any more.
    pub drained: Vec<WorkerId>,
}

impl Effects {
    /// Sends a packet of ours to the worker of a session.
    pub(super) fn tell(&mut self, session: SessionId, response: Response) {
        self.sends.push((Wire::Worker(session), Packet::Response(response)));
    }

    /// Sends a packet of ours to a server.
    pub(super) fn ask(&mut self, session: SessionId, server: usize, request: Request) {
        self.sends.push((Wire::Server(session, server), Packet::Request(request)));
    }

    /// True when nothing is left to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { sends, opens, hangs, closes, resumes, news, orphans, settled, drained } = self;
        sends.is_empty()
            && opens.is_empty()
            && hangs.is_empty()
            && closes.is_empty()
            && resumes.is_empty()
            && news.is_empty()
            && orphans.is_empty()
            && settled.is_empty()
            && drained.is_empty()
    }
}
