//! What the state asks the shell to do.

use crate::broker::record::{Change, ChangeSeq};
use crate::broker::{BrokerEvent, JobEnding};
use crate::model::{JobId, SessionId, WorkerId};
use crate::protocol::{AdminReply, Response};

/// Things to do after a turn, in order within each list. The shell drains and reuses it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Bytes for connections. A connection's answers are already in the order of its requests.
    pub sends: Vec<(SessionId, Outgoing)>,
    /// Changes for the store.
    pub changes: Vec<(ChangeSeq, Change)>,
    /// Stored jobs whose contents are to be read; each is answered with `Input::Fetched`.
    pub fetches: Vec<JobId>,
    /// Connections whose listing begins: they want `State::next_piece` until it has ended.
    pub job_lists: Vec<SessionId>,
    /// Connections to close once everything sent to them is written.
    pub closes: Vec<SessionId>,
    /// Draining workers that hold no job any more.
    pub drained: Vec<WorkerId>,
    /// News for the supervisor.
    pub events: Vec<BrokerEvent>,
    /// Jobs that have ended, while they are recorded.
    pub endings: Vec<JobEnding>,
}

/// One thing to write to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A packet.
    Packet(Response),
    /// The answer to a text command.
    Text(AdminReply),
}

impl Effects {
    /// True when there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
            && self.changes.is_empty()
            && self.fetches.is_empty()
            && self.job_lists.is_empty()
            && self.closes.is_empty()
            && self.drained.is_empty()
            && self.events.is_empty()
            && self.endings.is_empty()
    }
}
