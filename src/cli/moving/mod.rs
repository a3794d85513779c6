//! `queue import` and `queue export`: jobs that move in from another server, and back.
//!
//! Jobs are handed over one by one and each is acknowledged, that is stored, before it counts; with
//! several connections at a time, so that one commit serves many. What was handed over before a
//! failure stays so.

mod gearmand_file;
mod lines;
mod server;
#[cfg(test)]
mod tests;

use std::path::Path;

use futures_util::future::join_all;

use super::args::{ExportArgs, ImportArgs};
use super::exit::{CliError, Exit};
use super::format;
use super::output::{self, Screen};
use super::submit::with_cause;
use crate::control::api::{ExportedJob, QueueRequest, Text};
use crate::control::client::{ControlClient, QueueAction};
use crate::gearman::{Client, InvalidAddress, ServerAddress};
use crate::model::{FunctionName, Priority, Unique};
use crate::protocol::{Submission, SubmitMode};

/// Connections that jobs are handed over on.
const LANES: usize = 64;

/// A background job on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MovingJob {
    submission: Submission,
    reducer: Option<bytes::Bytes>,
}

/// Takes jobs of a file or of a server into another server, the daemon's own as a rule.
pub(super) async fn import(
    into: &str,
    screen: &mut Screen,
    args: &ImportArgs,
) -> Result<Exit, CliError> {
    let mut target = Target::connect(into).await?;
    let path = Path::new(&args.from);
    if path.exists() {
        let mut source = File::open(path, &args.table)?;
        while let Some(jobs) = source.next_jobs(LANES)? {
            target.hand_over(&jobs).await.result?;
        }
    } else {
        let address = args.from.parse().map_err(|error: InvalidAddress| {
            CliError::new(Exit::NoSuchName, format!("there is no file {}, and {error}", args.from))
        })?;
        if args.functions.is_empty() {
            return Err(CliError::new(Exit::Usage, "a server is asked for jobs of functions")
                .with_hint("name them with --functions A,B"));
        }
        let held = server::work_off(&address, &args.functions, &mut target).await?;
        if held > 0 {
            let jobs = format::counted(held, "job");
            output::remark(&format!("{jobs} with waiting clients stay where they are"));
        }
    }
    screen.line(&format!("{} imported", format::counted(target.count, "job")))?;
    Ok(Exit::Done)
}

/// Writes jobs that wait to a file, or hands them to another server.
pub(super) async fn export(
    client: &ControlClient,
    screen: &mut Screen,
    args: &ExportArgs,
) -> Result<Exit, CliError> {
    let mut jobs = client.export().await?;
    let count = if let Some(server) = &args.to {
        let mut target = Target::connect(server).await?;
        while let Some(batch) = jobs.next_batch().await? {
            for exported in batch.chunks(LANES) {
                let moving: Vec<MovingJob> = exported.iter().map(MovingJob::from).collect();
                let handed = target.hand_over(&moving).await;
                // Those too that were taken beside one that was not: they would run twice.
                let taken = exported.iter().zip(handed.taken).filter(|(_, taken)| *taken);
                withdraw(client, taken.map(|(job, _)| job)).await;
                handed.result?;
            }
        }
        target.count
    } else {
        let mut file = lines::Writer::create(args.file.as_deref())?;
        while let Some(batch) = jobs.next_batch().await? {
            file.write(&batch)?;
        }
        file.finish()?
    };
    let done = format!("{} exported", format::counted(count, "job"));
    // Stdout may be where the jobs went.
    if args.file.as_deref() == Some(Path::new("-")) {
        output::remark(&done);
    } else {
        screen.line(&done)?;
    }
    Ok(Exit::Done)
}

/// What another server has acknowledged is no longer ours to run.
async fn withdraw(client: &ControlClient, jobs: impl Iterator<Item = &ExportedJob>) {
    for job in jobs {
        let handles = vec![job.handle.clone()];
        let request = QueueRequest { handles, ..QueueRequest::default() };
        if let Err(error) = client.queue(QueueAction::Cancel, &request).await {
            output::remark(&format!("{} is here and there now: {error}", job.handle));
        }
    }
}

/// What became of jobs that were handed over.
struct Handed {
    /// Whether each was acknowledged.
    taken: Vec<bool>,
    /// The first failure.
    result: Result<(), CliError>,
}

/// The server that takes jobs.
struct Target {
    lanes: Vec<Client>,
    count: usize,
}

impl Target {
    async fn connect(server: &str) -> Result<Self, CliError> {
        let address: ServerAddress =
            server.parse().map_err(|error: InvalidAddress| CliError::failed(error.to_string()))?;
        let mut lanes = Vec::new();
        for _ in 0..LANES {
            let lane = Client::connect(std::slice::from_ref(&address)).await;
            lanes.push(lane.map_err(|error| CliError::failed(with_cause(&error)))?);
        }
        Ok(Self { lanes, count: 0 })
    }

    /// Hands over at most as many jobs as there are lanes, and waits until each is acknowledged.
    async fn hand_over(&mut self, jobs: &[MovingJob]) -> Handed {
        let submits = self.lanes.iter_mut().zip(jobs).map(|(lane, job)| async move {
            let submission = job.submission.clone();
            match job.reducer.clone() {
                None => lane.submit_background(submission).await,
                Some(reducer) => lane.submit_reduce_background(submission, reducer).await,
            }
        });
        let outcomes = join_all(submits).await;
        let taken: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        self.count += taken.iter().filter(|taken| **taken).count();
        let result = outcomes.into_iter().collect::<Result<Vec<_>, _>>();
        let result = result.map(drop).map_err(|error| {
            let jobs = format::counted(self.count, "job");
            CliError::failed(with_cause(&error))
                .with_hint(format!("{jobs} were taken all the same"))
        });
        Handed { taken, result }
    }
}

/// A file with jobs.
enum File {
    Gearmand(gearmand_file::Reader),
    Lines(lines::Reader),
}

impl File {
    fn open(path: &Path, table: &str) -> Result<Self, CliError> {
        if gearmand_file::is_one(path)? {
            return gearmand_file::Reader::open(path, table).map(Self::Gearmand);
        }
        lines::Reader::open(path).map(Self::Lines)
    }

    fn next_jobs(&mut self, limit: usize) -> Result<Option<Vec<MovingJob>>, CliError> {
        let jobs = match self {
            Self::Gearmand(reader) => reader.next_jobs(limit)?,
            Self::Lines(reader) => reader.next_jobs(limit)?,
        };
        Ok(Some(jobs).filter(|jobs| !jobs.is_empty()))
    }
}

impl From<&ExportedJob> for MovingJob {
    fn from(job: &ExportedJob) -> Self {
        let priority = match job.priority.as_str() {
            "high" => Priority::High,
            "low" => Priority::Low,
            _ => Priority::Normal,
        };
        let submission = Submission {
            function: FunctionName(job.function.bytes()),
            unique: Unique(job.unique.bytes()),
            priority,
            mode: job.run_at.map_or(SubmitMode::Background, SubmitMode::At),
            payload: job.payload.bytes(),
        };
        Self { submission, reducer: job.reducer.as_ref().map(Text::bytes) }
    }
}
