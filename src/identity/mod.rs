//! Which process holds which connection.

use crate::model::WorkerId;

/// A process whose connections may be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The worker.
    pub worker: WorkerId,
    /// The process that we started: the leader of its process group.
    pub pid: i32,
    /// Who it runs as; links of other users are read as that user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}
