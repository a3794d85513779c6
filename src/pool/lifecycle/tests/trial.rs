//! The canary of a roll, case by case.

use std::time::Duration;

use super::world::{World, rules};
use crate::model::{Exit, WorkerId};
use crate::pool::lifecycle::{
    DeployStep, Edition, Effect, Event, ProgramChange, ReadyRule, RequestId, RestartMode, Rules,
    Successor,
};
use crate::pool::{Pick, SlotRole, SlotState};

const SECOND: Duration = Duration::from_secs(1);

/// A world whose `count` workers run, and whose canaries have to live for 5 s.
fn world(successor: Successor, count: u32) -> World {
    let rules = Rules { canary: Some(SECOND * 5), ..rules(successor, count) };
    let mut world = World::with_rules(rules);
    world.target(count);
    world.all_ready();
    world
}

fn newest(world: &World) -> WorkerId {
    *world.live.last_key_value().unwrap().0
}

fn ready(world: &mut World, worker: WorkerId) {
    world.handle(Event::Started(worker));
    world.handle(Event::Registered(worker));
}

fn editions(effects: &[Effect]) -> Vec<Edition> {
    let edition = |effect: &Effect| match effect {
        Effect::Start { edition, .. } => Some(*edition),
        _ => None,
    };
    effects.iter().filter_map(edition).collect()
}

fn back(world: &mut World) -> RequestId {
    let request = world.request();
    let (rules, target) = (world.rules.clone(), world.roster.target());
    world.handle(Event::Configure { rules, program: ProgramChange::Back, target, request });
    request
}

fn failed(world: &World, reason: &str) {
    let step = DeployStep::Failed { index: 1, reason: reason.to_owned() };
    assert_eq!(world.deploys.last(), Some(&step));
    assert!(world.roster.has_failed_trial());
}

#[test]
fn the_others_follow_when_the_canary_has_done_a_job_or_lived_for_its_time() {
    for by_job in [true, false] {
        let mut world = world(Successor::Overlaps, 3);
        let old = world.worker(1);
        let request = world.configure(true, 3);
        let canary = newest(&world);
        ready(&mut world, canary);
        assert_eq!(world.live.len(), 4, "one more, and the old one stays: {:?}", world.states());
        world.handle(Event::JobEnded { worker: canary, well: false });
        assert!(world.drains.is_empty(), "a job that failed proves nothing");
        if by_job {
            world.handle(Event::JobEnded { worker: canary, well: true });
        } else {
            world.pass(SECOND * 4);
            assert!(world.drains.is_empty());
            world.pass(SECOND);
        }
        assert_eq!(world.drains, [old]);
        assert_eq!(world.deploys.last(), Some(&DeployStep::Proved { index: 1 }));
        world.calm();
        assert_eq!(world.answers[&request], Ok(()));
        assert!(world.roster.seats().all(|seat| !seat.outdated));
    }
}

#[test]
fn a_canary_that_fails_leaves_the_old_processes_at_work() {
    for is_ready in [false, true] {
        let mut world = world(Successor::Overlaps, 3);
        let old: Vec<_> = world.live.keys().copied().collect();
        let request = world.configure(true, 3);
        let canary = newest(&world);
        if is_ready {
            ready(&mut world, canary);
        }
        let effects = world.die(canary);
        assert_eq!(editions(&effects), []);
        assert!(world.live.keys().copied().eq(old), "nothing else happened");
        assert_eq!(world.roster.seats().filter(|seat| seat.outdated).count(), 3);
        let told = world.answers[&request].clone().unwrap_err();
        assert!(told.starts_with("p:1: the canary p:1 failed: exit 1 after 0.00 s"), "{told}");
        let when = if is_ready { "" } else { ", before it was ready" };
        failed(&world, &format!("exit 1 after 0.00 s{when}"));
        assert_eq!(world.roster.next_deadline(), None, "it is not tried again by itself");
    }
}

#[test]
fn what_starts_while_a_program_is_on_trial_or_has_failed_runs_the_former_one() {
    let mut world = world(Successor::Overlaps, 2);
    world.configure(true, 2);
    let (canary, other) = (newest(&world), world.worker(2));
    assert_eq!(editions(&world.die(other)), [Edition::Former]);
    world.die(canary);
    let first = world.worker(1);
    assert_eq!(editions(&world.die(first)), [Edition::Former]);
    world.all_ready();
    let effects = {
        let request = world.request();
        let event = Event::Restart { pick: Pick::Pool, mode: RestartMode::Roll, request };
        world.handle(event)
    };
    assert_eq!(editions(&effects), [Edition::InForce], "an operator tries again");
    let canary = newest(&world);
    ready(&mut world, canary);
    world.handle(Event::JobEnded { worker: canary, well: true });
    world.calm();
    assert!(world.roster.is_proven());
    assert!(world.roster.seats().all(|seat| !seat.outdated));
}

#[test]
fn an_edit_that_takes_the_new_program_back_ends_its_canary_alone() {
    let mut world = world(Successor::Overlaps, 2);
    let old: Vec<_> = world.live.keys().copied().collect();
    let first = world.configure(true, 2);
    let canary = newest(&world);
    ready(&mut world, canary);
    let request = back(&mut world);
    assert_eq!(world.drains, [canary]);
    world.calm();
    assert!(world.live.keys().copied().eq(old));
    assert_eq!((&world.answers[&first], &world.answers[&request]), (&Ok(()), &Ok(())));
}

#[test]
fn another_edit_has_a_canary_of_its_own() {
    let mut world = world(Successor::Overlaps, 2);
    world.configure(true, 2);
    let (first, old) = (newest(&world), world.seat(1).worker.unwrap());
    ready(&mut world, old);
    world.configure(true, 2);
    let second = newest(&world);
    assert!(second > first);
    assert!(world.drains.contains(&first));
    world.calm();
    assert!(world.roster.is_proven());
    assert_eq!(world.live.len(), 2);
}

#[test]
fn a_canary_that_is_sick_or_late_leaves_and_the_old_process_counts_again() {
    for late in [false, true] {
        let mut world = world(Successor::Overlaps, 1);
        let old = world.worker(1);
        world.rules.ready =
            ReadyRule { until: crate::pool::lifecycle::ReadyUntil::Told, ..world.rules.ready };
        world.configure(true, 1);
        let canary = newest(&world);
        world.handle(Event::Started(canary));
        if late {
            world.pass(SECOND * 60);
            failed(&world, "not ready within 60 s");
        } else {
            world.pass(SECOND);
            world.handle(Event::Ready(canary));
            world.handle(Event::Unhealthy { worker: canary, reason: "is sick".to_owned() });
            failed(&world, "is sick");
        }
        let roles: Vec<_> = world.roster.seats().map(|seat| (seat.worker, seat.role)).collect();
        let expected = [(Some(old), SlotRole::Current), (Some(canary), SlotRole::Predecessor)];
        assert_eq!(roles, expected);
        world.calm();
        assert!(world.live.keys().eq([&old]));
    }
}

#[test]
fn a_plain_program_whose_edit_fails_is_started_as_it_was() {
    let mut world = world(Successor::Follows, 1);
    world.configure(true, 1);
    let old = world.worker(1);
    world.drained(old);
    let effects = world.handle(Event::Ended { worker: old, exit: Exit::Code(0) });
    assert_eq!(editions(&effects), [Edition::InForce]);
    let canary = newest(&world);
    assert_eq!(editions(&world.die(canary)), [Edition::Former]);
    world.calm();
    assert_eq!(world.states(), [(1, SlotState::Running)]);
    assert!(world.roster.has_failed_trial());
}

#[test]
fn a_canary_that_ends_well_again_and_again_has_failed_unless_it_worked() {
    for works in [false, true] {
        let mut world = world(Successor::Overlaps, 2);
        world.configure(true, 2);
        for _ in 0..3 {
            let canary = newest(&world);
            ready(&mut world, canary);
            world.handle(Event::Ended { worker: canary, exit: Exit::Code(0) });
            if world.deploys.len() > 1 {
                break;
            }
        }
        failed(&world, "exit 0 after 0.00 s");
        if works {
            world.configure(true, 2);
            let canary = newest(&world);
            world.handle(Event::Started(canary));
            world.handle(Event::JobEnded { worker: canary, well: true });
            world.handle(Event::Registered(canary));
            assert_eq!(world.deploys.last(), Some(&DeployStep::Proved { index: 1 }));
        }
    }
}

#[test]
fn restart_now_stops_all_at_once_and_starts_each_when_it_has_ended() {
    let mut world = world(Successor::Overlaps, 3);
    let old: Vec<_> = world.live.keys().copied().collect();
    let request = world.request();
    let event = Event::Restart { pick: Pick::Pool, mode: RestartMode::Now, request };
    assert_eq!(editions(&world.handle(event)), []);
    assert_eq!(world.drains, old, "those that are busy finish their jobs");
    world.drained(old[0]);
    assert!(world.signalled.contains(&old[0]));
    let effects = world.handle(Event::Ended { worker: old[0], exit: Exit::Code(0) });
    assert_eq!(editions(&effects), [Edition::InForce]);
    world.calm();
    assert_eq!(world.answers[&request], Ok(()));
    assert!(world.live.keys().all(|worker| !old.contains(worker)));
    assert_eq!(world.deploys, []);
}

#[test]
fn changed_files_replace_all_behind_a_canary_and_wake_what_pauses() {
    let mut world = world(Successor::Overlaps, 2);
    let request = world.request();
    world.handle(Event::Renew { request });
    let (canary, other) = (newest(&world), world.worker(2));
    assert_eq!(editions(&world.die(other)), [Edition::InForce], "the files are what they are");
    ready(&mut world, canary);
    world.handle(Event::JobEnded { worker: canary, well: true });
    world.calm();
    assert_eq!(world.answers[&request], Ok(()));
}

#[test]
fn a_pool_in_which_nothing_runs_needs_no_canary() {
    let mut world =
        World::with_rules(Rules { canary: Some(SECOND * 5), ..rules(Successor::Overlaps, 2) });
    world.target(2);
    for worker in world.live.keys().copied().collect::<Vec<_>>() {
        world.die(worker);
    }
    let request = world.configure(true, 2);
    assert_eq!(world.live.len(), 2, "both are tried at once");
    world.calm();
    assert_eq!(world.answers[&request], Ok(()));
    assert_eq!(world.deploys, []);
}
