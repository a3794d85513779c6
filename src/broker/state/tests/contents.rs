//! Which payloads are in memory, and what waits for those that are not.

use std::sync::Arc;

use super::super::contents::KEPT_JOBS;
use super::script::{Script, check, settings};
use crate::broker::state::StateSettings;
use crate::config::BrokerRules;

/// A script whose broker holds no payload of a stored job.
fn without_memory(script: &str) {
    let settings = StateSettings { held_bytes_max: 0, ..settings(1, 1_000_000) };
    Script::with(settings).run(script);
}

#[test]
fn a_payload_that_is_on_disk_is_read_before_its_job_is_given() {
    without_memory(
        "c bg f u hello
         c bg f v world
         commit
         c < created 1 | created 2
         w can f
         w grabu
         w echo later
         reads < 1
         w < nothing
         read u hello
         w < assign 1 f u hello | echo later
         w complete 1 r
         w grab
         reads < 2
         read v world
         w < assign 2 f world",
    );
}

#[test]
fn a_payload_far_from_its_turn_is_on_disk_and_is_read_long_before_it() {
    let (mut script, last) = (Script::with(settings(1, 1_000_000)), KEPT_JOBS + 2);
    let created: Vec<String> = (1..=last).map(|id| format!("created {id}")).collect();
    script.run(&"c bg f . x\n".repeat(last));
    script.run(&format!("commit\nc < {}", created.join(" | ")));
    script.run("reads < nothing\nw can f\nw grab\nw < assign 1 f x");
    script.run(&format!("reads < {} | {last}", last - 1));
    script.run("read . x");
    for id in 2..=last {
        script.run(&format!("w grab\nw < assign {id} f x"));
    }
}

#[test]
fn grabs_that_wait_for_one_payload_get_one_job_each() {
    without_memory(
        "c bg f . a
         c bg f . b
         commit
         c < created 1 | created 2
         w can f
         v can f
         w grab
         v grab
         reads < 1
         read . a
         w < assign 1 f a
         v < nothing
         read . b
         v < assign 2 f b",
    );
}

#[test]
fn a_worker_that_closes_while_its_job_is_read_leaves_the_job_to_others() {
    without_memory(
        "c bg f . a
         commit
         c < created 1
         w can f
         w grab
         w close
         v can f
         v grab
         read . a
         v < assign 1 f a",
    );
}

#[test]
fn a_disk_that_does_not_read_is_tried_again_for_whoever_sleeps() {
    without_memory(
        "c bg f . a
         commit
         c < created 1
         w can f
         w grab
         read failed
         w < no job
         w grab
         reads < nothing
         w < no job
         wait 1100
         w grab
         reads < 1
         read later
         reads < 1
         read . a
         w < assign 1 f a",
    );
}

#[test]
fn a_job_whose_payload_is_lost_fails_and_the_next_one_has_its_turn() {
    without_memory(
        "c bg f u a
         c fg f u a
         commit
         c < created 1 | created 1
         c bg f . b
         commit
         c < created 2
         w can f
         w grab
         read lost
         c < fail 1
         read . b
         w < assign 2 f b",
    );
}

#[test]
fn submissions_that_may_be_of_a_job_still_to_come_wait_for_it() {
    let mut script = Script::with(settings(10, 1_000_000));
    script.run(
        "loading
         restore 4 f u
         c bg f u x
         c < created 4
         c fg f . y
         c < created 10
         c fg f v z
         c echo after
         d fg f . z
         d < created 11
         e get 5
         e getu v
         c < nothing
         restore 5 f v
         c < nothing
         loaded
         c < created 5 | echo after
         e < status 5 10 0/0 | status v 10 clients 1",
    );
}

#[test]
fn a_worker_finishes_its_job_although_its_submission_waits() {
    let mut script = Script::with(settings(10, 1_000_000));
    script.run(
        "loading
         c fg f . y
         c < created 10
         w can f
         w grab
         w < assign 10 f y
         w bg g unknown x
         w complete 10 r
         c < complete 10 r
         w grab
         w < nothing
         loaded
         commit
         w < created 11 | no job",
    );
}

#[test]
fn a_sleeper_is_woken_for_a_job_that_comes_from_the_disk() {
    check(
        "loading
         w can f
         w grab
         w < no job
         w sleep
         restore 4 f .
         w < noop
         w grab
         read . x
         w < assign 4 f x
         loaded",
    );
}

#[test]
fn a_schedule_makes_no_run_while_the_one_before_may_still_come() {
    let mut script = Script::with(settings(10, 1_000_000));
    script.run(
        "loading
         c sched f s p * * * * *
         commit
         c < created 10
         wait 60000
         restore 4 f s
         loaded
         c admin status
         c < f 1 0 0 / .
         store < schedule 10 * * * * *",
    );
}

#[test]
fn a_submission_to_a_bounded_queue_waits_until_its_length_is_known() {
    let rules = BrokerRules { queued_max: Some(1), ..BrokerRules::default() };
    let rules = Arc::new(rules);
    let mut script = Script::with(StateSettings { rules, ..settings(10, 1_000_000) });
    script.run(
        "loading
         c fg f . x
         c < nothing
         restore 4 g .
         loaded
         c < error QUEUE_ERROR Job queue is full",
    );
}

#[test]
fn a_worker_that_sleeps_is_left_asleep_while_the_disk_does_not_read() {
    without_memory(
        "c bg f . a
         commit
         c < created 1
         w can f
         w grab
         read failed
         w < no job
         w sleep
         w < nothing
         wait 999
         w < nothing
         wait 1
         w < noop
         w grab
         read . a
         w < assign 1 f a",
    );
}

#[test]
fn jobs_in_memory_are_given_while_the_disk_does_not_read_others() {
    without_memory(
        "c fg g . b
         c bg f . a
         commit
         c < created 1 | created 2
         w can g
         w can f
         w grab
         read failed
         w < assign 1 g b
         w complete 1 .
         c < complete 1 .
         w grab
         w < no job",
    );
}
