//! Random events and requests: whatever happens, no child is lost or started twice, and the pool
//! comes to what is wanted once events cease. The world's own checks run after every event.

use std::collections::BTreeMap;
use std::ops::Not;
use std::time::Duration;

use proptest::prelude::*;

use super::world::{World, rules, slots};
use crate::config::Restart;
use crate::model::{Exit, WorkerId};
use crate::pool::lifecycle::{
    Event, ProgramChange, ReadyRule, ReadyUntil, RestartMode, Rules, Successor,
};
use crate::pool::{Pick, PoolIntent, SlotState};

/// One random step; `usize` picks among what is there.
#[derive(Clone, Debug)]
enum Step {
    Target(u32, bool),
    Configure(bool, u32),
    Start(Option<u32>),
    Stop(Option<u32>),
    Restart(Option<u32>, RestartMode),
    Renew,
    Back,
    Close,
    Hurry,
    Started(usize),
    Registered(usize),
    Ready(usize),
    Unhealthy(usize),
    Overrun(usize),
    Recycle(usize),
    JobEnded(usize, bool),
    Die(usize, i32),
    NotStarted(usize),
    Withdrawn(usize),
    Idle(usize),
    Busy(usize),
    Obey(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || prop::option::of(1_u32..6);
    prop_oneof![
        3 => (0_u32..6, any::<bool>()).prop_map(|(target, busy)| Step::Target(target, busy)),
        2 => (any::<bool>(), 0_u32..6).prop_map(|(rolls, target)| Step::Configure(rolls, target)),
        2 => slot().prop_map(Step::Start),
        2 => slot().prop_map(Step::Stop),
        2 => (slot(), any::<bool>()).prop_map(|(slot, now)| {
            Step::Restart(slot, if now { RestartMode::Now } else { RestartMode::Roll })
        }),
        1 => Just(Step::Renew),
        1 => Just(Step::Back),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Step::Close } else { Step::Hurry }),
        6 => any::<usize>().prop_map(Step::Started),
        6 => any::<usize>().prop_map(Step::Registered),
        6 => any::<usize>().prop_map(Step::Ready),
        1 => any::<usize>().prop_map(Step::Unhealthy),
        1 => any::<usize>().prop_map(Step::Overrun),
        2 => any::<usize>().prop_map(Step::Recycle),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(at, well)| Step::JobEnded(at, well)),
        6 => (any::<usize>(), 0..2).prop_map(|(worker, code)| Step::Die(worker, code)),
        1 => any::<usize>().prop_map(Step::NotStarted),
        1 => any::<usize>().prop_map(Step::Withdrawn),
        6 => any::<usize>().prop_map(Step::Idle),
        4 => any::<usize>().prop_map(Step::Busy),
        6 => any::<usize>().prop_map(Step::Obey),
        4 => (0_u64..8000).prop_map(Step::Pass),
    ]
}

fn pick(slot: Option<u32>) -> Pick {
    slot.map_or(Pick::Pool, |index| slots(&format!("p:{index}")))
}

fn take(world: &mut World, step: &Step) {
    let request = world.request();
    let event = match *step {
        Step::Target(target, drain_busy) => Some(Event::Target { target, drain_busy }),
        Step::Configure(rolls, target) => {
            let rules = Rules { count_max: target, ..world.rules.clone() };
            let program = if rolls { ProgramChange::New } else { ProgramChange::Same };
            Some(Event::Configure { rules, program, target, request })
        }
        Step::Start(slot) => Some(Event::Start { pick: pick(slot), request }),
        Step::Stop(slot) => Some(Event::Stop { pick: pick(slot), request }),
        Step::Restart(slot, mode) => Some(Event::Restart { pick: pick(slot), mode, request }),
        Step::Renew => Some(Event::Renew { request }),
        Step::Back => world.roster.is_proven().not().then(|| Event::Configure {
            rules: world.rules.clone(),
            program: ProgramChange::Back,
            target: world.roster.target(),
            request,
        }),
        Step::Close => Some(Event::Close { grace: Duration::from_secs(20), request }),
        Step::Hurry => Some(Event::Hurry),
        Step::Started(at) => nth(&world.live, at).map(Event::Started),
        Step::Registered(at) => nth(&world.live, at).map(Event::Registered),
        Step::Ready(at) => nth(&world.live, at).map(Event::Ready),
        Step::Unhealthy(at) => nth(&world.live, at)
            .map(|worker| Event::Unhealthy { worker, reason: "sick".to_owned() }),
        Step::Overrun(at) => nth(&world.live, at)
            .map(|worker| Event::Overrun { worker, reason: "too long".to_owned() }),
        Step::Recycle(at) => nth(&world.live, at)
            .map(|worker| Event::Recycle { worker, reason: "is old".to_owned() }),
        Step::JobEnded(at, well) => {
            nth(&world.live, at).map(|worker| Event::JobEnded { worker, well })
        }
        Step::Die(at, code) => nth(&world.live, at).map(|worker| ended(worker, code)),
        Step::Obey(at) => {
            let signalled = world.signalled.iter().map(|worker| (*worker, 0)).collect();
            nth(&signalled, at).map(|worker| ended(worker, 0))
        }
        Step::NotStarted(at) => {
            let fresh = world.roster.seats().filter(|seat| seat.started.is_none());
            let fresh = fresh.filter_map(|seat| Some((seat.worker?, seat.index))).collect();
            nth(&fresh, at).map(|worker| Event::NotStarted { worker, reason: "no".to_owned() })
        }
        Step::Withdrawn(at) => nth(&asked(world), at).map(Event::Withdrawn),
        Step::Idle(at) => nth(&asked(world), at).map(Event::Drained),
        Step::Busy(at) => {
            let asks = world.asks.iter().map(|worker| (*worker, 0)).collect();
            nth(&asks, at).map(Event::Busy)
        }
        Step::Pass(millis) => {
            world.now += Duration::from_millis(millis);
            Some(Event::Deadline)
        }
    };
    if let Some(event) = event {
        world.handle(event);
    }
}

fn nth(workers: &BTreeMap<WorkerId, u32>, at: usize) -> Option<WorkerId> {
    workers.keys().copied().nth(at.checked_rem(workers.len())?)
}

/// Workers that the gate was asked about or is draining.
fn asked(world: &World) -> BTreeMap<WorkerId, u32> {
    world.asks.iter().chain(&world.drains).map(|worker| (*worker, 0)).collect()
}

fn ended(worker: WorkerId, code: i32) -> Event {
    Event::Ended { worker, exit: Exit::Code(code) }
}

fn check(rules: Rules, steps: &[Step], jitter: f64) {
    let mut world = World::with_rules(rules);
    world.random = jitter;
    for step in steps {
        if world.finished {
            break;
        }
        take(&mut world, step);
    }
    world.calm();
    let answered: Vec<_> = world.answers.keys().collect();
    assert_eq!(answered, world.asked.iter().collect::<Vec<_>>(), "every request is answered");
    let rests = |state| matches!(state, SlotState::Stopped | SlotState::Exited);
    let held = world.roster.seats().filter(|seat| rests(seat.state)).count();
    let target = world.roster.target() as usize;
    let running = world.roster.seats().filter(|seat| seat.state == SlotState::Running).count();
    if world.finished || world.roster.intent() == PoolIntent::Stopped {
        assert_eq!(running, 0);
    } else {
        assert!(running <= target, "{running} run, {target} are wanted");
        assert!(running + held >= target, "{running} run, {target} are wanted, {held} held");
        // A successor that failed and is not started again leaves the old process at work.
        let may_stay = world.rules.restart != Restart::Always;
        let may_stay = may_stay || world.roster.has_failed_trial();
        let is_new = world.roster.seats().all(|seat| !seat.outdated);
        assert!(is_new || may_stay, "all run the new program");
    }
    assert_eq!(world.live.len(), running, "nothing else lives");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_pool_comes_to_what_is_wanted_and_loses_no_child(
        steps in prop::collection::vec(step(), 0..120),
        jitter in 0.0..1.0,
        follows in any::<bool>(),
        at_once in 1_u32..4,
        until in prop::sample::select(vec![
            ReadyUntil::Alive, ReadyUntil::Registered, ReadyUntil::Told,
        ]),
        canary in prop::option::of(0_u64..10),
        restart in prop::sample::select(vec![
            Restart::Always, Restart::Always, Restart::Unexpected, Restart::Never,
        ]),
    ) {
        let successor = if follows { Successor::Follows } else { Successor::Overlaps };
        let rules = rules(successor, 4);
        let ready = ReadyRule { until, timeout: Duration::from_secs(10), ..rules.ready };
        let limits = Rules { recycling_max: at_once, rolling_max: at_once, ..rules };
        let limits = Rules { canary: canary.map(Duration::from_secs), ..limits };
        check(Rules { ready, restart, ..limits }, &steps, jitter);
    }
}
