//! A new program of the pool: which processes run it before it has proved itself, and what is told
//! of that.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{error, info};

use super::Pool;
use crate::config::PoolSettings;
use crate::pool::lifecycle::{DeployStep, Edition, ProgramChange};
use crate::pool::{DeployEvent, DeployView};

/// What is shown of the last roll.
#[derive(Debug, Default)]
pub(super) struct Deploy {
    shown: Option<DeployView>,
}

impl Deploy {
    pub(super) fn view(&self) -> Option<DeployView> {
        self.shown.clone()
    }
}

impl Pool {
    /// What new settings do to the program that the workers run. Called while the old settings are
    /// in place.
    pub(super) fn program_change(&mut self, new: &Arc<PoolSettings>) -> ProgramChange {
        let serving = self.former.as_ref().unwrap_or(&self.settings);
        let is_on_trial = self.former.is_some() && new.program == self.settings.program;
        let change = match &self.former {
            Some(former) if former.program == new.program => ProgramChange::Back,
            None if serving.program == new.program => ProgramChange::Same,
            Some(_) if is_on_trial && !self.roster.has_failed_trial() => ProgramChange::Same,
            Some(_) | None => ProgramChange::New,
        };
        let program = serving.program.clone();
        let keeps_former = match change {
            ProgramChange::New => true,
            ProgramChange::Same => self.former.is_some(),
            ProgramChange::Back => false,
        };
        self.former =
            keeps_former.then(|| Arc::new(PoolSettings { program, ..PoolSettings::clone(new) }));
        change
    }

    /// The settings that a process is started with.
    pub(super) fn edition(&self, edition: Edition) -> &Arc<PoolSettings> {
        match (edition, &self.former) {
            (Edition::Former, Some(former)) => former,
            (Edition::Former | Edition::InForce, _) => &self.settings,
        }
    }

    /// Forgets the former program once nothing runs it any more that is not being replaced.
    pub(super) fn forget_former(&mut self) {
        if self.roster.is_proven() {
            self.former = None;
        }
        if !self.roster.has_trial() && self.deploy.shown.take().is_some() {
            self.publisher.touch();
        }
    }

    /// Tells how a canary does.
    pub(super) fn tell_deploy(&mut self, step: &DeployStep) {
        let (index, failed) = match step {
            DeployStep::Began { index } | DeployStep::Proved { index } => (*index, None),
            DeployStep::Failed { index, reason } => (*index, Some(reason.clone())),
        };
        let (worker, at) = (self.settings.name.worker(index), SystemTime::now());
        let pool = &self.settings.name;
        let what = match step {
            DeployStep::Began { .. } => {
                info!(%pool, %worker, "a canary goes ahead of the other workers");
                "canary began"
            }
            DeployStep::Proved { .. } => {
                info!(%pool, %worker, "the canary has proved itself; the other workers follow");
                "canary proved itself"
            }
            DeployStep::Failed { reason, .. } => {
                error!(
                    %pool, %worker, reason,
                    "the canary failed, and the old workers serve on; an edit of the pool or \
                     restart tries again"
                );
                "canary failed"
            }
        };
        self.deploy.shown = match step {
            DeployStep::Proved { .. } => None,
            DeployStep::Began { .. } | DeployStep::Failed { .. } => {
                Some(DeployView { worker: worker.clone(), at, failed: failed.clone() })
            }
        };
        self.news.deployed(DeployEvent { at, worker, what, reason: failed });
    }
}
