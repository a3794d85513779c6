//! One connection: what it performs, what it holds, what it waits for, whether it sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answers::Answers;
use super::functions::FunctionKey;
use crate::broker::Peer;
use crate::model::{JobId, WorkerId};

/// What a session performs.
pub(super) type Abilities = BTreeMap<FunctionKey, Ability>;

/// One function that a session performs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ability {
    /// How long one job may take.
    pub(super) timeout: Option<Duration>,
    /// Its place among the session's registrations.
    pub(super) order: u64,
}

/// Whether it is known whose session this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It is, or there is nobody to ask.
    Known,
    /// It has not mattered yet.
    Unasked,
    /// The question is out; until it is answered the session is given no job.
    Asked,
}

/// Where a performing session is between two jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It acts by itself.
    Awake,
    /// It sent PRE_SLEEP and wants a NOOP when there is a job.
    Asleep,
    /// It asked for a job; a job is waited for until then, before it is told that there is none.
    Held(Instant),
    /// It got its NOOP, for this function, and has not grabbed since; the function is forgotten
    /// when it takes too long.
    Woken(Option<FunctionKey>),
}

/// Where a sleeping session can be found by those who look for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// Nowhere.
    Unlisted,
    /// With each function that it performs.
    Specialist,
    /// With all those that perform more functions than is cheap to visit.
    Generalist,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: Peer,
    /// The worker process of ours that it belongs to; it may be dead already.
    pub(super) worker: Option<WorkerId>,
    pub(super) identity: Identity,
    pub(super) client_id: Option<Bytes>,
    /// Whether it asked for WORK_EXCEPTION.
    pub(super) wants_exceptions: bool,
    pub(super) abilities: Abilities,
    /// Registrations so far.
    pub(super) registrations: u64,
    pub(super) answers: Answers,
    pub(super) rest: Rest,
    pub(super) listing: Listing,
    /// When it went idle, compared with others; the highest was last.
    pub(super) rank: u64,
    pub(super) in_hand: BTreeSet<JobId>,
    /// The function of the job that it completed since its last grab.
    pub(super) completed: Option<FunctionKey>,
    /// The last job that it ended with an exception.
    pub(super) raised: Option<JobId>,
    /// Foreground jobs whose result it waits for.
    pub(super) waits_for: BTreeSet<JobId>,
    /// It is to be closed: nothing it sends counts any more, and it is given no job.
    pub(super) is_closing: bool,
}

impl Rest {
    /// Whether it waits for us to bring a job, in one way or another.
    pub(super) fn is_idle(self) -> bool {
        match self {
            Self::Asleep | Self::Held(_) => true,
            Self::Awake | Self::Woken(_) => false,
        }
    }
}

impl Session {
    pub(super) fn new(peer: Peer, rank: u64) -> Self {
        let identity = if is_local(&peer) { Identity::Unasked } else { Identity::Known };
        Self {
            peer,
            worker: None,
            identity,
            client_id: None,
            wants_exceptions: false,
            abilities: Abilities::new(),
            registrations: 0,
            answers: Answers::default(),
            rest: Rest::Awake,
            listing: Listing::Unlisted,
            rank,
            in_hand: BTreeSet::new(),
            completed: None,
            raised: None,
            waits_for: BTreeSet::new(),
            is_closing: false,
        }
    }
}

/// Whether a process of this host may be at the other end.
fn is_local(peer: &Peer) -> bool {
    match peer {
        Peer::Unix { .. } => true,
        Peer::Tcp { peer, local } => {
            let ip = peer.ip().to_canonical();
            ip.is_loopback() || ip == local.ip().to_canonical()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_this_host_are_asked_about() {
        let tcp = |peer: &str, local: &str| Peer::Tcp {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
        };
        let cases = [
            (Peer::Unix { pid: None }, true),
            (tcp("127.0.0.1:5", "127.0.0.1:4730"), true),
            (tcp("[::ffff:127.0.0.1]:5", "[::]:4730"), true),
            (tcp("10.0.0.7:5", "10.0.0.7:4730"), true),
            (tcp("10.0.0.8:5", "10.0.0.7:4730"), false),
        ];
        for (peer, local) in cases {
            assert_eq!(is_local(&peer), local, "{peer:?}");
        }
    }
}
