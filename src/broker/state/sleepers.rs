//! Who sleeps, and who is woken for a job.
//!
//! A job wakes one sleeper, the one that went idle last, so surplus workers age visibly. Whoever
//! was woken counts for 50 ms: until it grabs, or closes, no other is woken for that job; then one
//! more is, and so on. Whenever a function has more jobs than woken sessions on their way, and a
//! sleeper that may take one, that sleeper is woken or the function's timer runs.
//!
//! Sleepers are listed with each function they perform, or, when those are many, in one list of
//! generalists, so that neither going to sleep nor looking for a sleeper is long work.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::State;
use super::effects::{Effects, Outgoing};
use super::functions::{FunctionKey, Sleeper};
use super::sessions::{Identity, Listing, Rest};
use super::timers::Timer;
use crate::broker::BrokerEvent;
use crate::model::SessionId;
use crate::protocol::Response;

/// How long a woken session may take to grab before another one is woken.
pub(super) const WAKE_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Most functions that a sleeper is listed with one by one.
const SPECIALIST_ABILITIES_MAX: usize = 32;

/// What came of looking for somebody to do a function's jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// There is nothing to do, or enough sessions are on their way.
    Enough,
    /// One sleeper was woken.
    Woken,
    /// Nobody is idle.
    Nobody,
}

/// Whether a session may be given a job now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may.
    Free,
    /// It is not known yet: the question whose it is is open.
    Asked,
    /// It may not: it closes, its process drains or is dead, or its pool is at its max.
    Barred,
}

impl State {
    pub(super) fn standing(&self, session: SessionId) -> Standing {
        let Some(session) = self.sessions.get(&session) else { return Standing::Barred };
        if session.is_closing {
            return Standing::Barred;
        }
        match (session.worker, session.identity) {
            (None, Identity::Asked) => Standing::Asked,
            (None, Identity::Known | Identity::Unasked) => Standing::Free,
            (Some(worker), _) if self.crews.may_take(worker) => Standing::Free,
            (Some(_), _) => Standing::Barred,
        }
    }

    /// Makes a sleeping session findable.
    pub(super) fn list(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let barred = session.worker.is_some_and(|worker| !self.crews.is_serving(worker));
        let asked = session.identity == Identity::Asked;
        if !session.rest.is_idle() || barred || asked || session.is_closing {
            return;
        }
        let sleeper: Sleeper = (session.rank, id);
        if let Some(worker) = session.worker {
            self.crews.list(worker, sleeper);
        }
        if session.abilities.len() > SPECIALIST_ABILITIES_MAX {
            session.listing = Listing::Generalist;
            self.generalists.insert(sleeper);
            return;
        }
        session.listing = Listing::Specialist;
        for key in session.abilities.keys() {
            if let Some(function) = self.functions.get_mut(*key) {
                function.sleepers.insert(sleeper);
            }
        }
    }

    /// Makes a session no longer findable; to be called before its rank, its abilities or its
    /// process change.
    pub(super) fn unlist(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let sleeper: Sleeper = (session.rank, id);
        match std::mem::replace(&mut session.listing, Listing::Unlisted) {
            Listing::Unlisted => return,
            Listing::Generalist => {
                self.generalists.remove(&sleeper);
            }
            Listing::Specialist => {
                for key in session.abilities.keys() {
                    if let Some(function) = self.functions.get_mut(*key) {
                        function.sleepers.remove(&sleeper);
                    }
                }
            }
        }
        if let Some(worker) = session.worker {
            self.crews.unlist(worker, sleeper);
        }
    }

    /// The session holds no job any more: of all sessions it is the one that went idle last.
    pub(super) fn went_idle(&mut self, id: SessionId) {
        self.unlist(id);
        self.ranks += 1;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.rank = self.ranks;
        }
        self.list(id);
    }

    /// PRE_SLEEP: the session sleeps unless there is a job for it.
    pub(super) fn pre_sleep(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        let woken_for = self.awake(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.rest = Rest::Asleep;
        }
        self.list(id);
        self.wake_if_useful(now, id, fx);
        if let Some(function) = woken_for {
            self.call(now, function, fx);
        }
    }

    /// The session acts by itself again; tells what it was woken for.
    pub(super) fn awake(&mut self, id: SessionId) -> Option<FunctionKey> {
        self.stop_holding(id);
        self.unlist(id);
        let before = self.forget_wake(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.rest = Rest::Awake;
        }
        match before {
            Rest::Woken(function) => function,
            Rest::Awake | Rest::Asleep | Rest::Held(_) => None,
        }
    }

    /// Expects no longer that the session comes for the job it was woken for; tells how it was.
    pub(super) fn forget_wake(&mut self, id: SessionId) -> Rest {
        let Some(session) = self.sessions.get_mut(&id) else { return Rest::Awake };
        let before = session.rest;
        if let Rest::Woken(Some(key)) = before {
            session.rest = Rest::Woken(None);
            if let Some(function) = self.functions.get_mut(key) {
                function.woken.remove(&id);
            }
        }
        before
    }

    /// Wakes an idle session if there is a job that it may take.
    pub(super) fn wake_if_useful(&mut self, now: Instant, id: SessionId, fx: &mut Effects) -> bool {
        let Some(session) = self.sessions.get(&id) else { return false };
        if !session.rest.is_idle() || self.standing(id) != Standing::Free {
            return false;
        }
        let Some((function, _)) = self.pick(now, id) else {
            self.sleep_until_read(now, id);
            return false;
        };
        self.wake(now, id, function, fx);
        true
    }

    /// Wakes one sleeper if the function has more jobs than sessions on their way.
    pub(super) fn call(&mut self, now: Instant, key: FunctionKey, fx: &mut Effects) -> Call {
        let Some(function) = self.functions.get(key) else { return Call::Enough };
        let (ready, coming) = (function.ready_len(), function.woken.len());
        if ready == 0 {
            return Call::Enough;
        }
        if coming < ready || self.any_held() {
            let sleeper = self.sleeper_for(key);
            // Who is held takes the job at once, whoever else is on the way to it.
            if let Some(sleeper) = sleeper.filter(|id| coming < ready || self.is_held(*id)) {
                self.wake(now, sleeper, key, fx);
                return Call::Woken;
            }
            if coming == 0 {
                return Call::Nobody;
            }
        }
        self.timers.set_unless_set(Timer::Wake(key), now + WAKE_AGAIN_AFTER);
        if coming < ready { Call::Nobody } else { Call::Enough }
    }

    /// Wakes up to so many sleepers for the function.
    pub(super) fn call_for(
        &mut self,
        now: Instant,
        key: FunctionKey,
        times: usize,
        fx: &mut Effects,
    ) {
        for _ in 0..times {
            match self.call(now, key, fx) {
                Call::Woken => self.wake_others(now, key, fx),
                Call::Enough => return,
                Call::Nobody => return self.starved(key, fx),
            }
        }
    }

    /// Wakes further sleepers for a job that woke one, where more than one a job are asked for.
    pub(super) fn wake_others(&mut self, now: Instant, key: FunctionKey, fx: &mut Effects) {
        for _ in 1..self.settings.habits.wakeups {
            let Some(sleeper) = self.sleeper_for(key) else { return };
            self.wake(now, sleeper, key, fx);
        }
    }

    /// Looks again for somebody to do the jobs that these sleepers perform, up to so many a
    /// function; they could not take them before.
    pub(super) fn rouse(
        &mut self,
        now: Instant,
        sleepers: &BTreeSet<Sleeper>,
        times: usize,
        fx: &mut Effects,
    ) {
        let sessions = sleepers.iter().filter_map(|(_, id)| self.sessions.get(id));
        let functions: BTreeSet<FunctionKey> =
            sessions.flat_map(|session| self.functions.ready_for(&session.abilities)).collect();
        for key in functions {
            for _ in 0..times {
                if self.call(now, key, fx) != Call::Woken {
                    break;
                }
            }
        }
    }

    /// Nobody grabbed in time: those who were woken count no longer, and one more is.
    pub(super) fn wake_again(&mut self, now: Instant, key: FunctionKey, fx: &mut Effects) {
        let Some(function) = self.functions.get_mut(key) else { return };
        if function.ready_len() == 0 {
            return;
        }
        let late = std::mem::take(&mut function.woken);
        for id in late {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.rest = Rest::Woken(None);
            }
        }
        if self.call(now, key, fx) == Call::Nobody {
            self.starved(key, fx);
        }
    }

    /// A job was fetched, so the function's sleepers are left in peace for another while.
    pub(super) fn fetched(&mut self, now: Instant, key: FunctionKey) {
        let Some(function) = self.functions.get(key) else { return };
        let timer = Timer::Wake(key);
        if function.ready_len() == 0 {
            self.timers.clear(timer);
        } else if self.timers.is_set(timer) {
            self.timers.set(timer, now + WAKE_AGAIN_AFTER);
        }
    }

    pub(super) fn starved(&self, key: FunctionKey, fx: &mut Effects) {
        let Some(function) = self.functions.get(key) else { return };
        // A burst of jobs within one turn is one piece of news.
        let is_told = |event: &BrokerEvent| matches!(event, BrokerEvent::Starved(name) if *name == function.name);
        if !fx.events.last().is_some_and(is_told) {
            fx.events.push(BrokerEvent::Starved(function.name.clone()));
        }
    }

    /// The listed sleeper that performs the function, may take a job, and went idle last.
    fn sleeper_for(&self, key: FunctionKey) -> Option<SessionId> {
        let function = self.functions.get(key)?;
        let free = |sleeper: &&Sleeper| self.standing(sleeper.1) == Standing::Free;
        let performs = |sleeper: &&Sleeper| {
            self.sessions
                .get(&sleeper.1)
                .is_some_and(|session| session.abilities.contains_key(&key))
        };
        let specialist = function.sleepers.iter().rev().find(free);
        let generalist = self.generalists.iter().rev().filter(performs).find(free);
        specialist.max(generalist).map(|(_, id)| *id)
    }

    fn wake(&mut self, now: Instant, id: SessionId, key: FunctionKey, fx: &mut Effects) {
        if self.stop_holding(id) {
            self.serve_grabs(now, id, fx);
            // It may have to wait until its job is read, or have got another one.
            if self.functions.get(key).is_some_and(|function| function.ready_len() > 0) {
                self.timers.set_unless_set(Timer::Wake(key), now + WAKE_AGAIN_AFTER);
            }
            return;
        }
        self.unlist(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.rest = Rest::Woken(Some(key));
        }
        if let Some(function) = self.functions.get_mut(key) {
            function.woken.insert(id);
        }
        fx.sends.push((id, Outgoing::Packet(Response::Noop)));
        self.timers.set_unless_set(Timer::Wake(key), now + WAKE_AGAIN_AFTER);
    }
}
