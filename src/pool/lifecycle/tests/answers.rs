//! When requests are answered, and with what.

use super::table::SECOND;
use super::world::{World, rules, slots};
use crate::model::Exit;
use crate::pool::lifecycle::{Event, ReadyRule, ReadyUntil, Rules, Successor};
use crate::pool::{Pick, SlotState};

#[test]
fn start_is_answered_with_the_reason_when_a_worker_dies_early() {
    let mut world = World::running(Successor::Overlaps, 1);
    world.stop(Pick::Pool);
    world.calm();
    let request = world.start(Pick::Pool);
    let worker = world.worker(1);
    world.handle(Event::NotStarted { worker, reason: "cannot start 'x'".to_owned() });
    assert_eq!(world.answers[&request], Err("p:1: cannot start 'x'".to_owned()));
    let request = world.start(slots("p:7"));
    assert_eq!(world.answers[&request], Err("pool p has no worker 'p:7'".to_owned()));
}

#[test]
fn an_edit_is_not_answered_with_what_became_of_the_program_before() {
    let mut world = World::new(Successor::Overlaps, 2);
    world.target(2);
    let before = [world.worker(1), world.worker(2)];
    let edit = world.configure(true, 2);
    for worker in before {
        world.handle(Event::NotStarted { worker, reason: "cannot start 'x'".to_owned() });
    }
    assert!(!world.answers.contains_key(&edit), "{:?}", world.answers.get(&edit));
    world.calm();
    assert_eq!(world.answers[&edit], Ok(()));
}

#[test]
fn a_late_start_of_the_program_before_does_not_fail_an_edit() {
    let ready = ReadyRule { until: ReadyUntil::Told, after: SECOND, timeout: SECOND * 10 };
    let mut world = World::with_rules(Rules { ready, ..rules(Successor::Overlaps, 1) });
    world.target(1);
    world.handle(Event::Started(world.worker(1)));
    let edit = world.configure(true, 1);
    world.pass(SECOND * 10);
    assert!(!world.answers.contains_key(&edit), "{:?}", world.answers.get(&edit));
}

#[test]
fn an_edit_and_a_restart_are_answered_though_workers_are_killed_meanwhile() {
    for restarts in [false, true] {
        let mut world = World::running(Successor::Overlaps, 3);
        let request = if restarts { world.restart(Pick::Pool) } else { world.configure(true, 3) };
        for index in 1..=3 {
            assert!(!world.answers.contains_key(&request));
            let successor = world.worker(index);
            world.handle(Event::Started(successor));
            world.handle(Event::Registered(successor));
            let predecessor = world.drains[0];
            world.drained(predecessor);
            world.handle(Event::Ended { worker: predecessor, exit: Exit::Code(0) });
            if index == 1 {
                world.now += SECOND * 10;
                world.die(successor);
            }
        }
        assert_eq!(world.seat(1).state, SlotState::Starting);
        assert_eq!(world.answers[&request], Ok(()), "restarts: {restarts}");
    }
}

#[test]
fn a_stop_is_answered_when_no_process_is_left_and_none_came_back() {
    let mut world = World::running(Successor::Overlaps, 2);
    let workers = [world.worker(1), world.worker(2)];
    let request = world.stop(Pick::Pool);
    world.drained(workers[0]);
    world.handle(Event::Ended { worker: workers[0], exit: Exit::Code(0) });
    assert!(!world.answers.contains_key(&request));
    world.start(slots("p:1"));
    let told = Err("p:1: was started again meanwhile".to_owned());
    assert_eq!(world.answers[&request], told);
}
