//! What happens to the state.

use crate::broker::Peer;
use crate::broker::record::{ChangeSeq, Fetched};
use crate::model::{JobId, SessionId, WorkerId};
use crate::protocol::{AdminCommand, AdminError, MalformedPacket, Request};

/// One thing that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection was accepted.
    Opened {
        /// Its id.
        session: SessionId,
        /// Where it comes from.
        peer: Peer,
        /// Whose it is, when it came through a worker's private listener.
        worker: Option<WorkerId>,
    },
    /// It sent a packet.
    Request {
        /// The connection.
        session: SessionId,
        /// The packet.
        request: Request,
    },
    /// It sent a packet that lacks arguments.
    Malformed {
        /// The connection.
        session: SessionId,
        /// What lacks.
        error: MalformedPacket,
    },
    /// It sent a `\0RES` packet to us.
    WrongMagic {
        /// The connection.
        session: SessionId,
    },
    /// It sent bytes that cannot be read on, such as a packet above the limit; it is told why and
    /// closed after the answers that it is still owed.
    Unreadable {
        /// The connection.
        session: SessionId,
        /// What to tell it; `None` closes without a word, as for garbage.
        reason: Option<String>,
    },
    /// It sent a text command.
    Admin {
        /// The connection.
        session: SessionId,
        /// The command, or its refusal.
        command: Result<AdminCommand, AdminError>,
    },
    /// It was closed, by either side.
    Closed {
        /// The connection.
        session: SessionId,
    },
    /// All changes up to this one are durable.
    Committed(ChangeSeq),
    /// All changes up to this one are durable, and yet the store takes no jobs.
    Recorded(ChangeSeq),
    /// What came of reading the content of a stored job; see `Effects::fetches`.
    Fetched {
        /// The job.
        job: JobId,
        /// Its content, or why not.
        outcome: Fetched,
    },
    /// The changes after the last committed one and up to this one could not be stored.
    NotCommitted {
        /// The last change that failed.
        through: ChangeSeq,
        /// Why.
        reason: String,
    },
    /// The deadline that `next_deadline` named has come.
    Deadline,
}

impl Input {
    /// The session that sent it.
    pub(super) fn speaker(&self) -> Option<SessionId> {
        match self {
            Self::Request { session, .. }
            | Self::Malformed { session, .. }
            | Self::WrongMagic { session }
            | Self::Unreadable { session, .. }
            | Self::Admin { session, .. } => Some(*session),
            Self::Opened { .. }
            | Self::Closed { .. }
            | Self::Committed(_)
            | Self::Recorded(_)
            | Self::Fetched { .. }
            | Self::NotCommitted { .. }
            | Self::Deadline => None,
        }
    }
}
