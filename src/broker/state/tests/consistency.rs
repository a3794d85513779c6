//! What must hold between the tables of the state after every step.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::state::State;
use crate::broker::state::functions::Function;
use crate::broker::state::jobs::{Place, Record};
use crate::broker::state::sessions::{Listing, Rest};
use crate::broker::state::sleepers::Standing;
use crate::broker::state::timers::Timer;
use crate::model::{JobId, Priority, SessionId, WorkerId};

pub(super) fn assert_consistent(state: &State) {
    for function in state.functions.iter() {
        jobs_are_where_their_function_says(state, function);
        no_job_waits_while_a_sleeper_sleeps(state, function);
    }
    hands_agree(state);
    clients_agree(state);
    holds_agree(state);
    for (id, dead) in &state.dead.by_id {
        assert!(state.jobs.get(*id).is_none(), "{id} is dead and alive");
        assert!(state.functions.get(dead.job.function).unwrap().dead.contains(id), "{id}");
    }
    let total: usize = state.functions.iter().map(Function::total).sum();
    assert_eq!(total, state.jobs.iter().count(), "every job is in its function's lists");
}

fn jobs_are_where_their_function_says(state: &State, function: &Function) {
    let place = |id: JobId| state.jobs.get(id).expect("a listed job exists").place;
    for priority in Priority::ALL {
        for id in function.queued(priority).iter() {
            assert_eq!(place(id), Place::Queued, "{id}");
            assert!(!state.jobs.get(id).unwrap().is_unwanted(), "{id} waits for nobody");
        }
    }
    let runs = |id: &JobId| matches!(place(*id), Place::Running { .. });
    assert!(function.held.iter().all(|id| place(id) != Place::Queued));
    assert_eq!(function.held.iter().filter(runs).count(), function.running);
    let delayed = |id: &JobId| place(*id) == Place::Delayed;
    assert_eq!(function.held.iter().filter(delayed).count(), function.delayed_len());
}

/// Whoever sleeps may sleep on only while the function's timer is about to wake one more.
fn no_job_waits_while_a_sleeper_sleeps(state: &State, function: &Function) {
    let key = state.functions.key(&function.name).unwrap();
    for id in &function.woken {
        assert_eq!(state.sessions[id].rest, Rest::Woken(Some(key)), "{id}");
    }
    let could =
        |id: &SessionId| state.sessions[id].rest.is_idle() && state.standing(*id) == Standing::Free;
    let sleepers: Vec<_> = function.performers.iter().filter(|id| could(id)).collect();
    for id in &sleepers {
        assert_ne!(state.sessions[id].listing, Listing::Unlisted, "{id} cannot be found");
    }
    if function.ready_len() > 0 && !sleepers.is_empty() {
        assert!(state.timers.is_set(Timer::Wake(key)), "{sleepers:?} oversleep {}", function.name);
    }
}

fn hands_agree(state: &State) {
    let mut holding: BTreeMap<WorkerId, usize> = BTreeMap::new();
    let mut in_hand = BTreeSet::new();
    for (id, session) in &state.sessions {
        for job in &session.in_hand {
            let place = state.jobs.get(*job).expect("a held job exists").place;
            assert!(matches!(place, Place::Running { session, .. } if session == *id), "{job}");
            in_hand.insert(*job);
        }
        if let Some(worker) = session.worker {
            *holding.entry(worker).or_default() += session.in_hand.len();
        }
    }
    for (id, job) in state.jobs.iter() {
        assert_eq!(matches!(job.place, Place::Running { .. }), in_hand.contains(&id), "{id}");
        assert!(job.place != Place::Storing || job.record != Record::None, "{id} is not stored");
    }
    for (id, worker) in &state.crews.workers {
        assert_eq!(worker.holding, holding.get(id).copied().unwrap_or(0), "worker {id}");
    }
    state.crews.assert_consistent();
}

fn holds_agree(state: &State) {
    let is_held = |id: &&SessionId| state.is_held(**id);
    assert_eq!(state.sessions.keys().filter(is_held).count(), state.holds.len());
    for session in state.sessions.keys().filter(is_held) {
        assert!(state.sessions[session].answers.held().is_some(), "{session} asked for nothing");
        assert!(state.next_deadline().is_some(), "{session} is held for ever");
    }
}

fn clients_agree(state: &State) {
    for (id, session) in &state.sessions {
        for job in &session.waits_for {
            assert!(state.jobs.get(*job).unwrap().clients().contains_key(id), "{id} and {job}");
        }
    }
    for (job, client) in
        state.jobs.iter().flat_map(|(id, job)| job.clients().keys().map(move |client| (id, client)))
    {
        assert!(state.sessions[client].waits_for.contains(&job), "{client} and {job}");
    }
}
