//! Packets as lines that a newcomer can follow: kinds, names and sizes, no payloads.

use std::fmt;

use bytes::Bytes;

use crate::broker::Peer;
use crate::broker::state::Outgoing;
use crate::protocol::{
    AdminReply, GrabStyle, Request, Response, Submission, SubmitMode, WorkReport,
};

/// The name in front of every line of the broker; `-v` and `-vv` filter by it.
pub(super) const TARGET: &str = "gear_supervisor::broker";

/// A packet from a client or a worker.
pub(super) struct ShowRequest<'a>(pub(super) &'a Request);
/// Something that we send.
pub(super) struct ShowOutgoing<'a>(pub(super) &'a Outgoing);
/// The far end of a connection.
pub(super) struct ShowPeer<'a>(pub(super) &'a Peer);
/// Bytes that are text as a rule.
pub(super) struct Text<'a>(pub(super) &'a Bytes);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

/// `127.0.0.1:40312`, `pid 812`
impl fmt::Display for ShowPeer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Peer::Tcp { peer, .. } => peer.fmt(f),
            Peer::Unix { pid: Some(pid) } => write!(f, "pid {pid}"),
            Peer::Unix { pid: None } => f.write_str("a unix socket"),
        }
    }
}

impl fmt::Display for ShowRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Request::CanDo { function, timeout: None } => write!(f, "CAN_DO {function}"),
            Request::CanDo { function, timeout: Some(timeout) } => {
                write!(f, "CAN_DO_TIMEOUT {function} {} ms", timeout.as_millis())
            }
            Request::CantDo(function) => write!(f, "CANT_DO {function}"),
            Request::ResetAbilities => f.write_str("RESET_ABILITIES"),
            Request::PreSleep => f.write_str("PRE_SLEEP"),
            Request::Grab(GrabStyle::Plain) => f.write_str("GRAB_JOB"),
            Request::Grab(GrabStyle::Unique) => f.write_str("GRAB_JOB_UNIQ"),
            Request::Grab(GrabStyle::All) => f.write_str("GRAB_JOB_ALL"),
            Request::Submit(job) => submission(f, job),
            Request::Schedule(job) => {
                let [minute, hour, day, month, weekday] = job.times.each_ref().map(Text);
                let times = format!("{minute} {hour} {day} {month} {weekday}");
                write!(
                    f,
                    "SUBMIT_JOB_SCHED {} at {times}, {} bytes",
                    job.function,
                    job.payload.len()
                )
            }
            Request::SubmitReduce { job, reducer } => {
                submission(f, job)?;
                write!(f, ", reducer {}", Text(reducer))
            }
            Request::Work { handle, report } => work(f, handle, report),
            Request::GetStatus(handle) => write!(f, "GET_STATUS {}", Text(handle)),
            Request::GetStatusUnique(unique) => write!(f, "GET_STATUS_UNIQUE {unique}"),
            Request::Echo(data) => write!(f, "ECHO_REQ, {} bytes", data.len()),
            Request::Option(name) => write!(f, "OPTION_REQ {}", Text(name)),
            Request::SetClientId(id) => write!(f, "SET_CLIENT_ID {}", Text(id)),
            Request::Unexpected(kind) => write!(f, "{kind:?}, which a server does not take"),
        }
    }
}

fn submission(f: &mut fmt::Formatter<'_>, job: &Submission) -> fmt::Result {
    write!(f, "SUBMIT_JOB {} {}", job.function, job.priority)?;
    match job.mode {
        SubmitMode::Foreground => {}
        SubmitMode::Background => f.write_str(" background")?,
        SubmitMode::At(epoch) => write!(f, " at {epoch}")?,
    }
    if !job.unique.0.is_empty() {
        write!(f, " unique {}", job.unique)?;
    }
    write!(f, ", {} bytes", job.payload.len())
}

impl fmt::Display for ShowOutgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outgoing::Packet(response) => show_response(f, response),
            Outgoing::Text(reply) => f.write_str(match reply {
                AdminReply::Ok | AdminReply::Value(_) => "text: OK",
                AdminReply::Error(_) => "text: ERR",
                AdminReply::Status(_)
                | AdminReply::PriorityStatus(_)
                | AdminReply::Workers(_)
                | AdminReply::Jobs(_)
                | AdminReply::ShowJobs(_)
                | AdminReply::Clients(_)
                | AdminReply::UniqueJobs(_) => "text: a table",
            }),
        }
    }
}

fn show_response(f: &mut fmt::Formatter<'_>, response: &Response) -> fmt::Result {
    match response {
        Response::JobCreated(handle) => write!(f, "JOB_CREATED {}", Text(handle)),
        Response::NoJob => f.write_str("NO_JOB"),
        Response::Noop => f.write_str("NOOP"),
        Response::JobAssign { handle, function, unique, reducer, payload } => {
            let kind = match (reducer, unique) {
                (Some(_), _) => "JOB_ASSIGN_ALL",
                (None, Some(_)) => "JOB_ASSIGN_UNIQ",
                (None, None) => "JOB_ASSIGN",
            };
            write!(f, "{kind} {} {function}, {} bytes", Text(handle), payload.len())
        }
        Response::Status { handle, status } => {
            let (known, running) = (status.known, status.running);
            write!(f, "STATUS_RES {} known {known} running {running}", Text(handle))
        }
        Response::StatusUnique { unique, status, .. } => {
            let (known, running) = (status.known, status.running);
            write!(f, "STATUS_RES_UNIQUE {unique} known {known} running {running}")
        }
        Response::Work { handle, report } => work(f, handle, report),
        Response::Echo(data) => write!(f, "ECHO_RES, {} bytes", data.len()),
        Response::Option(name) => write!(f, "OPTION_RES {}", Text(name)),
        Response::Error { code, text } => write!(f, "ERROR {} {}", Text(code), Text(text)),
    }
}

fn work(f: &mut fmt::Formatter<'_>, handle: &Bytes, report: &WorkReport) -> fmt::Result {
    let handle = Text(handle);
    match report {
        WorkReport::Data(data) => write!(f, "WORK_DATA {handle}, {} bytes", data.len()),
        WorkReport::Warning(data) => write!(f, "WORK_WARNING {handle}, {} bytes", data.len()),
        WorkReport::Status { numerator, denominator } => {
            write!(f, "WORK_STATUS {handle} {}/{}", Text(numerator), Text(denominator))
        }
        WorkReport::Complete(data) => write!(f, "WORK_COMPLETE {handle}, {} bytes", data.len()),
        WorkReport::Fail => write!(f, "WORK_FAIL {handle}"),
        WorkReport::Exception(data) => {
            write!(f, "WORK_EXCEPTION {handle}, {} bytes", data.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Priority;

    #[test]
    fn packets_read_as_the_protocol_names_them_without_their_payloads() {
        let submit = Request::Submit(Submission {
            function: "resize".into(),
            unique: "a.png".into(),
            priority: Priority::High,
            mode: SubmitMode::Background,
            payload: "secret".into(),
        });
        let wanted = "SUBMIT_JOB resize high background unique a.png, 6 bytes";
        assert_eq!(ShowRequest(&submit).to_string(), wanted);
        let assign = Outgoing::Packet(Response::JobAssign {
            handle: "H:x:1".into(),
            function: "resize".into(),
            unique: None,
            reducer: None,
            payload: "secret".into(),
        });
        assert_eq!(ShowOutgoing(&assign).to_string(), "JOB_ASSIGN H:x:1 resize, 6 bytes");
    }
}
