//! What waits until all stored jobs are read.
//!
//! After a start the jobs that the store kept come in a stream, those first that are to run first,
//! while the broker serves. What might concern a job that has not come yet waits for the end of the
//! stream: submissions with a unique that is not known, questions about unknown jobs, lists. Of a
//! session that waits so, everything later waits too, but for reports of jobs in its hands.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::State;
use super::effects::Effects;
use crate::model::{JobId, SessionId};
use crate::protocol::{AdminCommand, AdminError, Request, Submission};

/// What came while stored jobs were being read, and waits.
#[derive(Debug, Default)]
pub(super) struct Loading {
    waiting: VecDeque<(SessionId, Postponed)>,
    count: BTreeMap<SessionId, usize>,
}

/// Something that a session sent.
#[derive(Debug)]
pub(super) enum Postponed {
    Request(Request),
    Admin(Result<AdminCommand, AdminError>),
}

impl Loading {
    pub(super) fn len_of(&self, session: SessionId) -> usize {
        self.count.get(&session).copied().unwrap_or(0)
    }

    /// The session has closed.
    pub(super) fn forget(&mut self, session: SessionId) {
        if self.count.remove(&session).is_some() {
            self.waiting.retain(|(waiting, _)| *waiting != session);
        }
    }

    fn push(&mut self, session: SessionId, postponed: Postponed) {
        *self.count.entry(session).or_default() += 1;
        self.waiting.push_back((session, postponed));
    }
}

impl State {
    /// Stored jobs are going to come, until [`State::loaded`].
    pub fn begin_loading(&mut self) {
        self.loading = Some(Loading::default());
    }

    /// Whether stored jobs are still to come.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// All stored jobs have come; what waited for that goes on, in its order.
    pub fn loaded(&mut self, now: Instant, fx: &mut Effects) {
        let Some(loading) = self.loading.take() else { return };
        self.recur(now, fx);
        for (session, postponed) in loading.waiting {
            if self.listens_to(session) {
                self.begin(now, session, postponed, fx);
            }
        }
    }

    /// Keeps what has to wait for stored jobs, and gives the rest back.
    pub(super) fn postpone(&mut self, session: SessionId, sent: Postponed) -> Option<Postponed> {
        let Some(loading) = &self.loading else { return Some(sent) };
        let waits = match &sent {
            Postponed::Request(Request::Work { .. }) => false,
            _ if loading.len_of(session) > 0 => true,
            Postponed::Request(request) => self.may_concern_unknown(request),
            Postponed::Admin(Ok(command)) => self.needs_all(command),
            Postponed::Admin(Err(_)) => false,
        };
        match &mut self.loading {
            Some(loading) if waits => loading.push(session, sent),
            _ => return Some(sent),
        }
        None
    }

    pub(super) fn begin(
        &mut self,
        now: Instant,
        session: SessionId,
        sent: Postponed,
        fx: &mut Effects,
    ) {
        match sent {
            Postponed::Request(request) => self.request(now, session, request, fx),
            Postponed::Admin(command) => self.admin(session, command, fx),
        }
    }

    fn may_concern_unknown(&self, request: &Request) -> bool {
        match request {
            Request::Submit(job) | Request::SubmitReduce { job, .. } => self.may_be_second(job),
            Request::GetStatus(handle) => self.may_be_unknown(handle),
            Request::GetStatusUnique(unique) => self.jobs.with_unique(unique).is_none(),
            Request::CanDo { .. }
            | Request::CantDo(_)
            | Request::ResetAbilities
            | Request::PreSleep
            | Request::Grab(_)
            | Request::Work { .. }
            | Request::Schedule(_)
            | Request::Echo(_)
            | Request::Option(_)
            | Request::SetClientId(_)
            | Request::Unexpected(_) => false,
        }
    }

    /// Whether a submission may join a job that has not come yet, or come on top of as many as may
    /// wait.
    fn may_be_second(&self, job: &Submission) -> bool {
        let function = self.functions.key(&job.function);
        if let Some(same) = self.jobs.sameness(&job.unique, &job.payload) {
            return function.and_then(|function| self.jobs.same(function, same)).is_none();
        }
        let rules = &self.settings.rules;
        rules.queued_max.is_some() || rules.functions.of(&job.function).queued_max.is_some()
    }

    fn needs_all(&self, command: &AdminCommand) -> bool {
        match command {
            AdminCommand::CancelJob(handle) => self.may_be_unknown(handle),
            AdminCommand::DropFunction(_)
            | AdminCommand::Status
            | AdminCommand::PriorityStatus
            | AdminCommand::List(_) => true,
            AdminCommand::Workers
            | AdminCommand::Clients
            | AdminCommand::Version
            | AdminCommand::GetPid
            | AdminCommand::Verbose
            | AdminCommand::CreateFunction(_)
            | AdminCommand::MaxQueue { .. } => false,
        }
    }

    /// Whether a handle may be of a stored job that has not come yet.
    fn may_be_unknown(&self, handle: &[u8]) -> bool {
        let is_stored = |id: &JobId| *id < self.settings.next && self.jobs.get(*id).is_none();
        self.handles.parse(handle).as_ref().is_some_and(is_stored)
    }
}
