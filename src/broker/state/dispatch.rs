//! What a session performs, and the jobs it is given.

use std::time::{Duration, Instant};

use super::State;
use super::effects::{Effects, Outgoing};
use super::functions::{FunctionKey, Queue};
use super::jobs::Place;
use super::sessions::{Ability, Identity};
use super::sleepers::{Call, Standing};
use super::timers::Timer;
use crate::broker::BrokerEvent;
use crate::model::{FunctionName, JobId, SessionId};
use crate::protocol::{GrabStyle, Response};

/// How long a session is given no job while nobody has said whose it is.
pub(super) const ASK_FOR: Duration = Duration::from_millis(20);

impl State {
    /// CAN_DO. A session that registers a function twice performs it once; the later time-out
    /// counts.
    pub(super) fn can_do(
        &mut self,
        now: Instant,
        id: SessionId,
        (function, timeout): (&FunctionName, Option<Duration>),
        fx: &mut Effects,
    ) {
        let key = self.ensure_function(function);
        self.unlist(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.registrations += 1;
        let order = session.registrations;
        session.abilities.insert(key, Ability { timeout, order });
        if let Some(function) = self.functions.get_mut(key) {
            function.performers.insert(id);
        }
        if session.identity == Identity::Unasked {
            session.identity = Identity::Asked;
            let event = BrokerEvent::Performer { session: id, peer: session.peer.clone() };
            fx.events.push(event);
            self.timers.set(Timer::Ask(id), now + ASK_FOR);
        }
        if let Some(worker) = session.worker {
            self.registered(now, worker, fx);
        }
        self.list(id);
        self.wake_if_useful(now, id, fx);
    }

    /// CANT_DO. A job of the function that the session holds stays with it.
    pub(super) fn cant_do(
        &mut self,
        now: Instant,
        id: SessionId,
        function: &FunctionName,
        fx: &mut Effects,
    ) {
        if let Some(key) = self.functions.key(function) {
            self.unlist(id);
            self.unlearn(now, id, key, fx);
            self.list(id);
        }
    }

    /// RESET_ABILITIES.
    pub(super) fn reset_abilities(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        self.unlist(id);
        let Some(session) = self.sessions.get(&id) else { return };
        let keys: Vec<FunctionKey> = session.abilities.keys().copied().collect();
        for key in keys {
            self.unlearn(now, id, key, fx);
        }
        self.list(id);
    }

    /// Takes a function from an unlisted session.
    fn unlearn(&mut self, now: Instant, id: SessionId, key: FunctionKey, fx: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.abilities.remove(&key);
        let Some(function) = self.functions.get_mut(key) else { return };
        function.performers.remove(&id);
        if function.woken.contains(&id) {
            self.forget_wake(id);
            self.call(now, key, fx);
        }
    }

    /// GRAB_JOB in its three styles.
    pub(super) fn grab(&mut self, now: Instant, id: SessionId, style: GrabStyle, fx: &mut Effects) {
        let woken_for = self.awake(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.answers.push_held(style);
        }
        self.serve_grabs(now, id, fx);
        if let Some(function) = woken_for {
            self.call(now, function, fx);
        }
    }

    /// It is known now whose session this is: answers its grabs, and lets it be woken.
    pub(super) fn release(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        self.serve_grabs(now, id, fx);
        self.unlist(id);
        self.list(id);
        self.wake_if_useful(now, id, fx);
    }

    /// Answers the grabs that nothing is before.
    pub(super) fn serve_grabs(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        while self.standing(id) != Standing::Asked
            && let Some(session) = self.sessions.get(&id)
            && let Some((slot, style)) = session.answers.held()
        {
            let Some(answer) = self.assign(now, id, style, fx) else { return };
            if answer == Response::NoJob && self.hold_grab(now, id) {
                return;
            }
            self.stop_holding(id);
            let answer = Outgoing::Packet(answer);
            if let Some(session) = self.sessions.get_mut(&id) {
                session.answers.resolve(id, slot, answer, fx);
            }
        }
    }

    /// A job may be assigned from now on; wakes somebody for it.
    pub(super) fn enqueue(&mut self, now: Instant, id: JobId, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.place = Place::Queued;
        let key = job.function;
        if let Some(function) = self.functions.get_mut(key) {
            function.held.remove(id);
            function.arrivals.note(now);
        }
        self.functions.enqueue(key, job.priority, id);
        self.will_expire(now, key, id);
        match self.call(now, key, fx) {
            Call::Enough => {}
            Call::Woken => self.wake_others(now, key, fx),
            Call::Nobody => self.starved(key, fx),
        }
    }

    /// Gives the session the job whose turn it is; nothing when that has to be read first.
    fn assign(
        &mut self,
        now: Instant,
        session: SessionId,
        style: GrabStyle,
        fx: &mut Effects,
    ) -> Option<Response> {
        let picked = self.pick(now, session).and_then(|(key, priority)| {
            let first = self.functions.get(key)?.queued(priority).first()?;
            Some((key, priority, first))
        });
        let Some((key, priority, id)) = picked else { return Some(Response::NoJob) };
        if self.jobs.get(id).is_some_and(|job| job.content().is_none()) {
            self.await_content(session, (key, priority), fx);
            return None;
        }
        self.functions.dequeue(key, priority, id);
        self.functions.end_turn(key);
        self.fetched(now, key);
        self.hold(now, session, id);
        self.start_running(now, session, key, id);
        self.moved(id, session);
        self.read_ahead(key, priority, fx);
        Some(self.assignment(id, style))
    }

    /// The queue that a session is to be served from next.
    pub(super) fn pick(&self, now: Instant, session: SessionId) -> Option<Queue> {
        if self.standing(session) != Standing::Free {
            return None;
        }
        let abilities = &self.sessions.get(&session)?.abilities;
        self.functions.pick(abilities, |queue| !self.is_unreadable(now, queue))
    }

    fn start_running(&mut self, now: Instant, session: SessionId, key: FunctionKey, id: JobId) {
        if let Some(function) = self.functions.get_mut(key) {
            function.held.insert(id);
            function.running += 1;
            function.busy.start(now);
        }
        if let Some(job) = self.jobs.get_mut(id) {
            job.place = Place::Running { session, since: now };
        }
        let ability = self.sessions.get(&session).and_then(|session| session.abilities.get(&key));
        if let Some(timeout) = ability.and_then(|ability| ability.timeout) {
            self.timers.set(Timer::Timeout(id), now + timeout);
        }
    }

    fn assignment(&self, id: JobId, style: GrabStyle) -> Response {
        let Some(job) = self.jobs.get(id) else { return Response::NoJob };
        let Some(function) = self.functions.get(job.function) else { return Response::NoJob };
        let Some(content) = job.content() else { return Response::NoJob };
        Response::JobAssign {
            handle: self.handles.bytes(id),
            function: function.name.clone(),
            unique: match style {
                GrabStyle::Plain => None,
                GrabStyle::Unique | GrabStyle::All => Some(content.unique.clone()),
            },
            reducer: match style {
                GrabStyle::Plain | GrabStyle::Unique => None,
                GrabStyle::All => job.reducer().cloned(),
            },
            payload: content.payload.clone(),
        }
    }
}
