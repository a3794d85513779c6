//! One connection as the turns see it.

use std::rc::Rc;

use bytes::{Buf, BytesMut};
use tokio::sync::Notify;

use super::stream::Stream;
use crate::broker::Peer;

/// Unsent bytes at which no further packets of the connection are read.
const UNSENT_LEN_READ: usize = 1 << 20;

/// One connection: its socket and what is still to be sent.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: Rc<Stream>,
    pub(super) peer: Peer,
    /// Wakes its task when a turn of another connection changed something here.
    pub(super) wake: Rc<Notify>,
    /// Encoded and not yet taken by the kernel; without memory while it is empty.
    pub(super) output: BytesMut,
    /// Whether the kernel had no room at the last try; its task waits for some.
    pub(super) blocked: bool,
    /// Whether it stands in the turn's list of touched ones.
    pub(super) touched: bool,
    /// What its last turn brought; it is read no further while many jobs are on their way to the
    /// disk, if it brought some.
    pub(super) brought: Brought,
    /// How its packets came in its last turn.
    pub(super) sends: Sends,
    /// Whether it is read no further before it has had more of its answers.
    pub(super) held: bool,
    pub(super) owed: Owed,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// It sent something that cannot be read on; the rules will close it.
    Deaf,
    /// To be closed once its output is written.
    Closing,
}

/// What a turn of a connection brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    JobsToStore,
    NothingToStore,
}

/// How a connection's packets come.
///
/// A worker of libgearman sends WORK_COMPLETE and GRAB_JOB one after the other. When two small
/// packets are read at once the kernel acknowledges them with a packet of its own, which costs as
/// much as an answer. It does not while they are in the socket, so of such a connection they are
/// looked at, and taken after the answer, which acknowledges them: a job drained so costs a sixth
/// less CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sends {
    /// Two at once, answered at once.
    Pairs,
    Otherwise,
}

/// What it is owed beside its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    Nothing,
    /// More of a listing of jobs.
    JobList,
}

/// What a try to write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    All,
    Blocked,
    /// The peer has gone.
    Broken,
}

impl Session {
    pub(super) fn new(stream: Rc<Stream>, peer: Peer, wake: Rc<Notify>) -> Self {
        Self {
            stream,
            peer,
            wake,
            output: BytesMut::new(),
            blocked: false,
            touched: false,
            brought: Brought::NothingToStore,
            sends: Sends::Otherwise,
            held: false,
            owed: Owed::Nothing,
            stage: Stage::Open,
        }
    }

    pub(super) fn stop_reading(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Deaf;
        }
    }

    pub(super) fn begin_closing(&mut self) {
        self.stage = Stage::Closing;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.stage == Stage::Closing
    }

    /// Whether its packets are wanted.
    pub(super) fn reads(&self) -> bool {
        self.stage == Stage::Open && self.output.len() < UNSENT_LEN_READ
    }

    /// Writes what the kernel takes.
    pub(super) fn write(&mut self) -> Written {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(len) => self.output.advance(len),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Written::Blocked;
                }
                Err(_) => return Written::Broken,
            }
        }
        self.blocked = false;
        Written::All
    }
}
