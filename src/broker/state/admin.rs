//! The text commands.

use super::State;
use super::effects::{Effects, Outgoing};
use super::functions::Function;
use super::job_lists::JobList;
use super::jobs::{Job, Place};
use super::sessions::Session;
use crate::broker::Peer;
use crate::model::{FunctionName, JobId, Priority, SessionId};
use crate::protocol::{
    AdminCommand, AdminError, AdminReply, ClientRow, ConnectionRow, FunctionRow, JobListing,
    OutstandingRow, PriorityRow, WorkReport,
};

/// How a command is answered.
enum Answer {
    Now(AdminReply),
    /// With a listing, piece by piece.
    List(JobListing),
}

impl State {
    pub(super) fn admin(
        &mut self,
        session: SessionId,
        command: Result<AdminCommand, AdminError>,
        fx: &mut Effects,
    ) {
        let answer = match command {
            Ok(command) => self.obey(command, fx),
            Err(error) => Answer::Now(AdminReply::Error(error)),
        };
        let Some(admin) = self.sessions.get_mut(&session) else { return };
        match answer {
            Answer::Now(reply) => admin.answers.push(session, Outgoing::Text(reply), fx),
            Answer::List(of) => admin.answers.push_job_list(session, JobList::new(of), fx),
        }
    }

    fn obey(&mut self, command: AdminCommand, fx: &mut Effects) -> Answer {
        Answer::Now(match command {
            AdminCommand::List(of) => return Answer::List(of),
            AdminCommand::Status => AdminReply::Status(self.status_rows()),
            AdminCommand::PriorityStatus => AdminReply::PriorityStatus(self.priority_rows()),
            AdminCommand::Workers => AdminReply::Workers(self.connection_rows()),
            AdminCommand::Version => AdminReply::Value(self.settings.version.clone()),
            AdminCommand::GetPid => AdminReply::Value(self.settings.pid.to_string()),
            AdminCommand::Verbose => AdminReply::Value("INFO".to_owned()),
            AdminCommand::Clients => AdminReply::Clients(self.client_rows()),
            AdminCommand::CancelJob(handle) => {
                let id = self.handles.parse(&handle);
                ok_or(id.is_some_and(|id| self.cancel_job(id, fx)), AdminError::UnknownJob)
            }
            AdminCommand::CreateFunction(name) => {
                let key = self.ensure_function(&name);
                if let Some(function) = self.functions.get_mut(key) {
                    function.made = true;
                }
                AdminReply::Ok
            }
            AdminCommand::DropFunction(name) => self.drop_function(&name),
            AdminCommand::MaxQueue { function, limits } => {
                let key = self.ensure_function(&function);
                if let Some(function) = self.functions.get_mut(key) {
                    function.limits = limits.into();
                    function.made = true;
                }
                AdminReply::Ok
            }
        })
    }

    /// Cancels a job that waits, and tells whether there was one.
    ///
    /// A job in a worker's hands is left alone: nothing can take it back there, and its clients
    /// would get two endings. gearmand answers OK for those and sends both.
    pub fn cancel(&mut self, _now: std::time::Instant, handle: &str, fx: &mut Effects) -> bool {
        self.parse_handle(handle).is_some_and(|id| self.cancel_job(id, fx))
    }

    pub(super) fn cancel_job(&mut self, id: JobId, fx: &mut Effects) -> bool {
        if self.end_schedule(id, fx) {
            return true;
        }
        let waits = self.jobs.get(id).is_some_and(|job| {
            matches!(job.place, Place::Queued | Place::Delayed | Place::Limbo(_))
        });
        if !waits {
            return false;
        }
        if let Some(job) = self.end(id, fx) {
            self.tell(id, &job, &WorkReport::Fail, fx);
        }
        true
    }

    fn drop_function(&mut self, name: &FunctionName) -> AdminReply {
        let Some(key) = self.functions.key(name) else {
            return AdminReply::Error(AdminError::FunctionNotFound);
        };
        let is_free = self.functions.get(key).is_some_and(Function::is_unused);
        if is_free {
            self.forget_function(key);
        }
        ok_or(is_free, AdminError::FunctionInUse)
    }

    fn status_rows(&self) -> Vec<FunctionRow> {
        let row = |function: &Function| FunctionRow {
            function: function.name.clone(),
            total: function.total(),
            running: function.running,
            workers: function.performers.len(),
        };
        self.functions.iter().map(row).collect()
    }

    fn priority_rows(&self) -> Vec<PriorityRow> {
        let row = |function: &Function| PriorityRow {
            function: function.name.clone(),
            queued: Priority::ALL
                .map(|priority| function.queued(priority).len() + function.delayed.get(priority)),
            workers: function.performers.len(),
        };
        self.functions.iter().map(row).collect()
    }

    fn connection_rows(&self) -> Vec<ConnectionRow> {
        let row = |(id, session): (&SessionId, &Session)| {
            let mut abilities: Vec<_> = session.abilities.iter().collect();
            abilities.sort_unstable_by_key(|(_, ability)| std::cmp::Reverse(ability.order));
            let names = abilities.into_iter().filter_map(|(key, _)| self.functions.get(*key));
            ConnectionRow {
                id: id.0,
                address: address(&session.peer),
                client_id: session.client_id.clone(),
                functions: names.map(|function| function.name.clone()).collect(),
            }
        };
        self.sessions.iter().map(row).collect()
    }

    fn client_rows(&self) -> Vec<ClientRow> {
        let row = |session: &Session| ClientRow {
            address: whole_address(&session.peer),
            jobs: session
                .waits_for
                .iter()
                .filter_map(|id| self.outstanding_row(self.jobs.get(*id)?))
                .collect(),
        };
        self.sessions.values().map(row).collect()
    }

    pub(super) fn outstanding_row(&self, job: &Job) -> Option<OutstandingRow> {
        let worker = match job.place {
            Place::Running { session, .. } => self.sessions.get(&session),
            Place::Storing | Place::Delayed | Place::Queued | Place::Limbo(_) => None,
        };
        Some(OutstandingRow {
            function: self.functions.get(job.function)?.name.clone(),
            unique: job.content().map_or_else(|| "".into(), |content| content.unique.clone()),
            worker: worker.map(|session| whole_address(&session.peer)),
            listeners: job.clients().values().sum(),
        })
    }
}

fn ok_or(ok: bool, error: AdminError) -> AdminReply {
    if ok { AdminReply::Ok } else { AdminReply::Error(error) }
}

fn whole_address(peer: &Peer) -> String {
    match peer {
        Peer::Tcp { peer, .. } => peer.to_string(),
        Peer::Unix { .. } => "unix".to_owned(),
    }
}

fn address(peer: &Peer) -> String {
    match peer {
        Peer::Tcp { peer, .. } => peer.ip().to_canonical().to_string(),
        Peer::Unix { .. } => "unix".to_owned(),
    }
}
