//! Taking over the jobs of a running server by working them into another one.
//!
//! For that server we are a worker whose work is to hand a job on. It completes when the job is
//! stored. A job that a client waits for is not for us: it is held until the end and given back.

use super::{MovingJob, Target};
use crate::cli::exit::CliError;
use crate::cli::submit::with_cause;
use crate::gearman::{Connection, ServerAddress};
use crate::model::{Priority, Unique};
use crate::protocol::{GrabStyle, Request, Response, Submission, SubmitMode, WorkReport};

/// Takes every job of the functions, and tells how many were left because clients wait for them.
pub(super) async fn work_off(
    address: &ServerAddress,
    functions: &[String],
    target: &mut Target,
) -> Result<usize, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::failed(with_cause(error));
    let mut source = Connection::open(address).await.map_err(|error| failed(&error))?;
    for function in functions {
        source.queue(&Request::CanDo { function: function.as_str().into(), timeout: None });
    }
    let mut held = 0;
    loop {
        source.queue(&Request::Grab(GrabStyle::All));
        let (handle, job) = match source.next().await.map_err(|error| failed(&error))? {
            Response::NoJob => return Ok(held),
            Response::JobAssign { handle, function, unique, reducer, payload } => {
                let submission = Submission {
                    function,
                    unique: unique.unwrap_or_else(|| Unique(bytes::Bytes::new())),
                    priority: Priority::Normal,
                    mode: SubmitMode::Background,
                    payload,
                };
                (handle, MovingJob { submission, reducer })
            }
            Response::Error { code, text } => {
                let (code, text) = (code.escape_ascii(), text.escape_ascii());
                return Err(CliError::failed(format!("{address} refused: {code}: {text}")));
            }
            // A NOOP, though we never sleep.
            _ => continue,
        };
        if is_waited_for(&mut source, &job.submission.unique).await.map_err(|e| failed(&e))? {
            held += 1;
            continue;
        }
        target.hand_over(std::slice::from_ref(&job)).await.result?;
        let report = WorkReport::Complete(bytes::Bytes::new());
        source.queue(&Request::Work { handle, report });
    }
}

/// A job without a unique cannot be asked about.
async fn is_waited_for(
    source: &mut Connection,
    unique: &Unique,
) -> Result<bool, crate::gearman::ConnectionError> {
    if unique.0.is_empty() || unique.0.as_ref() == b"-" {
        return Ok(false);
    }
    source.queue(&Request::GetStatusUnique(unique.clone()));
    loop {
        match source.next().await? {
            Response::StatusUnique { clients, .. } => return Ok(clients > 0),
            Response::Error { .. } => return Ok(false),
            _ => {}
        }
    }
}
