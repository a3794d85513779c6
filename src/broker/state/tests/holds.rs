//! Grabs that are answered a moment later.

use std::sync::Arc;

use super::script::{Script, settings};
use crate::broker::state::StateSettings;
use crate::config::BrokerRules;

/// Jobs in a row after which those of `f` come often.
const RUSH: usize = 20;

/// `w` has done many jobs of `f`, the last with a number of [`RUSH`], and not asked for another.
fn rush(mut script: Script, before: &str) -> Script {
    let jobs = (1..=RUSH).map(|n| {
        format!(
            "c fg f . x\nc < created {n}\nw grab\nw < assign {n} f x
             w complete {n} r\nc < complete {n} r\n"
        )
    });
    let starved = vec!["starved f"; RUSH].join(" | ");
    let (jobs, before) = (jobs.collect::<String>(), before.replace(';', "\n"));
    script.run(&format!("{before}\nw can f\n{jobs}\nnews < {starved}"));
    script
}

fn check(script: &str) {
    rush(Script::new(), "v can f").run(script);
}

#[test]
fn a_job_that_comes_soon_is_assigned_without_a_noop() {
    check(
        "w grab
         w < nothing
         c fg f . a
         c < created 21
         w < assign 21 f a
         news < nothing",
    );
}

#[test]
fn a_grab_is_held_for_a_moment_only() {
    check(
        "w grab
         wait 1
         w < no job
         w sleep
         c fg f . a
         c < created 21
         w < noop
         w grab
         w < assign 21 f a",
    );
}

#[test]
fn whatever_else_the_worker_sends_is_answered_after_no_job() {
    check(
        "w grab
         w echo x
         w < no job | echo x
         c fg f . a
         c < created 21
         w < nothing",
    );
    check("w grab\nw grab\nw < no job | no job");
    check("w grab\nw sleep\nw < no job\nc fg f . a\nc < created 21\nw < noop");
    check("w grab\nw admin getpid\nw < no job | OK 42");
    check("w grab\nw toolong\nw < no job | error INVALID_PACKET too long\nclosed < w");
    check("w grab\nw close\nc fg f . a\nc < created 21\nwait 9");
}

#[test]
fn only_the_first_grab_after_a_job_that_was_completed_is_held() {
    check("v grab\nv < no job");
    check("w grab\nwait 1\nw < no job\nw grab\nw < no job");
    check(
        "c fg f . a
         c < created 21
         w grab
         w < assign 21 f a
         w fail 21
         c < fail 21
         w grab
         w < no job",
    );
    check("w cant f\nw grab\nw < no job");
}

#[test]
fn jobs_that_come_seldom_are_not_waited_for() {
    check("wait 2\nw grab\nw < no job");
    let jobs = (1..=RUSH).map(|n| {
        format!(
            "c fg f . x\nc < created {n}\nw grab\nw < assign {n} f x\nwait 3
             w complete {n} r\nc < complete {n} r\nw grab\nw < no job\n"
        )
    });
    Script::new().run(&format!("w can f\n{}", jobs.collect::<String>()));
}

#[test]
fn no_more_grabs_are_held_than_jobs_are_due() {
    const JOBS: usize = 300;
    // A job comes each half millisecond: two of three workers are worth to be held.
    let submissions = (1..=JOBS).map(|n| {
        let wait = if n % 2 == 0 && n < JOBS { "wait 1" } else { "" };
        format!("c fg f . x\nc < created {n}\n{wait}\n")
    });
    let grabs = (1..=JOBS).map(|n| {
        let who = ["u", "v", "w"].get(n - 1).unwrap_or(&"t");
        format!("{who} grab\n{who} < assign {n} f x\n")
    });
    let before = ["u", "v", "w", "t"].map(|who| format!("{who} can f\n")).into_iter();
    let script: String = before.chain(submissions).chain(grabs).collect();
    Script::new().run(&format!(
        "{script}
         u complete 1 r\nv complete 2 r\nw complete 3 r
         c < complete 1 r | complete 2 r | complete 3 r
         u grab\nv grab\nw grab\nu < nothing\nv < nothing\nw < no job"
    ));
}

#[test]
fn who_is_held_went_idle_last() {
    check(
        "v sleep
         w grab
         c fg f . a
         c < created 21
         v < nothing
         w < assign 21 f a
         c fg f . b
         c < created 22
         v < noop",
    );
}

#[test]
fn jobs_of_other_functions_end_the_wait_too() {
    check(
        "w can g
         w grab
         c fg g . a
         c < created 21
         w < assign 21 g a",
    );
    check("pause g\nw can g\nc fg g . a\nw grab\nc < created 21\nresume g g\nw < assign 21 g a");
}

#[test]
fn a_worker_that_is_to_stop_is_held_no_longer() {
    rush(Script::new(), "admit 3 p:1;w of 3;w can f;news < registered 3").run(
        "w grab
         idle? 3 drained
         w < nothing
         wait 0
         w < no job
         c fg f . a
         c < created 21
         w sleep
         nudge 3
         w < error SHUTDOWN this worker is being stopped",
    );
}

#[test]
fn a_pool_at_its_max_is_not_given_the_job_that_one_of_its_workers_waits_for() {
    let before = "admit 3 p:1;admit 4 p:2;w of 3;v of 4;limit p 1;v can f;w can f
         news < registered 4 | registered 3";
    rush(Script::new(), before).run(
        "v sleep
         c fg f . a
         c < created 21
         v < noop
         w grab
         w < assign 21 f a
         w complete 21 r
         c < complete 21 r
         w grab
         c fg f . b
         c < created 22
         w < assign 22 f b
         c fg f . d
         c < created 23
         wait 60
         w complete 22 r
         c < complete 22 r
         w grab
         w < assign 23 f d",
    );
}

#[test]
fn nothing_is_held_when_that_is_turned_off() {
    let off = BrokerRules { hold_grab: false, ..BrokerRules::default() };
    let settings = StateSettings { rules: Arc::new(off), ..settings(1, 1_000_000) };
    rush(Script::with(settings), "v can f").run("w grab\nw < no job");
}
