//! `explain --record`: the load of a running daemon, into a file that `simulate` plays back.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::commands::deadline;
use super::exit::{CliError, Exit};
use super::format;
use super::interrupt::Interrupt;
use super::output;
use crate::control::api::{JobStatus, PoolStatus, Status, TraceRecord};
use crate::control::client::{ControlClient, JobsOf, RecordReader};
use crate::scaler::simulation::{EndLine, Head, JobLine, PoolLine, VERSION};

/// Jobs that a file takes at most; then the recording ends by itself.
const JOBS_MAX: u64 = 1_000_000;
/// Jobs not at their end that are written when the recording ends.
const OPEN_MAX: usize = 10_000;

/// Writes jobs as they end, until Ctrl-C or for so long.
pub(super) async fn run(
    client: &ControlClient,
    path: &Path,
    limit: Option<Duration>,
) -> Result<Exit, CliError> {
    let mut interrupt = Interrupt::listen()?;
    let status = client.status().await?;
    let head = head(client, &status).await?;
    let mut jobs = client.trace().await?;
    let begin = Instant::now();
    // Whoever sees the file knows that jobs are heard of.
    let mut tape = Tape::create(path)?;
    tape.line(&head)?;
    let until = limit.map_or("Ctrl-C".to_owned(), |limit| {
        format!("{} have passed, or Ctrl-C", humantime::format_duration(limit))
    });
    output::remark(&format!("recording into {} until {until}", path.display()));
    tokio::select! {
        ended = copy(&mut jobs, &mut tape) => ended?,
        _ = deadline(limit) => {}
        () = interrupt.wait() => {}
    }
    let seconds = begin.elapsed().as_secs_f64();
    // A daemon that has ended tells nothing more; what it told is kept.
    for job in client.jobs(None, OPEN_MAX, JobsOf::Oldest).await.unwrap_or_default() {
        tape.open(&job, seconds)?;
    }
    let recorded = format::counted(usize::try_from(tape.jobs).unwrap_or(usize::MAX), "job");
    tape.close(seconds)?;
    let (time, file) = (format::duration(seconds), path.display());
    output::remark(&format!("{recorded} in {time}; gear-supervisor simulate --trace {file}"));
    Ok(Exit::Done)
}

async fn copy(jobs: &mut RecordReader<TraceRecord>, tape: &mut Tape) -> Result<(), CliError> {
    while let Some(batch) = jobs.next_batch().await? {
        for record in &batch {
            tape.record(record)?;
        }
        if tape.jobs >= JOBS_MAX {
            output::remark("as many jobs as a recording takes: it ends here");
            return Ok(());
        }
    }
    output::remark("-- the daemon has ended --");
    Ok(())
}

/// What the file of settings does not tell of the pools and the host.
async fn head(client: &ControlClient, status: &Status) -> Result<Head, CliError> {
    let workers = status.pools.iter().flat_map(|pool| &pool.workers);
    let used: u64 = workers.filter_map(|worker| worker.rss).sum();
    let mut pools = Vec::new();
    for pool in &status.pools {
        let told = client.explain(&pool.name).await?;
        let startup = told.numbers.map(|numbers| numbers.startup);
        pools.push(pool_line(pool, startup));
    }
    Ok(Head {
        trace: VERSION,
        name: status.name.clone(),
        recorded: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        cores: status.host.cores,
        memory: status.host.mem_available + used,
        pools,
    })
}

fn pool_line(pool: &PoolStatus, startup: Option<f64>) -> PoolLine {
    let size = pool.workers.iter().filter_map(|worker| worker.rss).max();
    PoolLine { name: pool.name.clone(), functions: pool.functions.clone(), startup, size }
}

/// The file while it is written.
struct Tape {
    out: BufWriter<File>,
    jobs: u64,
    missed: u64,
}

impl Tape {
    fn create(path: &Path) -> Result<Self, CliError> {
        let file = File::options().write(true).create_new(true).open(path).map_err(|error| {
            CliError::failed(format!("cannot write {}: {error}", path.display()))
        })?;
        Ok(Self { out: BufWriter::new(file), jobs: 0, missed: 0 })
    }

    fn record(&mut self, record: &TraceRecord) -> Result<(), CliError> {
        match record {
            TraceRecord::Ended { function, at, wait, service } => self.job(&JobLine {
                function: function.clone(),
                at: *at,
                wait: Some(*wait),
                service: *service,
                open: false,
                died: service.is_none(),
            }),
            TraceRecord::Missed { missed } => {
                self.missed += missed;
                Ok(())
            }
        }
    }

    /// A job that waits or runs when the recording ends; one of the future is none of its load.
    fn open(&mut self, job: &JobStatus, seconds: f64) -> Result<(), CliError> {
        if job.times.is_some() || job.due.is_some() {
            return Ok(());
        }
        self.job(&JobLine {
            function: job.function.clone(),
            at: seconds - job.age,
            wait: job.running.map(|running| (job.age - running).max(0.0)),
            service: job.running,
            open: true,
            died: false,
        })
    }

    fn job(&mut self, job: &JobLine) -> Result<(), CliError> {
        self.jobs += 1;
        self.line(job)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.out, line).map_err(io::Error::from)?;
        Ok(self.out.write_all(b"\n")?)
    }

    fn close(mut self, seconds: f64) -> Result<(), CliError> {
        let missed = self.missed;
        self.line(&EndLine { seconds, missed })?;
        Ok(self.out.flush()?)
    }
}
