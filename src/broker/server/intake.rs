//! From what a connection sent to what the rules are told.

use bytes::Bytes;
use tracing::{debug, trace};

use super::show::{ShowRequest, TARGET, Text};
use crate::broker::state::Input;
use crate::model::SessionId;
use crate::protocol::{AdminCommand, Frame, Incoming, Kind, Magic, Request};

/// Bodies up to this are copied when the rules may keep them: a small slice would keep the whole
/// read buffer alive.
const COPIED_LEN_MAX: usize = 32 * 1024;

/// Reads a packet or a text command.
pub(super) fn understand(session: SessionId, incoming: Incoming) -> Input {
    let frame = match incoming {
        Incoming::Line(line) => {
            trace!(target: TARGET, "conn {session} ← text: {}", Text(&line));
            return Input::Admin { session, command: AdminCommand::parse(&line) };
        }
        Incoming::Frame(frame) if frame.magic == Magic::Response => {
            return Input::WrongMagic { session };
        }
        Incoming::Frame(frame) => frame,
    };
    match Request::decode(keepable(frame)) {
        Ok(request) => {
            trace!(target: TARGET, "conn {session} ← {}", ShowRequest(&request));
            if let Request::CanDo { function, .. } = &request {
                debug!(target: TARGET, "conn {session} performs {function}");
            }
            Input::Request { session, request }
        }
        Err(error) => {
            debug!(target: TARGET, "conn {session} ← {error}");
            Input::Malformed { session, error }
        }
    }
}

/// The frame with a body that may be kept for long.
fn keepable(frame: Frame) -> Frame {
    let passes = matches!(
        frame.kind,
        Kind::WorkData
            | Kind::WorkWarning
            | Kind::WorkComplete
            | Kind::WorkFail
            | Kind::WorkException
            | Kind::GetStatus
            | Kind::GetStatusUnique
            | Kind::EchoReq
    );
    if passes || frame.body.is_empty() || frame.body.len() > COPIED_LEN_MAX {
        return frame;
    }
    Frame { body: Bytes::copy_from_slice(&frame.body), ..frame }
}
