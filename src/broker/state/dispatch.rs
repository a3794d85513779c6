//! Who gets which job, and who is woken for it.
//!
//! A job wakes one sleeper, the one that fell asleep last, and one more every 50 ms until somebody
//! grabs; surplus workers therefore sleep on and can be seen to.

use std::time::{Duration, Instant};

use super::functions::FunctionId;
use super::jobs::Phase;
use super::sessions::{Answer, Identity};
use super::{Effects, Outgoing, State, Timer};
use crate::broker::BrokerEvent;
use crate::model::{FunctionName, JobId, Priority, SessionId, Unique};
use crate::protocol::{ErrorCode, GrabStyle, Response, WorkReport};

/// How long a woken sleeper may take to grab before one more is woken.
const WAKE_AGAIN: Duration = Duration::from_millis(50);
/// So many of the last sleepers are looked at before a function's own performers are.
const LAST_SLEEPERS: usize = 32;

impl State {
    pub(super) fn can_do(
        &mut self,
        now: Instant,
        id: SessionId,
        name: &FunctionName,
        timeout: Option<Duration>,
        fx: &mut Effects,
    ) {
        let function = self.functions.find_or_add(name);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.abilities.insert(function, timeout);
        let worker = session.worker;
        if let Some(function) = self.functions.get_mut(function) {
            function.performers.insert(id);
        }
        self.ask_identity(now, id, fx);
        if let Some(worker) = worker {
            self.registered(now, worker, fx);
        }
        self.wake_if_work(now, id, fx);
    }

    /// A job that is in hand stays there: a worker that takes nothing new may finish it.
    pub(super) fn cant_do(&mut self, id: SessionId, name: &FunctionName) {
        let Some(function) = self.functions.find(name) else { return };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.abilities.remove(&function);
        }
        if let Some(function) = self.functions.get_mut(function) {
            function.performers.remove(&id);
        }
    }

    pub(super) fn reset_abilities(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for function in std::mem::take(&mut session.abilities).into_keys() {
            if let Some(function) = self.functions.get_mut(function) {
                function.performers.remove(&id);
            }
        }
    }

    pub(super) fn grab(&mut self, now: Instant, id: SessionId, style: GrabStyle, fx: &mut Effects) {
        self.leave_sleepers(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.woken = false;
        if matches!(session.identity, Identity::Asked(_)) {
            return self.answer_with(id, Answer::Grab(style), fx);
        }
        let packet = self.assign_or_refuse(now, id, style, fx);
        self.answer_with(id, Answer::Ready(Outgoing::Packet(packet)), fx);
    }

    /// The answer to GRAB_JOB: a job, which is then in the session's hands, or NO_JOB.
    pub(super) fn assign_or_refuse(
        &mut self,
        now: Instant,
        id: SessionId,
        style: GrabStyle,
        fx: &mut Effects,
    ) -> Response {
        let Some((function, priority, job)) = self.next_job_for(id) else {
            self.starved_of_limit(id, fx);
            return Response::NoJob;
        };
        self.functions.dequeue(function, priority, job);
        self.assign(now, id, job, style)
    }

    /// The most urgent job that the session may have: by priority over all of its functions, then
    /// by turns over the functions, then by age.
    fn next_job_for(&self, id: SessionId) -> Option<(FunctionId, Priority, JobId)> {
        let session = self.sessions.get(&id)?;
        if !self.may_take(session) {
            return None;
        }
        let head = |function: FunctionId| {
            let (priority, job) = *self.functions.get(function)?.queue.first()?;
            let distance = function.wrapping_sub(session.turn.wrapping_add(1));
            Some(((priority, distance), (function, priority, job)))
        };
        let ready = self.functions.ready();
        // Whichever set is smaller is walked: thousands of functions may be registered or waiting.
        let best = if ready.len() < session.abilities.len() {
            let mine = ready.iter().filter(|function| session.abilities.contains_key(function));
            mine.filter_map(|function| head(*function)).min_by_key(|(rank, _)| *rank)
        } else {
            let waiting = session.abilities.keys().filter(|function| ready.contains(function));
            waiting.filter_map(|function| head(*function)).min_by_key(|(rank, _)| *rank)
        };
        best.map(|(_, found)| found)
    }

    fn assign(&mut self, now: Instant, id: SessionId, job_id: JobId, style: GrabStyle) -> Response {
        let handle = self.handle_of(job_id);
        let (Some(job), Some(session)) = (self.jobs.get_mut(&job_id), self.sessions.get_mut(&id))
        else {
            return Response::NoJob;
        };
        let timeout = session.abilities.get(&job.function).copied().flatten();
        let worker = session.worker;
        job.phase = Phase::Running { session: id, worker, since: now, timeout };
        session.in_hand.insert(job_id);
        session.turn = job.function;
        let (unique, payload, lost_by) = (job.unique.clone(), job.payload.clone(), job.lost_by);
        let name = match self.functions.get_mut(job.function) {
            Some(function) => {
                function.running += 1;
                function.wake_at = None;
                function.name.clone()
            }
            None => FunctionName::from(""),
        };
        if let Some(timeout) = timeout {
            self.set_timer(now + timeout, Timer::Overdue(job_id, id));
        }
        self.took_job(worker, job_id);
        if let Some(lost_by) = lost_by {
            self.losses.moved(lost_by, worker);
        }
        let unique: Option<Unique> = match style {
            GrabStyle::Plain => None,
            GrabStyle::Unique | GrabStyle::All => Some(unique),
        };
        Response::JobAssign { handle, function: name, unique, payload }
    }

    pub(super) fn sleep(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        let place = self.sleeps;
        self.sleeps += 1;
        self.leave_sleepers(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.asleep = Some(place);
        session.woken = false;
        self.sleepers.insert(place, id);
        self.wake_if_work(now, id, fx);
    }

    /// A sleeper for which a job waits is woken at once, so that no wake-up is lost between its
    /// GRAB_JOB and its PRE_SLEEP.
    pub(super) fn wake_if_work(&mut self, _now: Instant, id: SessionId, fx: &mut Effects) {
        let asleep = self.sessions.get(&id).is_some_and(|session| {
            session.asleep.is_some() && !matches!(session.identity, Identity::Asked(_))
        });
        if asleep && self.next_job_for(id).is_some() {
            self.wake(id, fx);
        }
    }

    /// Wakes one sleeper for a function with ready jobs, or tells that there is none.
    pub(super) fn wake_one(&mut self, now: Instant, function: FunctionId, fx: &mut Effects) {
        let Some(found) = self.functions.get(function).filter(|f| !f.queue.is_empty()) else {
            return;
        };
        let name = found.name.clone();
        match self.sleeper_for(function) {
            Some(session) => {
                self.wake(session, fx);
                let at = now + WAKE_AGAIN;
                if let Some(function) = self.functions.get_mut(function) {
                    function.wake_at = Some(at);
                }
                self.set_timer(at, Timer::Wake(function));
            }
            None => fx.events.push(BrokerEvent::Starved(name)),
        }
    }

    pub(super) fn wake_again(&mut self, now: Instant, function: FunctionId, fx: &mut Effects) {
        let due = self.functions.get(function).and_then(|function| function.wake_at);
        if due.is_some_and(|at| at <= now) {
            self.wake_one(now, function, fx);
        }
    }

    /// The sleeper that fell asleep last of those that may take a job of the function.
    fn sleeper_for(&self, function: FunctionId) -> Option<SessionId> {
        let fits = |id: &SessionId| {
            self.sessions.get(id).is_some_and(|session| {
                session.abilities.contains_key(&function)
                    && !matches!(session.identity, Identity::Asked(_))
                    && self.may_take(session)
            })
        };
        let last = self.sleepers.values().rev().take(LAST_SLEEPERS).find(|id| fits(id));
        if last.is_some() || self.sleepers.len() <= LAST_SLEEPERS {
            return last.copied();
        }
        let performers = &self.functions.get(function)?.performers;
        let asleep = performers.iter().filter(|id| fits(id)).filter_map(|id| {
            let place = self.sessions.get(id)?.asleep?;
            Some((place, *id))
        });
        asleep.max().map(|(_, id)| id)
    }

    fn wake(&mut self, id: SessionId, fx: &mut Effects) {
        self.leave_sleepers(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.woken = true;
            fx.sends.push((id, Outgoing::Packet(Response::Noop)));
        }
    }

    pub(super) fn leave_sleepers(&mut self, id: SessionId) {
        let place = self.sessions.get_mut(&id).and_then(|session| session.asleep.take());
        if let Some(place) = place {
            self.sleepers.remove(&place);
        }
    }

    /// News of a job from the session that holds it.
    pub(super) fn report(
        &mut self,
        now: Instant,
        id: SessionId,
        handle: &[u8],
        report: &WorkReport,
        fx: &mut Effects,
    ) {
        let job_id = self.job_of(handle);
        let held = job_id.filter(|job| {
            self.sessions.get(&id).is_some_and(|session| session.in_hand.contains(job))
        });
        let Some(job_id) = held else {
            let text = match report {
                WorkReport::Data(_) | WorkReport::Warning(_) => "Job does not exist on server",
                WorkReport::Exception(_) => {
                    "An exception was received for a job that does not exist"
                }
                _ => "Job given in work result not found",
            };
            return self.answer(id, Response::error(ErrorCode::JobNotFound, text), fx);
        };
        match report {
            WorkReport::Complete(_) | WorkReport::Fail | WorkReport::Exception(_) => {
                self.end_job(job_id, report, fx);
                let worker = self.sessions.get(&id).and_then(|session| session.worker);
                self.gave_back_job(now, worker, job_id, true, fx);
            }
            WorkReport::Data(_) | WorkReport::Warning(_) | WorkReport::Status { .. } => {
                let handle = self.handle_of(job_id);
                let Some(job) = self.jobs.get_mut(&job_id) else { return };
                if let WorkReport::Status { numerator, denominator } = report {
                    job.progress = Some((numerator.clone(), denominator.clone()));
                }
                let clients = job.clients.clone();
                self.tell_clients(&clients, &handle, report, fx);
            }
        }
    }
}
