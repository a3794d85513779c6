//! Why the daemon did not answer as asked.

use std::io;
use std::path::PathBuf;

use crate::control::api::Failure;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon answers at {}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its file keeps us out.
    #[error("the control socket {} may not be opened by this user", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon refused.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The connection ended in the middle.
    #[error("the daemon at {} broke off the connection", path.display())]
    BrokenOff {
        /// The socket.
        path: PathBuf,
        /// What happened.
        #[source]
        source: hyper::Error,
    },
    /// Another version, or no daemon of ours.
    #[error("the answer from {} cannot be read", path.display())]
    Unreadable {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    pub(super) fn connecting(path: PathBuf, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::Denied { path };
        }
        Self::NoDaemon { path, source }
    }
}
