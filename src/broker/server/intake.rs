//! From what a connection sent to what the rules are told.

use bytes::Bytes;
use tracing::{debug, trace};

use super::show::{ShowRequest, TARGET, Text};
use crate::broker::state::Input;
use crate::model::SessionId;
use crate::protocol::{AdminCommand, COPIED_LEN_MAX, Frame, Incoming, Kind, Magic, Request};

/// Bodies up to this that are slices of the read buffer are copied when the rules may keep them: a
/// small slice would keep the whole buffer alive.
const SMALL_LEN_MAX: usize = 32 * 1024;

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
    let is_small_slice = (COPIED_LEN_MAX + 1..=SMALL_LEN_MAX).contains(&frame.body.len());
    if passes || !is_small_slice {
        return frame;
    }
    Frame { body: Bytes::copy_from_slice(&frame.body), ..frame }
}
