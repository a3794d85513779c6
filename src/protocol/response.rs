//! What a server sends to clients and workers.

use bytes::{Bytes, BytesMut};

use super::args::Args;
use super::frame::put_packet;
use super::request::{put_report, work_report};
use super::{ErrorCode, Frame, Kind, Magic, MalformedPacket, WorkReport};
use crate::model::{FunctionName, Unique};

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// JOB_CREATED.
    JobCreated(Bytes),
    /// NO_JOB.
    NoJob,
    /// NOOP: wake up and grab.
    Noop,
    /// JOB_ASSIGN, JOB_ASSIGN_UNIQ when `unique` is there, JOB_ASSIGN_ALL when `reducer` is.
    JobAssign {
        /// The job's handle.
        handle: Bytes,
        /// What to run.
        function: FunctionName,
        /// Present for workers that grabbed with GRAB_JOB_UNIQ or GRAB_JOB_ALL.
        unique: Option<Unique>,
        /// Present for workers that grabbed with GRAB_JOB_ALL, when the job has one.
        reducer: Option<Bytes>,
        /// The workload.
        payload: Bytes,
    },
    /// STATUS_RES, by handle.
    Status {
        /// The handle that was asked for.
        handle: Bytes,
        /// What is known of it.
        status: JobStatus,
    },
    /// STATUS_RES_UNIQUE, by unique.
    StatusUnique {
        /// The unique that was asked for.
        unique: Unique,
        /// What is known of it.
        status: JobStatus,
        /// How many clients wait for the result.
        clients: usize,
    },
    /// WORK_*: news of a job for the clients that wait for it.
    Work {
        /// The job's handle.
        handle: Bytes,
        /// The news.
        report: WorkReport,
    },
    /// ECHO_RES.
    Echo(Bytes),
    /// OPTION_RES.
    Option(Bytes),
    /// ERROR.
    Error {
        /// One of [`ErrorCode`]'s names.
        code: Bytes,
        /// A sentence for people.
        text: Bytes,
    },
}

/// What STATUS_RES tells of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// Whether the server knows the job.
    pub known: bool,
    /// Whether a worker holds it.
    pub running: bool,
    /// How much of it is done.
    pub numerator: Bytes,
    /// Of how much.
    pub denominator: Bytes,
}

impl Response {
    /// An ERROR packet.
    #[must_use]
    pub fn error(code: ErrorCode, text: impl Into<Bytes>) -> Self {
        Self::Error { code: Bytes::from_static(code.as_str().as_bytes()), text: text.into() }
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut put = |kind, parts: &[&[u8]]| put_packet(out, Magic::Response, kind, parts);
        match self {
            Self::JobCreated(handle) => put(Kind::JobCreated, &[handle]),
            Self::NoJob => put(Kind::NoJob, &[]),
            Self::Noop => put(Kind::Noop, &[]),
            Self::JobAssign { handle, function, unique, reducer, payload } => {
                let unique_bytes = unique.as_ref().map_or(&b""[..], |unique| &unique.0);
                match (reducer, unique) {
                    (Some(reducer), _) => {
                        put(
                            Kind::JobAssignAll,
                            &[handle, &function.0, unique_bytes, reducer, payload],
                        );
                    }
                    (None, Some(_)) => {
                        put(Kind::JobAssignUniq, &[handle, &function.0, unique_bytes, payload]);
                    }
                    (None, None) => put(Kind::JobAssign, &[handle, &function.0, payload]),
                }
            }
            Self::Status { handle, status } => {
                let [known, running, numerator, denominator] = status.parts();
                put(Kind::StatusRes, &[handle, known, running, numerator, denominator]);
            }
            Self::StatusUnique { unique, status, clients } => {
                let [known, running, numerator, denominator] = status.parts();
                let clients = clients.to_string();
                let clients = clients.as_bytes();
                let parts = [&unique.0, known, running, numerator, denominator, clients];
                put(Kind::StatusResUnique, &parts);
            }
            Self::Work { handle, report } => put_report(out, Magic::Response, handle, report),
            Self::Echo(data) => put(Kind::EchoRes, &[data]),
            Self::Option(name) => put(Kind::OptionRes, &[name]),
            Self::Error { code, text } => put(Kind::Error, &[code, text]),
        }
    }

    /// Reads a response frame; `None` for types that servers do not send.
    ///
    /// # Errors
    /// When arguments are missing.
    pub fn decode(frame: Frame) -> Result<Option<Self>, MalformedPacket> {
        let kind = frame.kind;
        let mut args = Args::new(kind, frame.body);
        let response = match kind {
            Kind::JobCreated => Self::JobCreated(args.last_word()),
            Kind::NoJob => Self::NoJob,
            Kind::Noop => Self::Noop,
            Kind::JobAssign | Kind::JobAssignUniq | Kind::JobAssignAll => {
                let (handle, function) = (args.next()?, FunctionName(args.next()?));
                let unique =
                    if kind == Kind::JobAssign { None } else { Some(Unique(args.next()?)) };
                let reducer = if kind == Kind::JobAssignAll { Some(args.next()?) } else { None };
                Self::JobAssign { handle, function, unique, reducer, payload: args.rest() }
            }
            Kind::StatusRes => {
                let handle = args.next()?;
                let (known, running, numerator) = (args.next()?, args.next()?, args.next()?);
                let status = JobStatus::new(&known, &running, numerator, args.last_word());
                Self::Status { handle, status }
            }
            Kind::StatusResUnique => {
                let unique = Unique(args.next()?);
                let (known, running, numerator) = (args.next()?, args.next()?, args.next()?);
                let status = JobStatus::new(&known, &running, numerator, args.next()?);
                let clients = std::str::from_utf8(&args.last_word())
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or(MalformedPacket { kind })?;
                Self::StatusUnique { unique, status, clients }
            }
            Kind::WorkData
            | Kind::WorkWarning
            | Kind::WorkStatus
            | Kind::WorkComplete
            | Kind::WorkFail
            | Kind::WorkException => {
                let (handle, report) = work_report(kind, args)?;
                Self::Work { handle, report }
            }
            Kind::EchoRes => Self::Echo(args.rest()),
            Kind::OptionRes => Self::Option(args.last_word()),
            Kind::Error => Self::Error { code: args.next()?, text: args.rest() },
            _ => return Ok(None),
        };
        Ok(Some(response))
    }
}

impl JobStatus {
    fn new(known: &[u8], running: &[u8], numerator: Bytes, denominator: Bytes) -> Self {
        Self { known: known == b"1", running: running == b"1", numerator, denominator }
    }

    /// The four texts on the wire; numbers that nobody reported are zeros.
    fn parts(&self) -> [&[u8]; 4] {
        let flag = |on: bool| -> &[u8] { if on { b"1" } else { b"0" } };
        [flag(self.known), flag(self.running), or_zero(&self.numerator), or_zero(&self.denominator)]
    }
}

fn or_zero(number: &[u8]) -> &[u8] {
    if number.is_empty() { b"0" } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Decoder, Incoming};

    fn through_the_wire(response: &Response) -> Option<Response> {
        let mut wire = BytesMut::new();
        response.encode(&mut wire);
        match Decoder::new(1 << 20).next(&mut wire) {
            Ok(Some(Incoming::Frame(frame))) => Response::decode(frame).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn responses_survive_the_wire() {
        let handle = || Bytes::from_static(b"H:x:1");
        let status = JobStatus {
            known: true,
            running: false,
            numerator: "3".into(),
            denominator: "10".into(),
        };
        let assign = |unique, reducer| Response::JobAssign {
            handle: handle(),
            function: "f".into(),
            unique,
            reducer,
            payload: Bytes::from_static(b"a\0b"),
        };
        let all = [
            Response::JobCreated(handle()),
            Response::NoJob,
            Response::Noop,
            assign(None, None),
            assign(Some("u".into()), None),
            assign(Some("u".into()), Some("sum".into())),
            Response::Status { handle: handle(), status: status.clone() },
            Response::StatusUnique { unique: "u".into(), status, clients: 2 },
            Response::Work { handle: handle(), report: WorkReport::Fail },
            Response::Echo("x".into()),
            Response::Option("exceptions".into()),
            Response::error(ErrorCode::QueueError, "Job queue is full"),
        ];
        for response in all {
            assert_eq!(through_the_wire(&response).as_ref(), Some(&response));
        }
    }

    #[test]
    fn an_unknown_job_has_zeros_everywhere() {
        let mut wire = BytesMut::new();
        let status = JobStatus::default();
        Response::Status { handle: "H:x:1".into(), status }.encode(&mut wire);
        assert_eq!(&wire[12..], b"H:x:1\x000\x000\x000\x000");
    }

    #[test]
    fn a_failure_carries_the_bare_handle() {
        let mut wire = BytesMut::new();
        Response::Work { handle: "H:x:1".into(), report: WorkReport::Fail }.encode(&mut wire);
        assert_eq!(&wire[12..], b"H:x:1");
    }
}
