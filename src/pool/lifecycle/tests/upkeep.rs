//! What a pool does about workers that are late, sick, worn or in the way, case by case.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::table::{SECOND, starts};
use super::world::{World, rules};
use crate::config::Restart;
use crate::model::{Exit, WorkerId};
use crate::pool::lifecycle::{Effect, Event, ReadyRule, ReadyUntil, Rules, Successor};
use crate::pool::{Pick, SlotState};

fn world_of(change: impl FnOnce(&mut Rules)) -> World {
    let mut rules = rules(Successor::Overlaps, 1);
    change(&mut rules);
    let mut world = World::with_rules(rules);
    world.target(1);
    let worker = world.worker(1);
    world.handle(Event::Started(worker));
    world
}

fn told(until: ReadyUntil, after: Duration) -> ReadyRule {
    ReadyRule { until, after, timeout: SECOND * 10 }
}

#[test]
fn a_start_that_waits_for_a_sign_is_ready_by_nothing_else() {
    for (until, other, sign) in [
        (ReadyUntil::Registered, Event::Ready as fn(WorkerId) -> Event, Event::Registered as _),
        (ReadyUntil::Told, Event::Registered as _, Event::Ready as fn(WorkerId) -> Event),
    ] {
        let mut world = world_of(|rules| rules.ready = told(until, Duration::ZERO));
        let worker = world.worker(1);
        if until == ReadyUntil::Told {
            world.handle(other(worker));
        }
        world.pass(SECOND * 9);
        assert_eq!(world.seat(1).state, SlotState::Starting);
        world.handle(sign(worker));
        assert_eq!(world.seat(1).state, SlotState::Running);
    }
}

#[test]
fn a_sign_that_comes_early_waits_for_the_time_to_live() {
    let mut world = world_of(|rules| rules.ready = told(ReadyUntil::Told, SECOND * 2));
    let worker = world.worker(1);
    world.handle(Event::Ready(worker));
    assert_eq!(world.seat(1).state, SlotState::Starting);
    world.pass(SECOND * 2);
    assert_eq!(world.seat(1).state, SlotState::Running);
}

#[test]
fn a_start_that_is_never_ready_has_failed_with_the_reason() {
    let mut world = world_of(|rules| rules.ready = told(ReadyUntil::Told, Duration::ZERO));
    let worker = world.worker(1);
    let request = world.start(Pick::Pool);
    world.pass(SECOND * 10);
    assert_eq!(world.answers[&request], Err("p:1: not ready within 10 s".to_owned()));
    assert_eq!(world.drains, [worker]);
    world.drained(worker);
    world.die(worker);
    let seat = world.seat(1);
    assert_eq!(seat.state, SlotState::Backoff);
    assert_eq!(seat.last_exit.unwrap().blame, "not ready within 10 s");
    assert!(seat.detail.starts_with("not ready within 10 s; 1 in a row"), "{}", seat.detail);
}

#[test]
fn an_exit_is_followed_by_what_restart_says() {
    use crate::config::Restart::{Always, Never, Unexpected};
    for (restart, code, state) in [
        (Always, 0, SlotState::Starting),
        (Unexpected, 0, SlotState::Exited),
        (Unexpected, 75, SlotState::Exited),
        (Unexpected, 1, SlotState::Starting),
        (Never, 0, SlotState::Exited),
        (Never, 1, SlotState::Exited),
    ] {
        let mut world = world_of(|rules| {
            rules.restart = restart;
            rules.exit_codes = vec![0, 75];
        });
        world.all_ready();
        world.pass(SECOND * 5);
        let worker = world.worker(1);
        world.handle(Event::Ended { worker, exit: Exit::Code(code) });
        assert_eq!(world.seat(1).state, state, "{restart:?} {code}");
        if state == SlotState::Exited {
            assert_eq!(world.failures.len(), usize::from(code == 1), "{restart:?} {code}");
            world.pass(SECOND * 3600);
            assert_eq!(world.seat(1).state, SlotState::Exited);
            let request = world.start(Pick::Pool);
            world.all_ready();
            assert_eq!(world.answers[&request], Ok(()));
        }
    }
}

#[test]
fn a_pool_that_cannot_be_started_is_fatal_and_told_once() {
    let mut world = World::new(Successor::Overlaps, 2);
    world.target(2);
    for _ in 0..6 {
        if let Some(worker) = world.live.keys().copied().next() {
            world.die(worker);
        } else {
            world.now = world.roster.next_deadline().unwrap();
            world.handle(Event::Deadline);
        }
    }
    let states = [(1, SlotState::Fatal), (2, SlotState::Fatal)];
    while world.states() != states {
        let worker = *world.live.keys().next().unwrap();
        world.die(worker);
    }
    assert_eq!(world.failures.len(), 1, "{:?}", world.failures);
    assert!(world.failures[0].contains("exit 1"), "{:?}", world.failures);
}

#[test]
fn a_sick_worker_gets_the_stop_steps_and_a_successor_at_once() {
    let mut world = World::running(Successor::Overlaps, 1);
    let worker = world.worker(1);
    let effects = world.handle(Event::Unhealthy { worker, reason: "http 500".to_owned() });
    assert!(effects.contains(&Effect::Signal(worker, Signal::SIGTERM)));
    assert!(world.drains.is_empty(), "it may be stuck in its job");
    assert_eq!(starts(&effects), [1]);
    world.die(worker);
    assert_eq!(world.seat(1).last_exit.unwrap().blame, "http 500");
    assert_eq!(world.seat(1).restarts, 1);
}

#[test]
fn workers_that_are_sick_at_once_pause_after_a_few() {
    for successor in [Successor::Overlaps, Successor::Follows] {
        let mut world = World::running(successor, 1);
        for n in 1..=6 {
            assert_eq!(world.seat(1).state, SlotState::Running, "{n}");
            let worker = world.worker(1);
            world.handle(Event::Unhealthy { worker, reason: "WATCHDOG=trigger".to_owned() });
            world.die(worker);
            world.all_ready();
        }
        assert_eq!(world.seat(1).state, SlotState::Backoff);
        world.pass(SECOND * 30);
        world.all_ready();
        assert_eq!(world.seat(1).state, SlotState::Running);
        world.pass(SECOND * 2);
        let worker = world.worker(1);
        world.handle(Event::Unhealthy { worker, reason: "later".to_owned() });
        world.die(worker);
        world.all_ready();
        assert_eq!(world.seat(1).state, SlotState::Running, "it was well for long");
    }
}

#[test]
fn a_killed_job_is_charged_even_while_its_worker_drains() {
    let mut world = World::running(Successor::Overlaps, 1);
    let worker = world.worker(1);
    world.stop(Pick::Pool);
    let effects = world.handle(Event::Overrun { worker, reason: "by an operator".to_owned() });
    assert_eq!(effects, [Effect::Charge(worker), Effect::Kill(worker)]);
    world.die(worker);
    assert_eq!(world.states(), [(1, SlotState::Stopped)]);
}

#[test]
fn what_was_stopped_stays_stopped_in_the_next_life() {
    let mut world = World::new(Successor::Overlaps, 3);
    world.roster.restore(false, &[2].into(), world.now);
    world.target(3);
    world.all_ready();
    let expected = [(1, SlotState::Running), (2, SlotState::Stopped), (3, SlotState::Running)];
    assert_eq!(world.states(), expected);
    let mut world = World::new(Successor::Overlaps, 3);
    world.roster.restore(true, &[1, 2].into(), world.now);
    world.target(3);
    assert!(world.live.is_empty());
    world.start(Pick::Pool);
    assert_eq!(world.live.len(), 3);
}

#[test]
fn a_successor_that_fails_for_good_leaves_the_old_process_at_work() {
    let mut rules = rules(Successor::Overlaps, 1);
    rules.restart = Restart::Never;
    let mut world = World::with_rules(rules);
    world.target(1);
    world.all_ready();
    let old = world.worker(1);
    let request = world.restart(Pick::Pool);
    let successor = world.worker(1);
    world.die(successor);
    let reason = "p:1: exit 1, and is not started again".to_owned();
    assert_eq!(world.answers[&request], Err(reason));
    assert_eq!((world.states(), world.worker(1)), (vec![(1, SlotState::Running)], old));
}

#[test]
fn an_old_process_is_replaced_by_a_ready_one_at_a_time_of_its_own() {
    let age_max = Some(crate::config::AgeMax { age: SECOND * 100, variance: SECOND * 10 });
    let mut world = world_of(|rules| rules.age_max = age_max);
    let old = world.worker(1);
    world.all_ready();
    world.pass(SECOND * 109);
    assert_eq!(world.worker(1), old);
    world.pass(SECOND);
    let successor = world.worker(1);
    assert!(successor > old && world.drains.is_empty());
    let said = "replaces a process that has lived for 110 s";
    assert_eq!(world.moves.last().unwrap().why.to_string(), said);
    world.handle(Event::Registered(successor));
    assert_eq!(world.drains, [old]);
}

#[test]
fn only_so_many_workers_are_recycled_at_once() {
    let mut rules = rules(Successor::Overlaps, 4);
    rules.recycling_max = 2;
    let mut world = World::with_rules(rules);
    world.target(4);
    world.all_ready();
    for index in 1..=4 {
        let worker = world.worker(index);
        world.handle(Event::Recycle { worker, reason: "is worn".to_owned() });
    }
    assert_eq!(world.live.len(), 6);
    world.calm();
    assert_eq!(world.live.len(), 4);
    assert!(world.live.keys().all(|worker| worker.0 > 4), "all are new");
}
