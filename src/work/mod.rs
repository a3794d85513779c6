//! The adapter behind `exec` workers: serves functions with a plain program.
//!
//! `gear-supervisor work FN -- CMD` is the worker process of such a pool, and works alone against
//! any Gearman server. One process per job: payload on stdin, result on stdout, the exit status
//! decides; stderr is left to whoever started us. The supervisor is not known here.

mod exec;
mod stop;

use std::time::Duration;

use crate::gearman::{ConnectionError, ServerAddress, Worker};

use exec::{Outcome, run_job};
use stop::Stop;

/// Pause before a server that does not answer is tried again; doubles up to the longest.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(10);

/// What to serve and how.
#[derive(Clone, Debug)]
pub struct WorkOptions {
    /// The functions.
    pub functions: Vec<String>,
    /// Where the jobs come from; tried in turn.
    pub servers: Vec<ServerAddress>,
    /// Whether a result is sent in parts as it comes.
    pub stream: bool,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Serves until SIGTERM or SIGINT; a job in hand is finished first.
///
/// # Errors
/// When signals cannot be listened to.
pub fn run(options: &WorkOptions) -> std::io::Result<()> {
    let stop = Stop::listen()?;
    let client_id = std::env::var("GEAR_WORKER").unwrap_or_else(|_| "gear-supervisor work".into());
    let mut pause = RECONNECT_FIRST;
    for server in options.servers.iter().cycle() {
        if stop.is_wanted() {
            break;
        }
        match Worker::open(server, &client_id, &options.functions) {
            Ok(worker) => {
                pause = RECONNECT_FIRST;
                if let Err(error) = serve(worker, options, &stop)
                    && !stop.is_wanted()
                {
                    eprintln!("gear-supervisor work: {error}");
                }
            }
            Err(error) => {
                eprintln!("gear-supervisor work: {error}; next try in {pause:?}");
                stop.wait(pause);
                pause = (pause * 2).min(RECONNECT_MAX);
            }
        }
    }
    Ok(())
}

fn serve(mut worker: Worker, options: &WorkOptions, stop: &Stop) -> Result<(), ConnectionError> {
    stop.set_idle(worker.closer()?);
    while !stop.is_wanted() {
        let job = worker.grab()?;
        // A job may have been given while the stop came: it is in hand, so it is done.
        stop.set_busy();
        match run_job(options, &job, &mut worker)? {
            Outcome::Report(report) => worker.report(&job.handle, report)?,
            // A closed connection gives the job back without a mark against it.
            Outcome::GiveBack => return Ok(()),
        }
        stop.set_idle(worker.closer()?);
    }
    Ok(())
}
