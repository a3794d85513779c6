//! The text (admin) protocol: one line in, a table or a line out.
//!
//! Verbs are case-insensitive, words are split at spaces, and words after a complete command are
//! ignored. Tables and `version`, `getpid`, `verbose` end lines with `\n`, the rest with `\r\n`,
//! as gearmand does and monitoring scripts expect.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::model::{FunctionName, Unique};

/// A text command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// `status`
    Status,
    /// `prioritystatus`
    PriorityStatus,
    /// `workers`
    Workers,
    /// `version`
    Version,
    /// `getpid`
    GetPid,
    /// `verbose`
    Verbose,
    /// A listing of all jobs.
    List(JobListing),
    /// `clients`, of Gearman::Server
    Clients,
    /// `cancel job HANDLE`
    CancelJob(Bytes),
    /// `create function NAME`
    CreateFunction(FunctionName),
    /// `drop function NAME`
    DropFunction(FunctionName),
    /// `maxqueue NAME [N | HIGH NORMAL LOW]`; without numbers the limits go.
    MaxQueue {
        /// The function.
        function: FunctionName,
        /// Most jobs that wait or run, by the priority of the one that comes.
        limits: [Option<u64>; 3],
    },
}

/// What a listing of jobs tells of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobListing {
    /// `show jobs`: handles and states.
    Handles,
    /// `show unique jobs`: uniques.
    Uniques,
    /// `jobs`, of Gearman::Server: functions, uniques, workers.
    Outstanding,
}

/// Why a text command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No such verb.
    #[error("UNKNOWN_COMMAND Unknown+server+command{0}")]
    UnknownCommand(String),
    /// `show` something else.
    #[error("UNKNOWN_SHOW_ARGUMENTS")]
    UnknownShowArguments,
    /// Words are missing.
    #[error("INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+{0}")]
    InvalidArguments(&'static str),
    /// `cancel` something else.
    #[error("UNKNOWN_ERROR")]
    UnknownError,
    /// `cancel job` of a handle that names nothing.
    #[error("UNKNOWN_JOB")]
    UnknownJob,
    /// `drop function` of a name that is not there.
    #[error("function not found")]
    FunctionNotFound,
    /// `drop function` while it is in use.
    #[error("there are still connected workers or executing clients")]
    FunctionInUse,
}

/// One line of `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRow {
    /// The function.
    pub function: FunctionName,
    /// Jobs that wait or run.
    pub total: usize,
    /// Jobs that run.
    pub running: usize,
    /// Connections that perform it.
    pub workers: usize,
}

/// One line of `prioritystatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityRow {
    /// The function.
    pub function: FunctionName,
    /// Jobs that wait: high, normal, low.
    pub queued: [usize; 3],
    /// Connections that perform it.
    pub workers: usize,
}

/// One line of `workers`: every connection, clients too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// A number for the connection; gearmand prints its file descriptor.
    pub id: u64,
    /// The peer's address without its port.
    pub address: String,
    /// What it called itself with SET_CLIENT_ID.
    pub client_id: Option<Bytes>,
    /// What it performs, the most recently registered first.
    pub functions: Vec<FunctionName>,
}

/// One line of `show jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// The handle.
    pub handle: Bytes,
    /// How often a worker was lost with it.
    pub retries: u32,
    /// Whether it is to be dropped when its turn comes.
    pub ignored: bool,
    /// Whether it is a background job.
    pub background: bool,
}

/// One line of `jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutstandingRow {
    /// What to run.
    pub function: FunctionName,
    /// Its unique.
    pub unique: Unique,
    /// The worker that has it, `IP:PORT`.
    pub worker: Option<String>,
    /// How many clients wait.
    pub listeners: usize,
}

/// One client of `clients`, with the jobs that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// `IP:PORT`
    pub address: String,
    /// What it waits for.
    pub jobs: Vec<OutstandingRow>,
}

/// The answer to a text command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminReply {
    /// `OK` and nothing else.
    Ok,
    /// `OK` and a word.
    Value(String),
    /// A refusal.
    Error(AdminError),
    /// `status`
    Status(Vec<FunctionRow>),
    /// `prioritystatus`
    PriorityStatus(Vec<PriorityRow>),
    /// `workers`
    Workers(Vec<ConnectionRow>),
    /// `show jobs`
    ShowJobs(Vec<JobRow>),
    /// `jobs`
    Jobs(Vec<OutstandingRow>),
    /// `clients`
    Clients(Vec<ClientRow>),
    /// `show unique jobs`
    UniqueJobs(Vec<Unique>),
}

impl AdminCommand {
    /// Reads one line.
    ///
    /// # Errors
    /// With the refusal to send back.
    pub fn parse(line: &[u8]) -> Result<Self, AdminError> {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let verb = words.next().unwrap_or_default();
        let mut word = || words.next().map(Bytes::copy_from_slice);
        match verb.to_ascii_lowercase().as_slice() {
            b"status" => Ok(Self::Status),
            b"prioritystatus" => Ok(Self::PriorityStatus),
            b"workers" => Ok(Self::Workers),
            b"version" => Ok(Self::Version),
            b"jobs" => Ok(Self::List(JobListing::Outstanding)),
            b"clients" => Ok(Self::Clients),
            b"getpid" => Ok(Self::GetPid),
            b"verbose" => Ok(Self::Verbose),
            b"show" => match (word().as_deref(), word().as_deref()) {
                (Some(b"jobs"), _) => Ok(Self::List(JobListing::Handles)),
                (Some(b"unique"), Some(b"jobs")) => Ok(Self::List(JobListing::Uniques)),
                (None, _) => Err(unknown(verb)),
                _ => Err(AdminError::UnknownShowArguments),
            },
            b"cancel" => match (word().as_deref(), word()) {
                (Some(b"job"), Some(handle)) => Ok(Self::CancelJob(handle)),
                (_, None) => Err(unknown(verb)),
                _ => Err(AdminError::UnknownError),
            },
            b"create" => function_of(&mut word, "create").map(Self::CreateFunction),
            b"drop" => function_of(&mut word, "drop").map(Self::DropFunction),
            b"maxqueue" => {
                let function = word().ok_or(AdminError::InvalidArguments("maxqueue"))?;
                let limits = [word(), word(), word()].map(|word| word.as_deref().map(queue_limit));
                Ok(Self::MaxQueue { function: FunctionName(function), limits: spread(limits) })
            }
            _ => Err(unknown(verb)),
        }
    }
}

impl AdminReply {
    /// The text to send, line ends included.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = self.render_rows();
        match self {
            Self::Ok | Self::Value(_) | Self::Error(_) => {}
            Self::Status(_)
            | Self::PriorityStatus(_)
            | Self::Workers(_)
            | Self::ShowJobs(_)
            | Self::Jobs(_)
            | Self::Clients(_)
            | Self::UniqueJobs(_) => out.extend_from_slice(b".\n"),
        }
        out
    }

    /// The text without the dot that ends a table: a piece of one.
    #[must_use]
    pub fn render_rows(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ok => out.extend_from_slice(b"OK\r\n"),
            Self::Value(value) => out.extend_from_slice(format!("OK {value}\n").as_bytes()),
            Self::Error(error) => out.extend_from_slice(format!("ERR {error}\r\n").as_bytes()),
            Self::Status(rows) => lines(&mut out, rows, |row, out| {
                let FunctionRow { function, total, running, workers } = row;
                out.extend_from_slice(&function.0);
                append(out, format_args!("\t{total}\t{running}\t{workers}"));
            }),
            Self::PriorityStatus(rows) => lines(&mut out, rows, |row, out| {
                let PriorityRow { function, queued: [high, normal, low], workers } = row;
                out.extend_from_slice(&function.0);
                append(out, format_args!("\t{high}\t{normal}\t{low}\t{workers}"));
            }),
            Self::Workers(rows) => lines(&mut out, rows, |row, out| {
                append(out, format_args!("{} {} ", row.id, row.address));
                out.extend_from_slice(row.client_id.as_deref().unwrap_or(b"-"));
                out.extend_from_slice(b" :");
                for function in &row.functions {
                    out.push(b' ');
                    out.extend_from_slice(&function.0);
                }
            }),
            Self::Jobs(rows) => lines(&mut out, rows, |row, out| {
                put_outstanding(row, out);
                append(out, format_args!("\t{}", row.listeners));
            }),
            Self::Clients(rows) => lines(&mut out, rows, |row, out| {
                out.extend_from_slice(row.address.as_bytes());
                for job in &row.jobs {
                    out.extend_from_slice(b"\n\t");
                    put_outstanding(job, out);
                }
            }),
            Self::ShowJobs(rows) => lines(&mut out, rows, |row, out| {
                out.extend_from_slice(&row.handle);
                let (ignored, background) = (u8::from(row.ignored), u8::from(row.background));
                append(out, format_args!("\t{}\t{ignored}\t{background}", row.retries));
            }),
            Self::UniqueJobs(rows) => {
                lines(&mut out, rows, |unique, out| out.extend_from_slice(&unique.0));
            }
        }
        out
    }
}

fn unknown(verb: &[u8]) -> AdminError {
    AdminError::UnknownCommand(String::from_utf8_lossy(verb).into_owned())
}

fn function_of(
    word: &mut impl FnMut() -> Option<Bytes>,
    verb: &'static str,
) -> Result<FunctionName, AdminError> {
    match (word().as_deref(), word()) {
        (Some(b"function"), Some(name)) => Ok(FunctionName(name)),
        (_, None) => Err(AdminError::InvalidArguments(verb)),
        _ => Err(AdminError::UnknownError),
    }
}

/// A limit as a number; zero, negative numbers and junk mean no limit, as in gearmand.
fn queue_limit(word: &[u8]) -> u64 {
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// One number counts for all priorities; a missing one of three is no limit.
fn spread(limits: [Option<u64>; 3]) -> [Option<u64>; 3] {
    let all = match limits {
        [Some(limit), None, None] => [Some(limit); 3],
        three => three,
    };
    all.map(|limit| limit.filter(|limit| *limit > 0))
}

fn lines<T>(out: &mut Vec<u8>, rows: &[T], put: impl Fn(&T, &mut Vec<u8>)) {
    for row in rows {
        put(row, out);
        out.push(b'\n');
    }
}

/// Gearman::Client reads words, so what is empty is a dash.
fn put_outstanding(row: &OutstandingRow, out: &mut Vec<u8>) {
    let or_dash = |word: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(if word.is_empty() { b"-" } else { word });
    };
    or_dash(&row.function.0, out);
    out.push(b'\t');
    or_dash(&row.unique.0, out);
    out.push(b'\t');
    or_dash(row.worker.as_deref().unwrap_or_default().as_bytes(), out);
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let mut line = String::new();
    // Writing to a String cannot fail.
    line.write_fmt(text).unwrap_or_default();
    out.extend_from_slice(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<AdminCommand, AdminError> {
        AdminCommand::parse(line.as_bytes())
    }

    #[test]
    fn commands_are_read_as_gearmand_reads_them() {
        let limits = |limits| AdminCommand::MaxQueue { function: "f".into(), limits };
        let cases = [
            ("STATUS", AdminCommand::Status),
            ("status please", AdminCommand::Status),
            ("show unique jobs", AdminCommand::List(JobListing::Uniques)),
            ("cancel job H:x:1", AdminCommand::CancelJob("H:x:1".into())),
            ("create function ghijkl", AdminCommand::CreateFunction("ghijkl".into())),
            ("drop function f", AdminCommand::DropFunction("f".into())),
            ("maxqueue f", limits([None; 3])),
            ("maxqueue f 7", limits([Some(7); 3])),
            ("maxqueue f 1 0 3", limits([Some(1), None, Some(3)])),
        ];
        for (line, wanted) in cases {
            assert_eq!(parse(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn refusals_have_gearmands_words() {
        let cases = [
            ("nonsense", "ERR UNKNOWN_COMMAND Unknown+server+commandnonsense\r\n"),
            ("", "ERR UNKNOWN_COMMAND Unknown+server+command\r\n"),
            ("show", "ERR UNKNOWN_COMMAND Unknown+server+commandshow\r\n"),
            ("show me", "ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
            ("cancel job", "ERR UNKNOWN_COMMAND Unknown+server+commandcancel\r\n"),
            ("cancel foo bar", "ERR UNKNOWN_ERROR\r\n"),
            (
                "maxqueue",
                "ERR INVALID_ARGUMENTS \
                 An+incomplete+set+of+arguments+was+sent+to+this+command+maxqueue\r\n",
            ),
        ];
        for (line, wanted) in cases {
            let reply = AdminReply::Error(parse(line).unwrap_err()).render();
            assert_eq!(String::from_utf8(reply).unwrap(), wanted, "{line}");
        }
    }

    #[test]
    fn tables_have_gearmands_shape() {
        let row = FunctionRow { function: "f".into(), total: 3, running: 1, workers: 2 };
        assert_eq!(AdminReply::Status(vec![row]).render(), b"f\t3\t1\t2\n.\n");
        let row = ConnectionRow {
            id: 9,
            address: "127.0.0.1".to_owned(),
            client_id: None,
            functions: vec![],
        };
        assert_eq!(AdminReply::Workers(vec![row]).render(), b"9 127.0.0.1 - :\n.\n");
        assert_eq!(AdminReply::Value("1.0".to_owned()).render(), b"OK 1.0\n");
        let job = OutstandingRow {
            function: "f".into(),
            unique: "u".into(),
            worker: Some("127.0.0.1:7".to_owned()),
            listeners: 2,
        };
        let jobs = vec![job.clone(), OutstandingRow { unique: "".into(), worker: None, ..job }];
        let wanted = b"f\tu\t127.0.0.1:7\t2\nf\t-\t-\t2\n.\n";
        assert_eq!(AdminReply::Jobs(jobs.clone()).render(), wanted);
        let client = |jobs| ClientRow { address: "10.0.0.9:1".to_owned(), jobs };
        let clients = AdminReply::Clients(vec![client(jobs), client(vec![])]);
        let wanted = b"10.0.0.9:1\n\tf\tu\t127.0.0.1:7\n\tf\t-\t-\n10.0.0.9:1\n.\n";
        assert_eq!(clients.render(), wanted);
    }
}
