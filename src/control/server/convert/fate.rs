//! The sentence of how a process ended and what became of its job.

use super::WorkerNames;
use crate::broker::{JobLoss, LossOutcome};
use crate::pool::LastExit;

/// `killed by KILL; job H:x:3 moved to slow:2, attempt 2 of 3`
pub(super) fn sentence(last: &LastExit, loss: Option<&JobLoss>, names: &WorkerNames) -> String {
    let exit = last.sentence();
    match loss {
        Some(loss) => format!("{exit}; {}", job_fate(loss, names)),
        None => exit,
    }
}

fn job_fate(loss: &JobLoss, names: &WorkerNames) -> String {
    let handle = &loss.handle;
    let attempt = format!("attempt {} of {}", loss.attempts.saturating_add(1), loss.attempts_max);
    match &loss.outcome {
        LossOutcome::Waiting => format!("job {handle} waits again, {attempt}"),
        LossOutcome::Moved(worker) => {
            let name = worker.and_then(|worker| names.name(worker)).map(ToString::to_string);
            let name = name.unwrap_or_else(|| "another worker".to_owned());
            format!("job {handle} moved to {name}, {attempt}")
        }
        LossOutcome::GivenUp => {
            format!("job {handle} was given up after {} attempts", loss.attempts)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Instant;

    use nix::sys::signal::Signal;

    use super::*;
    use crate::model::{Exit, WorkerId};

    #[test]
    fn a_death_tells_where_its_job_went() {
        let names = WorkerNames(HashMap::from([(WorkerId(7), "slow:2".parse().unwrap())]));
        let killed = Exit::Signal { signal: Signal::SIGKILL, core: false };
        let told = |outcome: Option<LossOutcome>, attempts, asked| {
            let last = LastExit {
                worker: WorkerId(1),
                exit: killed,
                at: Instant::now(),
                asked,
                blame: String::new(),
            };
            let loss = outcome.map(|outcome| JobLoss {
                handle: "H:x:3".to_owned(),
                function: "slow".into(),
                attempts,
                attempts_max: 3,
                outcome,
            });
            sentence(&last, loss.as_ref(), &names)
        };
        for (outcome, attempts, asked, want) in [
            (None, 0, false, "killed by KILL"),
            (None, 0, true, "killed by KILL, as asked"),
            (
                Some(LossOutcome::Moved(Some(WorkerId(7)))),
                1,
                false,
                "killed by KILL; job H:x:3 moved to slow:2, attempt 2 of 3",
            ),
            (
                Some(LossOutcome::Moved(None)),
                2,
                false,
                "killed by KILL; job H:x:3 moved to another worker, attempt 3 of 3",
            ),
            (
                Some(LossOutcome::Waiting),
                1,
                false,
                "killed by KILL; job H:x:3 waits again, attempt 2 of 3",
            ),
            (
                Some(LossOutcome::GivenUp),
                3,
                false,
                "killed by KILL; job H:x:3 was given up after 3 attempts",
            ),
        ] {
            assert_eq!(told(outcome, attempts, asked), want);
        }
    }
}
