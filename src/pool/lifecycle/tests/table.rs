//! What a pool does, case by case.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::world::{World, slots};
use crate::model::{Exit, WorkerId};
use crate::pool::lifecycle::{Effect, Event, Move, Next, Successor, Why};
use crate::pool::{Pick, SlotRole, SlotState};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn starts(effects: &[Effect]) -> Vec<u32> {
    let start = |effect: &Effect| match effect {
        Effect::Start { index, .. } => Some(*index),
        _ => None,
    };
    effects.iter().filter_map(start).collect()
}

pub(super) fn next(effects: &[Effect]) -> Option<Next> {
    effects.iter().find_map(|effect| match effect {
        Effect::Moved(Move {
            why: Why::Died { next, .. } | Why::NotStarted { next, .. }, ..
        }) => Some(*next),
        _ => None,
    })
}

#[test]
fn a_worker_is_ready_when_it_registers_or_has_lived_for_a_second() {
    let mut world = World::new(Successor::Overlaps, 2);
    world.target(2);
    let (first, second) = (world.worker(1), world.worker(2));
    world.handle(Event::Started(first));
    world.handle(Event::Started(second));
    world.handle(Event::Registered(first));
    assert_eq!(world.states(), [(1, SlotState::Running), (2, SlotState::Starting)]);
    assert_eq!(world.roster.next_deadline(), Some(world.now + SECOND));
    world.pass(SECOND);
    assert_eq!(world.states(), [(1, SlotState::Running), (2, SlotState::Running)]);
    assert_eq!(world.roster.next_deadline(), None, "an idle pool has no timer");
}

#[test]
fn a_start_that_waits_for_its_turn_is_not_ready_after_a_second() {
    let mut world = World::new(Successor::Overlaps, 1);
    world.target(1);
    world.pass(SECOND * 2);
    assert_eq!(world.states(), [(1, SlotState::Starting)]);
}

#[test]
fn a_worker_that_dies_ready_is_replaced_at_once() {
    let mut world = World::running(Successor::Overlaps, 3);
    let worker = world.worker(2);
    let effects = world.die(worker);
    assert_eq!(starts(&effects), [2]);
    assert_eq!(next(&effects), Some(Next::Replaced));
    assert_eq!(world.seat(2).restarts, 1);
}

#[test]
fn a_worker_that_dies_before_it_is_ready_pauses_longer_each_time() {
    let mut world = World::new(Successor::Overlaps, 1);
    world.target(1);
    for (failures, pause) in (1..).zip([1, 2, 4, 8, 16, 30, 30]) {
        let worker = world.worker(1);
        let effects = world.die(worker);
        assert_eq!(starts(&effects), [0; 0]);
        let state = if failures < 3 { SlotState::Backoff } else { SlotState::Fatal };
        assert_eq!(world.seat(1).state, state);
        let due = world.roster.next_deadline().unwrap();
        assert_eq!(due - world.now, SECOND * pause);
        assert_eq!(starts(&world.pass(SECOND * pause)), [1]);
    }
    world.all_ready();
    world.pass(SECOND);
    let worker = world.worker(1);
    world.die(worker);
    let worker = world.worker(1);
    world.die(worker);
    let due = world.roster.next_deadline().unwrap();
    assert_eq!(due - world.now, SECOND, "health resets the pause");
}

#[test]
fn a_program_that_registers_and_crashes_is_held_back_in_the_end() {
    let mut world = World::running(Successor::Overlaps, 1);
    let mut replaced = 0;
    for _ in 0..20 {
        if world.seat(1).state != SlotState::Starting && replaced > 0 {
            break;
        }
        world.all_ready();
        let worker = world.worker(1);
        if next(&world.die(worker)) == Some(Next::Replaced) {
            replaced += 1;
        }
    }
    assert_eq!((replaced, world.seat(1).state), (5, SlotState::Backoff));
}

#[test]
fn a_program_that_ends_well_after_each_job_is_never_held_back() {
    let mut world = World::running(Successor::Overlaps, 1);
    for _ in 0..50 {
        world.all_ready();
        let worker = world.worker(1);
        world.handle(Event::Ended { worker, exit: Exit::Code(0) });
        assert_eq!(world.seat(1).state, SlotState::Starting);
    }
}

#[test]
fn a_pool_whose_starts_fail_tries_one_worker_at_a_time() {
    let mut world = World::new(Successor::Overlaps, 8);
    world.target(8);
    for worker in world.live.keys().copied().collect::<Vec<_>>() {
        world.die(worker);
    }
    assert!(world.live.is_empty());
    let mut tried = Vec::new();
    for _ in 0..8 {
        world.now = world.roster.next_deadline().unwrap();
        let effects = world.handle(Event::Deadline);
        assert_eq!(starts(&effects).len(), 1, "one probe");
        tried.extend(starts(&effects));
        assert!(world.seat(tried[0]).detail.contains("exit 1 after"), "{}", world.seat(1).detail);
        let worker = *world.live.keys().next().unwrap();
        world.die(worker);
    }
    tried.sort_unstable();
    assert_eq!(tried, [1, 2, 3, 4, 5, 6, 7, 8], "each comes to its turn");
    world.now = world.roster.next_deadline().unwrap();
    world.handle(Event::Deadline);
    world.all_ready();
    assert_eq!(world.live.len(), 8, "all return when the probe is ready");
}

#[test]
fn a_healthy_worker_is_replaced_at_once_though_the_pools_starts_fail() {
    let mut world = World::running(Successor::Overlaps, 2);
    world.target(5);
    for index in 3..=5 {
        let worker = world.worker(index);
        world.die(worker);
    }
    let worker = world.worker(1);
    assert_eq!(starts(&world.die(worker)), [1]);
}

#[test]
fn stopping_drains_then_takes_the_steps() {
    let mut world = World::running(Successor::Overlaps, 1);
    let worker = world.worker(1);
    let request = world.stop(Pick::Pool);
    assert_eq!(world.drains, [worker]);
    assert_eq!(world.seat(1).detail, "draining");
    world.pass(SECOND * 3600);
    assert!(world.signalled.is_empty(), "a job in hand may take any time");
    let effects = world.drained(worker);
    let expected = [
        Effect::Signal(worker, Signal::SIGTERM),
        Effect::Signal(worker, Signal::SIGCONT),
        Effect::Nudge(worker),
    ];
    assert_eq!(effects, expected);
    assert_eq!(world.pass(SECOND * 4), []);
    assert_eq!(world.pass(SECOND), [Effect::Kill(worker)]);
    assert!(world.answers.is_empty());
    world.die(worker);
    assert_eq!(world.answers[&request], Ok(()));
    assert_eq!(world.states(), [(1, SlotState::Stopped)]);
    world.target(1);
    assert_eq!(world.states(), [(1, SlotState::Stopped)], "stays stopped until start");
    let request = world.start(Pick::Pool);
    world.all_ready();
    assert_eq!(world.answers[&request], Ok(()));
}

#[test]
fn the_second_stop_changes_nothing_and_is_answered_too() {
    let mut world = World::running(Successor::Overlaps, 1);
    let worker = world.worker(1);
    let first = world.stop(Pick::Pool);
    let second = world.stop(slots("p:1"));
    assert_eq!(world.drains, [worker]);
    world.calm();
    assert_eq!((&world.answers[&first], &world.answers[&second]), (&Ok(()), &Ok(())));
}

#[test]
fn one_stopped_worker_is_missing_until_it_is_started() {
    let mut world = World::running(Successor::Overlaps, 3);
    world.stop(slots("p:2"));
    world.calm();
    let expected = [(1, SlotState::Running), (2, SlotState::Stopped), (3, SlotState::Running)];
    assert_eq!(world.states(), expected);
    world.start(slots("p:2"));
    world.calm();
    assert_eq!(world.live.len(), 3);
}

#[test]
fn shrinking_takes_idle_workers_only_and_the_highest_first() {
    let mut world = World::running(Successor::Overlaps, 4);
    let workers: Vec<WorkerId> = (1..=4).map(|index| world.worker(index)).collect();
    world.target(2);
    assert_eq!(world.asks, [workers[3], workers[2]]);
    world.busy(workers[3]);
    assert_eq!(world.asks, [workers[2], workers[1]], "the next one is asked instead");
    world.busy(workers[2]);
    assert_eq!(world.asks, [workers[1], workers[0]]);
    world.busy(workers[1]);
    world.busy(workers[0]);
    assert_eq!(world.live.len(), 4, "busy workers are left");
    world.handle(Event::JobEnded { worker: workers[1], well: true });
    assert_eq!(world.asks, [workers[1]], "asked again when it ends a job");
    world.drained(workers[1]);
    assert!(world.signalled.contains(&workers[1]));
    world.die(workers[1]);
    assert_eq!(world.live.len(), 3);
    world.target(4);
    assert_eq!(world.worker(2), *world.live.keys().last().unwrap(), "the lowest free number");
    assert!(world.asks.is_empty());
}

#[test]
fn a_job_that_ends_while_the_question_is_under_way_has_it_asked_again() {
    let mut world = World::running(Successor::Overlaps, 1);
    let worker = world.worker(1);
    world.target(0);
    world.handle(Event::JobEnded { worker, well: true });
    world.busy(worker);
    assert_eq!(world.asks, [worker]);
}

#[test]
fn busy_workers_above_the_target_are_asked_again_though_news_was_lost() {
    let mut world = World::running(Successor::Overlaps, 1);
    let worker = world.worker(1);
    world.target(0);
    world.busy(worker);
    assert!(world.asks.is_empty());
    world.pass(SECOND * 5);
    assert_eq!(world.asks, [worker]);
}

#[test]
fn busy_workers_are_drained_when_the_count_was_lowered() {
    let mut world = World::running(Successor::Overlaps, 2);
    let workers: Vec<WorkerId> = (1..=2).map(|index| world.worker(index)).collect();
    world.handle(Event::Target { target: 1, drain_busy: true });
    world.busy(workers[1]);
    assert_eq!(world.asks, [workers[0]], "an idle one would go rather");
    world.busy(workers[0]);
    assert_eq!(world.drains, [workers[1]]);
}

#[test]
fn a_roll_has_the_successor_ready_before_the_predecessor_leaves() {
    let mut world = World::running(Successor::Overlaps, 2);
    let (first, second) = (world.worker(1), world.worker(2));
    let request = world.configure(true, 2);
    assert_eq!(world.live.len(), 3, "one more at a time");
    assert_eq!(world.moves.last().unwrap().why, Why::Renews);
    let seat = world.roster.seats().nth(1).unwrap();
    assert_eq!((seat.index, seat.role, seat.worker), (1, SlotRole::Predecessor, Some(first)));
    assert!(seat.outdated && world.drains.is_empty());
    let successor = world.worker(1);
    world.handle(Event::Registered(successor));
    assert_eq!(world.drains, [first]);
    assert_eq!(world.worker(2), second, "the next one waits");
    world.drained(first);
    world.die(first);
    assert_ne!(world.worker(2), second);
    assert!(!world.answers.contains_key(&request));
    world.calm();
    assert_eq!(world.answers[&request], Ok(()));
    assert_eq!(world.live.len(), 2);
    world.restart(Pick::Pool);
    assert_eq!(world.moves.last().unwrap().why, Why::Restarts);
}

#[test]
fn a_plain_program_is_stopped_before_its_successor_starts() {
    let mut world = World::running(Successor::Follows, 2);
    let first = world.worker(1);
    let request = world.restart(Pick::Pool);
    assert_eq!(world.drains, [first]);
    world.drained(first);
    let effects = world.die(first);
    assert_eq!(starts(&effects), [1]);
    assert_eq!(world.drains, [], "the next one waits until this one is ready");
    world.calm();
    assert_eq!(world.answers[&request], Ok(()));
}

#[test]
fn a_roll_to_a_program_that_fails_keeps_the_old_one_at_work() {
    let mut world = World::running(Successor::Overlaps, 2);
    let old = [world.worker(1), world.worker(2)];
    let request = world.configure(true, 2);
    for _ in 0..5 {
        let successor = world.worker(1);
        world.die(successor);
        world.now = world.roster.next_deadline().unwrap();
        world.handle(Event::Deadline);
        assert!(old.iter().all(|worker| world.live.contains_key(worker)));
    }
    assert!(world.answers[&request].as_ref().is_err_and(|reason| reason.contains("exit 1")));
    let successor = world.worker(1);
    world.die(successor);
    let request = world.configure(true, 2);
    assert!(world.worker(1) > successor, "a mended file is tried at once");
    world.calm();
    assert_eq!(world.answers[&request], Ok(()));
    assert!(world.roster.seats().all(|seat| !seat.outdated));
}

#[test]
fn a_worker_that_is_wanted_again_while_it_drains_gets_a_successor_under_its_number() {
    let mut world = World::running(Successor::Overlaps, 1);
    let old = world.worker(1);
    let stop = world.stop(Pick::Pool);
    world.start(Pick::Pool);
    assert!(world.answers[&stop].is_err());
    let expected = [(1, SlotState::Starting), (1, SlotState::Stopping)];
    assert_eq!(world.states(), expected);
    world.drained(old);
    world.die(old);
    world.all_ready();
    assert_eq!(world.states(), [(1, SlotState::Running)]);
}

#[test]
fn closing_drains_all_and_kills_what_is_left_after_the_grace() {
    let mut world = World::running(Successor::Overlaps, 3);
    let workers: Vec<WorkerId> = (1..=3).map(|index| world.worker(index)).collect();
    let request = world.close(SECOND * 60);
    assert_eq!(world.drains.len(), 3);
    world.drained(workers[0]);
    world.die(workers[0]);
    let effects = world.pass(SECOND * 60);
    assert_eq!(effects, [Effect::Kill(workers[1]), Effect::Kill(workers[2])]);
    world.die(workers[1]);
    assert!(!world.finished);
    world.die(workers[2]);
    assert!(world.finished);
    assert_eq!(world.answers[&request], Ok(()));
    let late = world.start(Pick::Pool);
    assert!(world.answers[&late].is_err());
}

#[test]
fn hurry_kills_at_once_and_only_when_closing() {
    let mut world = World::running(Successor::Overlaps, 1);
    let worker = world.worker(1);
    assert_eq!(world.handle(Event::Hurry), []);
    world.close(SECOND * 60);
    assert_eq!(world.handle(Event::Hurry), [Effect::Kill(worker)]);
    assert_eq!(world.handle(Event::Hurry), []);
}

#[test]
fn closing_an_empty_pool_ends_it_at_once() {
    let mut world = World::new(Successor::Overlaps, 1);
    let request = world.close(SECOND);
    assert!(world.finished);
    assert_eq!(world.answers[&request], Ok(()));
}
