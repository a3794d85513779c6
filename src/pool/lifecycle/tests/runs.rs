//! Pools that wait for others, and programs that run to their end, case by case.

use super::table::{SECOND, next, starts};
use super::world::{World, rules};
use crate::config::{Restart, Run};
use crate::model::Exit;
use crate::pool::lifecycle::{Event, Next, Rules, Successor};
use crate::pool::{Hurdle, Pick, SlotState};

#[test]
fn a_pool_starts_when_what_it_waits_for_is_there_and_does_not_mind_its_end() {
    let waits = |needs_help| Some(Hurdle { why: "waits for db".to_owned(), needs_help });
    let mut world = World::new(Successor::Follows, 1);
    world.roster.wait_for(waits(false));
    world.target(1);
    assert_eq!(world.states(), [(1, SlotState::Stopped)]);
    assert_eq!(world.seat(1).detail, "waits for db");
    let effects = world.handle(Event::Hurdle(None));
    assert_eq!(starts(&effects), [1]);
    world.all_ready();
    world.handle(Event::Hurdle(waits(true)));
    assert_eq!(world.seat(1).state, SlotState::Running);
    let worker = world.worker(1);
    assert_eq!(starts(&world.die(worker)), [1], "the others are of no matter to what runs");

    let stop = world.stop(Pick::Pool);
    let worker = world.worker(1);
    world.drained(worker);
    world.die(worker);
    assert!(world.answers.contains_key(&stop));
    let start = world.start(Pick::Pool);
    assert_eq!(world.states(), [(1, SlotState::Stopped)], "it has to wait again");
    assert!(!world.answers.contains_key(&start), "the others may be starting, too");
    world.handle(Event::Hurdle(waits(true)));
    assert_eq!(world.answers[&start], Err("p:1: waits for db".to_owned()));
    assert_eq!(starts(&world.handle(Event::Hurdle(None))), [1]);
}

fn runs(run: Run, restart: Restart) -> World {
    let rules = Rules { run, restart, ..rules(Successor::Follows, 1) };
    let mut world = World::with_rules(rules);
    world.target(1);
    world
}

#[test]
fn what_runs_once_rests_when_it_is_done_and_is_tried_again_when_it_fails() {
    let mut world = runs(Run::Once, Restart::Unexpected);
    world.handle(Event::Started(world.worker(1)));
    world.pass(SECOND * 5);
    assert_eq!(world.states(), [(1, SlotState::Running)]);
    let worker = world.worker(1);
    assert_eq!(next(&world.die(worker)), Some(Next::Pause(SECOND)), "it lived, and failed");
    assert_eq!(starts(&world.pass(SECOND)), [1]);
    let start = world.start(Pick::Pool);
    world.handle(Event::Started(world.worker(1)));
    world.pass(SECOND);
    assert!(!world.answers.contains_key(&start), "it is answered when the run has ended");
    let worker = world.worker(1);
    let effects = world.handle(Event::Ended { worker, exit: Exit::Code(0) });
    assert_eq!(next(&effects), Some(Next::Done));
    assert_eq!((world.states(), &world.answers[&start]), (vec![(1, SlotState::Exited)], &Ok(())));
    world.configure(true, 1);
    assert_eq!(world.states(), [(1, SlotState::Starting)], "another program runs again");
    world.configure(true, 1);
    let worker = world.worker(1);
    let effects = world.handle(Event::Ended { worker, exit: Exit::Code(0) });
    assert_eq!(starts(&effects), [1], "so does one that came while it ran");
}

#[test]
fn what_runs_at_times_runs_then_and_never_two_at_once() {
    let mut world = runs(Run::OnCall, Restart::Never);
    assert_eq!(world.states(), [(1, SlotState::Stopped)]);
    assert_eq!(world.seat(1).detail, "waits for its time");
    world.configure(true, 1);
    assert!(world.live.is_empty(), "an edit begins no run");
    assert_eq!(starts(&world.handle(Event::Due)), [1]);
    world.handle(Event::Started(world.worker(1)));
    world.pass(SECOND * 90);
    assert_eq!(starts(&world.handle(Event::Due)), [0; 0]);
    assert_eq!(world.skipped, ["p:1 has run for 90 s and has not ended"]);
    world.configure(true, 1);
    assert_eq!((world.live.len(), world.drains.len()), (1, 0), "an edit lets it come to its end");
    let worker = world.worker(1);
    world.die(worker);
    assert_eq!(world.states(), [(1, SlotState::Exited)]);
    assert!(world.seat(1).failed && world.failures.is_empty());
    assert_eq!(starts(&world.handle(Event::Due)), [1]);
    world.stop(Pick::Pool);
    let worker = world.worker(1);
    world.drained(worker);
    world.die(worker);
    assert_eq!(starts(&world.handle(Event::Due)), [0; 0]);
    assert_eq!(world.skipped[1..], ["it is stopped by an operator"]);
    world.start(Pick::Pool);
    assert_eq!(world.states(), [(1, SlotState::Starting)], "an operator's start is a run");
}
