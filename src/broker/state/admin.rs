//! Text commands.

use std::time::Instant;

use super::jobs::Phase;
use super::sessions::Answer;
use super::{Effects, Outgoing, State};
use crate::broker::Peer;
use crate::model::{FunctionName, SessionId};
use crate::protocol::{
    AdminCommand, AdminError, AdminReply, ConnectionRow, FunctionRow, JobRow, PriorityRow,
    WorkReport,
};

impl State {
    pub(super) fn admin(
        &mut self,
        now: Instant,
        session: SessionId,
        command: Result<AdminCommand, AdminError>,
        fx: &mut Effects,
    ) {
        let reply = match command {
            Ok(command) => self.obey(now, command, fx),
            Err(error) => AdminReply::Error(error),
        };
        self.answer_with(session, Answer::Ready(Outgoing::Text(reply)), fx);
    }

    fn obey(&mut self, now: Instant, command: AdminCommand, fx: &mut Effects) -> AdminReply {
        match command {
            AdminCommand::Status => AdminReply::Status(self.function_rows()),
            AdminCommand::PriorityStatus => AdminReply::PriorityStatus(self.priority_rows()),
            AdminCommand::Workers => AdminReply::Workers(self.connection_rows()),
            AdminCommand::Version => AdminReply::Value(self.settings.version.clone()),
            AdminCommand::GetPid => AdminReply::Value(self.settings.pid.to_string()),
            AdminCommand::Verbose => AdminReply::Value("INFO".to_owned()),
            AdminCommand::ShowJobs => AdminReply::Jobs(self.job_rows()),
            AdminCommand::ShowUniqueJobs => {
                let ids = self.job_ids();
                let jobs = ids.iter().filter_map(|id| self.jobs.get(id));
                AdminReply::UniqueJobs(jobs.map(|job| job.unique.clone()).collect())
            }
            AdminCommand::CancelJob(handle) => {
                let handle = String::from_utf8_lossy(&handle);
                if self.cancel(now, &handle, fx) {
                    AdminReply::Ok
                } else {
                    AdminReply::Error(AdminError::UnknownJob)
                }
            }
            AdminCommand::CreateFunction(name) => {
                self.functions.find_or_add(&name);
                AdminReply::Ok
            }
            AdminCommand::DropFunction(name) => self.drop_function(&name),
            AdminCommand::MaxQueue { function, limits } => {
                let id = self.functions.find_or_add(&function);
                if let Some(function) = self.functions.get_mut(id) {
                    function.limits = limits;
                }
                AdminReply::Ok
            }
        }
    }

    /// Cancels a job that waits, and tells whether there was one.
    ///
    /// A running job is not touched: its worker goes on whatever the server says.
    pub fn cancel(&mut self, _now: Instant, handle: &str, fx: &mut Effects) -> bool {
        let waiting = self.job_of(handle.as_bytes()).filter(|job| {
            self.jobs.get(job).is_some_and(|job| matches!(job.phase, Phase::Ready | Phase::Limbo))
        });
        if let Some(job) = waiting {
            self.end_job(job, &WorkReport::Fail, fx);
        }
        waiting.is_some()
    }

    /// A function with jobs is in use too: dropping it would orphan them.
    fn drop_function(&mut self, name: &FunctionName) -> AdminReply {
        let Some(id) = self.functions.find(name) else {
            return AdminReply::Error(AdminError::FunctionNotFound);
        };
        let used = |function: &super::functions::Function| {
            function.total() > 0 || !function.performers.is_empty()
        };
        if self.functions.get(id).is_some_and(used) {
            return AdminReply::Error(AdminError::FunctionInUse);
        }
        self.functions.remove(id);
        AdminReply::Ok
    }

    fn function_rows(&self) -> Vec<FunctionRow> {
        let row = |function: &super::functions::Function| FunctionRow {
            function: function.name.clone(),
            total: function.total(),
            running: function.running,
            workers: function.performers.len(),
        };
        self.functions.iter().map(row).collect()
    }

    fn priority_rows(&self) -> Vec<PriorityRow> {
        let row = |function: &super::functions::Function| PriorityRow {
            function: function.name.clone(),
            queued: function.queued(),
            workers: function.performers.len(),
        };
        self.functions.iter().map(row).collect()
    }

    fn connection_rows(&self) -> Vec<ConnectionRow> {
        let mut ids: Vec<_> = self.sessions.keys().copied().collect();
        ids.sort_unstable();
        let row = |id: SessionId| {
            let session = self.sessions.get(&id)?;
            let name = |function: &usize| Some(self.functions.get(*function)?.name.clone());
            Some(ConnectionRow {
                id: id.0,
                address: match &session.peer {
                    Peer::Tcp { peer, .. } => peer.ip().to_canonical().to_string(),
                    Peer::Unix { .. } => "unix".to_owned(),
                },
                client_id: session.client_id.clone(),
                functions: session.abilities.keys().rev().filter_map(name).collect(),
            })
        };
        ids.into_iter().filter_map(row).collect()
    }

    fn job_rows(&self) -> Vec<JobRow> {
        let row = |id: &crate::model::JobId| {
            let job = self.jobs.get(id)?;
            Some(JobRow {
                handle: self.handle_of(*id),
                retries: job.attempts,
                ignored: job.clients.is_empty() && !job.background,
                background: job.background,
            })
        };
        self.job_ids().iter().filter_map(row).collect()
    }
}
