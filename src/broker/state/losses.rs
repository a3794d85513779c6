//! What became of the jobs of workers that died lately.
//!
//! A loss is suspected when a worker's connection ends with a job, and confirmed when the worker
//! turns out dead. Either way it is kept up to date while the job goes on elsewhere.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::broker::{JobLoss, LossOutcome};
use crate::model::{JobId, WorkerId};

/// Losses that are remembered; the oldest is forgotten first.
const LOSSES_MAX: usize = 1000;

/// The losses by worker, one for each.
#[derive(Debug, Default)]
pub(super) struct Losses {
    by_worker: BTreeMap<WorkerId, Loss>,
    order: VecDeque<WorkerId>,
    by_job: BTreeMap<JobId, Vec<WorkerId>>,
}

#[derive(Debug)]
struct Loss {
    job: JobId,
    view: JobLoss,
    is_confirmed: bool,
}

impl Losses {
    /// Notes what a worker may have lost; its first job counts when it held several.
    pub(super) fn suspect(&mut self, worker: WorkerId, job: JobId, view: JobLoss) {
        if self.by_worker.contains_key(&worker) {
            return;
        }
        if self.order.len() >= LOSSES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(oldest);
        }
        self.by_worker.insert(worker, Loss { job, view, is_confirmed: false });
        self.order.push_back(worker);
        self.by_job.entry(job).or_default().push(worker);
    }

    /// The worker is dead: its loss is one.
    pub(super) fn confirm(&mut self, worker: WorkerId) {
        if let Some(loss) = self.by_worker.get_mut(&worker) {
            loss.is_confirmed = true;
        }
    }

    /// The worker lives and gave the job back.
    pub(super) fn acquit(&mut self, worker: WorkerId, job: JobId) {
        let loss = self.by_worker.get(&worker);
        if loss.is_some_and(|loss| loss.job == job && !loss.is_confirmed) {
            self.remove(worker);
            self.order.retain(|other| *other != worker);
        }
    }

    /// The job went on.
    pub(super) fn update(&mut self, job: JobId, outcome: &LossOutcome) {
        for worker in self.by_job.get(&job).into_iter().flatten() {
            if let Some(loss) = self.by_worker.get_mut(worker) {
                loss.view.outcome = outcome.clone();
            }
        }
    }

    /// The job is over: what is known of it stays.
    pub(super) fn job_ended(&mut self, job: JobId) {
        self.by_job.remove(&job);
    }

    /// The confirmed losses.
    pub(super) fn view(&self) -> HashMap<WorkerId, JobLoss> {
        let confirmed = self.by_worker.iter().filter(|(_, loss)| loss.is_confirmed);
        confirmed.map(|(worker, loss)| (*worker, loss.view.clone())).collect()
    }

    fn remove(&mut self, worker: WorkerId) {
        let Some(loss) = self.by_worker.remove(&worker) else { return };
        if let Some(workers) = self.by_job.get_mut(&loss.job) {
            workers.retain(|other| *other != worker);
            if workers.is_empty() {
                self.by_job.remove(&loss.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_losses_are_forgotten() {
        let mut losses = Losses::default();
        let view = |n: u64| JobLoss {
            handle: format!("H:x:{n}"),
            function: "f".into(),
            attempts: 1,
            attempts_max: 3,
            outcome: LossOutcome::Waiting,
        };
        let max = LOSSES_MAX as u64;
        for n in 0..=max {
            losses.suspect(WorkerId(n), JobId(n), view(n));
            losses.confirm(WorkerId(n));
        }
        assert_eq!(losses.view().len(), LOSSES_MAX);
        assert!(!losses.view().contains_key(&WorkerId(0)));
        assert_eq!(losses.by_job.len(), LOSSES_MAX);
    }
}
