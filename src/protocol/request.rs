//! What clients and workers send to a server.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::args::Args;
use super::frame::put_packet;
use super::{Frame, Kind, Magic, MalformedPacket};
use crate::model::{FunctionName, Priority, Unique};

/// Shortest time-out of CAN_DO_TIMEOUT; gearmand raises smaller ones to it.
const ABILITY_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// A packet from a client or a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// CAN_DO and CAN_DO_TIMEOUT: this connection performs the function.
    CanDo {
        /// The function.
        function: FunctionName,
        /// How long one job may take; the wire's unit is the millisecond.
        timeout: Option<Duration>,
    },
    /// CANT_DO: it no longer does.
    CantDo(FunctionName),
    /// RESET_ABILITIES: it performs nothing any more.
    ResetAbilities,
    /// PRE_SLEEP: wake me with NOOP when there is a job.
    PreSleep,
    /// GRAB_JOB, GRAB_JOB_UNIQ, GRAB_JOB_ALL.
    Grab(GrabStyle),
    /// SUBMIT_JOB in its six shapes, and SUBMIT_JOB_EPOCH.
    Submit(Submission),
    /// SUBMIT_REDUCE_JOB and SUBMIT_REDUCE_JOB_BACKGROUND.
    SubmitReduce {
        /// The job.
        job: Submission,
        /// The function that puts the parts of its result together; told to the worker.
        reducer: Bytes,
    },
    /// SUBMIT_JOB_SCHED: a job that recurs.
    Schedule(Schedule),
    /// WORK_*: news of a job from the worker that holds it.
    Work {
        /// The job's handle as sent.
        handle: Bytes,
        /// The news.
        report: WorkReport,
    },
    /// GET_STATUS by handle.
    GetStatus(Bytes),
    /// GET_STATUS_UNIQUE.
    GetStatusUnique(Unique),
    /// ECHO_REQ.
    Echo(Bytes),
    /// OPTION_REQ.
    Option(Bytes),
    /// SET_CLIENT_ID.
    SetClientId(Bytes),
    /// A type that only servers send, or that this server does not take.
    Unexpected(Kind),
}

/// Which packet a worker grabbed with, and so which one carries the job to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrabStyle {
    /// GRAB_JOB, answered by JOB_ASSIGN.
    Plain,
    /// GRAB_JOB_UNIQ, answered by JOB_ASSIGN_UNIQ.
    Unique,
    /// GRAB_JOB_ALL, answered by JOB_ASSIGN_ALL, or by JOB_ASSIGN_UNIQ for jobs without a reducer.
    All,
}

/// A job as submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// What to run.
    pub function: FunctionName,
    /// What makes it the same job as another.
    pub unique: Unique,
    /// Where it waits.
    pub priority: Priority,
    /// Whether the client waits for the result.
    pub mode: SubmitMode,
    /// The workload.
    pub payload: Bytes,
}

/// A recurring job as submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What to run.
    pub function: FunctionName,
    /// What makes it the same schedule as another, and its runs the same job.
    pub unique: Unique,
    /// Minute, hour, day of the month, month, day of the week; aside, since every request would be
    /// as large as this rare one.
    pub times: Box<[Bytes; 5]>,
    /// The workload of each run.
    pub payload: Bytes,
}

/// Whether a client waits for a job's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitMode {
    /// It waits; the job lives as long as somebody does.
    Foreground,
    /// It does not; the job is kept until it has run.
    Background,
    /// It does not, and the job is to run no earlier than this second since 1970.
    At(u64),
}

/// What a worker reports of a job it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkReport {
    /// WORK_DATA: a part of the result.
    Data(Bytes),
    /// WORK_WARNING.
    Warning(Bytes),
    /// WORK_STATUS; the texts are forwarded as they came.
    Status {
        /// How much is done.
        numerator: Bytes,
        /// Of how much.
        denominator: Bytes,
    },
    /// WORK_COMPLETE; ends the job.
    Complete(Bytes),
    /// WORK_FAIL; ends the job.
    Fail,
    /// WORK_EXCEPTION; ends the job.
    Exception(Bytes),
}

impl WorkReport {
    /// Whether the job is over with it.
    #[must_use]
    pub fn ends_job(&self) -> bool {
        matches!(self, Self::Complete(_) | Self::Fail | Self::Exception(_))
    }
}

impl Request {
    /// Reads a request frame.
    ///
    /// # Errors
    /// When arguments are missing.
    pub fn decode(frame: Frame) -> Result<Self, MalformedPacket> {
        let kind = frame.kind;
        let mut args = Args::new(kind, frame.body);
        let request = match kind {
            Kind::CanDo => Self::CanDo { function: FunctionName(args.last_word()), timeout: None },
            Kind::CanDoTimeout => {
                let function = FunctionName(args.next()?);
                Self::CanDo { function, timeout: ability_timeout(&args.last_word()) }
            }
            Kind::CantDo => Self::CantDo(FunctionName(args.last_word())),
            Kind::ResetAbilities => Self::ResetAbilities,
            Kind::PreSleep => Self::PreSleep,
            Kind::GrabJob => Self::Grab(GrabStyle::Plain),
            Kind::GrabJobUniq => Self::Grab(GrabStyle::Unique),
            Kind::GrabJobAll => Self::Grab(GrabStyle::All),
            Kind::SubmitJob => submit(args, Priority::Normal, SubmitMode::Foreground)?,
            Kind::SubmitJobHigh => submit(args, Priority::High, SubmitMode::Foreground)?,
            Kind::SubmitJobLow => submit(args, Priority::Low, SubmitMode::Foreground)?,
            Kind::SubmitJobBg => submit(args, Priority::Normal, SubmitMode::Background)?,
            Kind::SubmitJobHighBg => submit(args, Priority::High, SubmitMode::Background)?,
            Kind::SubmitJobLowBg => submit(args, Priority::Low, SubmitMode::Background)?,
            Kind::SubmitJobEpoch => submit_epoch(args)?,
            Kind::SubmitJobSched => schedule(args)?,
            Kind::SubmitReduceJob => submit_reduce(args, SubmitMode::Foreground)?,
            Kind::SubmitReduceJobBackground => submit_reduce(args, SubmitMode::Background)?,
            Kind::WorkData
            | Kind::WorkWarning
            | Kind::WorkStatus
            | Kind::WorkComplete
            | Kind::WorkFail
            | Kind::WorkException => {
                let (handle, report) = work_report(kind, args)?;
                Self::Work { handle, report }
            }
            Kind::GetStatus => Self::GetStatus(args.last_word()),
            Kind::GetStatusUnique => Self::GetStatusUnique(Unique(args.last_word())),
            Kind::EchoReq => Self::Echo(args.rest()),
            Kind::OptionReq => Self::Option(args.last_word()),
            Kind::SetClientId => Self::SetClientId(args.last_word()),
            other => Self::Unexpected(other),
        };
        Ok(request)
    }

    /// Appends the packet to `out`; [`Request::Unexpected`] has no packet and appends nothing.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut put = |kind, parts: &[&[u8]]| put_packet(out, Magic::Request, kind, parts);
        match self {
            Self::CanDo { function, timeout: None } => put(Kind::CanDo, &[&function.0]),
            Self::CanDo { function, timeout: Some(timeout) } => {
                let millis = timeout.as_millis().to_string();
                put(Kind::CanDoTimeout, &[&function.0, millis.as_bytes()]);
            }
            Self::CantDo(function) => put(Kind::CantDo, &[&function.0]),
            Self::ResetAbilities => put(Kind::ResetAbilities, &[]),
            Self::PreSleep => put(Kind::PreSleep, &[]),
            Self::Grab(GrabStyle::Plain) => put(Kind::GrabJob, &[]),
            Self::Grab(GrabStyle::Unique) => put(Kind::GrabJobUniq, &[]),
            Self::Grab(GrabStyle::All) => put(Kind::GrabJobAll, &[]),
            Self::Submit(job) => match job.mode {
                SubmitMode::Foreground | SubmitMode::Background => {
                    put(submit_kind(job), &[&job.function.0, &job.unique.0, &job.payload]);
                }
                SubmitMode::At(epoch) => {
                    let epoch = epoch.to_string();
                    let parts =
                        [&job.function.0[..], &job.unique.0, epoch.as_bytes(), &job.payload];
                    put(Kind::SubmitJobEpoch, &parts);
                }
            },
            Self::Schedule(Schedule { function, unique, times, payload }) => {
                let [minute, hour, day, month, weekday] = &**times;
                let parts = [&function.0, &unique.0, minute, hour, day, month, weekday, payload];
                put(Kind::SubmitJobSched, &parts.map(|part| &part[..]));
            }
            Self::SubmitReduce { job, reducer } => {
                let kind = match job.mode {
                    SubmitMode::Foreground => Kind::SubmitReduceJob,
                    SubmitMode::Background | SubmitMode::At(_) => Kind::SubmitReduceJobBackground,
                };
                put(kind, &[&job.function.0, &job.unique.0, reducer, b"", &job.payload]);
            }
            Self::Work { handle, report } => put_report(out, Magic::Request, handle, report),
            Self::GetStatus(handle) => put(Kind::GetStatus, &[handle]),
            Self::GetStatusUnique(unique) => put(Kind::GetStatusUnique, &[&unique.0]),
            Self::Echo(data) => put(Kind::EchoReq, &[data]),
            Self::Option(name) => put(Kind::OptionReq, &[name]),
            Self::SetClientId(id) => put(Kind::SetClientId, &[id]),
            Self::Unexpected(_) => {}
        }
    }
}

fn submit(
    mut args: Args,
    priority: Priority,
    mode: SubmitMode,
) -> Result<Request, MalformedPacket> {
    let function = FunctionName(args.next()?);
    let unique = Unique(args.next()?);
    let payload = args.rest();
    Ok(Request::Submit(Submission { function, unique, priority, mode, payload }))
}

fn submit_epoch(mut args: Args) -> Result<Request, MalformedPacket> {
    let function = FunctionName(args.next()?);
    let unique = Unique(args.next()?);
    let mode = SubmitMode::At(epoch(&args.next()?));
    let (priority, payload) = (Priority::Normal, args.rest());
    Ok(Request::Submit(Submission { function, unique, priority, mode, payload }))
}

fn schedule(mut args: Args) -> Result<Request, MalformedPacket> {
    let function = FunctionName(args.next()?);
    let unique = Unique(args.next()?);
    let times = [args.next()?, args.next()?, args.next()?, args.next()?, args.next()?];
    let times = Box::new(times);
    Ok(Request::Schedule(Schedule { function, unique, times, payload: args.rest() }))
}

fn submit_reduce(mut args: Args, mode: SubmitMode) -> Result<Request, MalformedPacket> {
    let function = FunctionName(args.next()?);
    let unique = Unique(args.next()?);
    let reducer = args.next()?;
    // The PROTOCOL file does not have it, and nobody uses it; libgearman sends it empty.
    let _aggregator = args.next()?;
    let (priority, payload) = (Priority::Normal, args.rest());
    let job = Submission { function, unique, priority, mode, payload };
    Ok(Request::SubmitReduce { job, reducer })
}

fn submit_kind(job: &Submission) -> Kind {
    match (job.mode, job.priority) {
        (SubmitMode::Foreground, Priority::High) => Kind::SubmitJobHigh,
        (SubmitMode::Foreground, Priority::Normal) => Kind::SubmitJob,
        (SubmitMode::Foreground, Priority::Low) => Kind::SubmitJobLow,
        (SubmitMode::Background, Priority::High) => Kind::SubmitJobHighBg,
        (SubmitMode::Background, Priority::Normal) => Kind::SubmitJobBg,
        (SubmitMode::Background, Priority::Low) => Kind::SubmitJobLowBg,
        (SubmitMode::At(_), _) => Kind::SubmitJobEpoch,
    }
}

/// A time as gearmand reads it: what is no number is the past. One too large for a number is the
/// largest, which no server takes.
fn epoch(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

/// Nothing for zero, negative numbers and junk, as gearmand takes them.
fn ability_timeout(millis: &[u8]) -> Option<Duration> {
    let millis: u64 = std::str::from_utf8(millis).ok()?.trim().parse().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis).max(ABILITY_TIMEOUT_MIN))
}

/// Reads the WORK_* packets, which look alike in both directions.
pub(super) fn work_report(
    kind: Kind,
    mut args: Args,
) -> Result<(Bytes, WorkReport), MalformedPacket> {
    Ok(match kind {
        Kind::WorkFail => (args.last_word(), WorkReport::Fail),
        Kind::WorkStatus => {
            let (handle, numerator) = (args.next()?, args.next()?);
            (handle, WorkReport::Status { numerator, denominator: args.last_word() })
        }
        Kind::WorkData => with_data(args, WorkReport::Data),
        Kind::WorkWarning => with_data(args, WorkReport::Warning),
        Kind::WorkComplete => with_data(args, WorkReport::Complete),
        Kind::WorkException => with_data(args, WorkReport::Exception),
        _ => return Err(MalformedPacket { kind }),
    })
}

fn with_data(args: Args, report: fn(Bytes) -> WorkReport) -> (Bytes, WorkReport) {
    let (handle, data) = args.handle_and_data();
    (handle, report(data))
}

/// Appends a WORK_* packet for either direction.
pub(super) fn put_report(out: &mut BytesMut, magic: Magic, handle: &[u8], report: &WorkReport) {
    let mut put = |kind, parts: &[&[u8]]| put_packet(out, magic, kind, parts);
    match report {
        WorkReport::Data(data) => put(Kind::WorkData, &[handle, data]),
        WorkReport::Warning(data) => put(Kind::WorkWarning, &[handle, data]),
        WorkReport::Status { numerator, denominator } => {
            put(Kind::WorkStatus, &[handle, numerator, denominator]);
        }
        WorkReport::Complete(data) => put(Kind::WorkComplete, &[handle, data]),
        WorkReport::Fail => put(Kind::WorkFail, &[handle]),
        WorkReport::Exception(data) => put(Kind::WorkException, &[handle, data]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Decoder, Incoming};

    fn decode(kind: Kind, body: &'static [u8]) -> Result<Request, MalformedPacket> {
        let body = Bytes::from_static(body);
        Request::decode(Frame { magic: Magic::Request, kind, body })
    }

    fn through_the_wire(request: &Request) -> Request {
        let mut wire = BytesMut::new();
        request.encode(&mut wire);
        match Decoder::new(1 << 20).next(&mut wire) {
            Ok(Some(Incoming::Frame(frame))) => Request::decode(frame).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_survive_the_wire() {
        let data = || Bytes::from_static(b"a\0b");
        let handle = Bytes::from_static(b"H:x:1");
        let report = |report| Request::Work { handle: handle.clone(), report };
        let submit = |priority, mode| {
            let (function, unique) = ("f".into(), "u".into());
            Request::Submit(Submission { function, unique, priority, mode, payload: data() })
        };
        let status = WorkReport::Status { numerator: "3".into(), denominator: "10".into() };
        let mut all = vec![
            Request::CanDo { function: "f".into(), timeout: None },
            Request::CanDo { function: "f".into(), timeout: Some(Duration::from_secs(5)) },
            Request::CantDo("f".into()),
            Request::ResetAbilities,
            Request::PreSleep,
            Request::Grab(GrabStyle::Plain),
            Request::Grab(GrabStyle::Unique),
            Request::Grab(GrabStyle::All),
            report(WorkReport::Data(data())),
            report(WorkReport::Warning(data())),
            report(status),
            report(WorkReport::Complete(data())),
            report(WorkReport::Fail),
            report(WorkReport::Exception(data())),
            Request::GetStatus(handle.clone()),
            Request::GetStatusUnique("u".into()),
            Request::Echo(data()),
            Request::Option("exceptions".into()),
            Request::SetClientId("me".into()),
        ];
        for priority in Priority::ALL {
            all.push(submit(priority, SubmitMode::Foreground));
            all.push(submit(priority, SubmitMode::Background));
        }
        all.push(submit(Priority::Normal, SubmitMode::At(1_764_000_000)));
        for mode in [SubmitMode::Foreground, SubmitMode::Background] {
            let Request::Submit(job) = submit(Priority::Normal, mode) else { continue };
            all.push(Request::SubmitReduce { job, reducer: "sum".into() });
        }
        all.push(Request::Schedule(Schedule {
            function: "f".into(),
            unique: "u".into(),
            times: Box::new(["0", "*/2", "", "1-3", "mon"].map(Bytes::from)),
            payload: data(),
        }));
        for request in all {
            assert_eq!(through_the_wire(&request), request);
        }
    }

    #[test]
    fn ability_timeouts_are_milliseconds_of_at_least_a_second() {
        let cases: [(&'static [u8], Option<u64>); 5] = [
            (b"f\x0030000", Some(30_000)),
            (b"f\x005", Some(1000)),
            (b"f\x000", None),
            (b"f\x00-5", None),
            (b"f\x00soon", None),
        ];
        for (body, millis) in cases {
            let wanted =
                Request::CanDo { function: "f".into(), timeout: millis.map(Duration::from_millis) };
            assert_eq!(decode(Kind::CanDoTimeout, body), Ok(wanted));
        }
    }

    #[test]
    fn a_time_that_is_no_number_is_the_past() {
        let cases: [(&'static [u8], u64); 4] = [
            (b"f\0\x00123\0p", 123),
            (b"f\0\0soon\0p", 0),
            (b"f\0\0-7\0p", 0),
            (b"f\0\x0099999999999999999999\0p", u64::MAX),
        ];
        for (body, wanted) in cases {
            let Ok(Request::Submit(job)) = decode(Kind::SubmitJobEpoch, body) else {
                panic!("{body:?} is a submission");
            };
            assert_eq!(job.mode, SubmitMode::At(wanted), "{body:?}");
        }
    }

    #[test]
    fn a_result_without_a_nul_after_its_handle_is_empty() {
        let report = WorkReport::Complete(Bytes::new());
        let wanted = Request::Work { handle: "H:x:1".into(), report };
        assert_eq!(decode(Kind::WorkComplete, b"H:x:1"), Ok(wanted));
    }

    #[test]
    fn missing_arguments_are_an_error_and_no_panic() {
        for kind in [Kind::SubmitJob, Kind::CanDoTimeout, Kind::WorkStatus] {
            assert_eq!(decode(kind, b"one"), Err(MalformedPacket { kind }));
        }
    }
}
