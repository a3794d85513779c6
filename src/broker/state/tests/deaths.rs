//! Jobs whose worker was lost.

use std::sync::Arc;

use crate::broker::LossOutcome;
use crate::config::{BrokerRules, FunctionRule, FunctionRules};
use crate::model::WorkerId;

use super::script::{Script, check};

const ONE_JOB_AT_WORKER_3: &str = "
    admit 3 mail:1
    w of 3
    w can f
    c bg f u a
    commit
    c < created 1
    w grab
    w < assign 1 f a
    store < put 1
    news < registered 3 | starved f";

fn check_after_one_job(script: &str) {
    check(&format!("{ONE_JOB_AT_WORKER_3}\n{script}"));
}

#[test]
fn a_worker_of_nobodys_that_closes_gives_its_job_back_uncharged() {
    check(
        "w can f
         c bg f . a
         c bg f . b
         commit
         c < created 1 | created 2
         w grab
         w < assign 1 f a
         w status 1 1 2
         c get 1
         c < status 1 11 1/2
         w close
         c get 1
         c < status 1 10 0/0
         store < put 1 | put 2
         v can f
         v grab
         v < assign 1 f a",
    );
}

#[test]
fn a_worker_that_dies_with_a_job_is_charged_at_its_connections_end() {
    check_after_one_job(
        "w close
         store < attempts 1 1
         gone 3
         wait 500
         store < nothing
         v can f
         v grab
         v < assign 1 f a",
    );
}

#[test]
fn a_worker_that_turns_out_to_live_is_not_charged() {
    check_after_one_job(
        "w close
         store < attempts 1 1
         wait 250
         store < attempts 1 0
         gone 3
         store < nothing",
    );
}

#[test]
fn a_death_that_is_known_before_the_connection_ends_is_charged_once() {
    check_after_one_job(
        "gone 3
         store < attempts 1 1
         w complete 1 r
         w < error JOB_NOT_FOUND Job given in work result not found
         w close
         wait 500
         store < nothing",
    );
}

#[test]
fn a_worker_that_was_told_to_go_is_never_charged() {
    for end in ["w close\ngone 3", "gone 3\nw close"] {
        check_after_one_job(&format!(
            "drain 3
             {end}
             wait 500
             store < nothing
             v can f
             v grab
             v < assign 1 f a"
        ));
    }
}

fn die_with_job_1(worker: u64) -> String {
    format!(
        "admit {worker} mail:1
         w{worker} of {worker}
         w{worker} can f
         w{worker} grab
         w{worker} < assign 1 f a
         w{worker} close\n"
    )
}

#[test]
fn the_third_death_gives_the_job_up() {
    let (second, third) = (die_with_job_1(4), die_with_job_1(5));
    check_after_one_job(&format!(
        "b fg f u a
         b < created 1
         w close
         gone 3
         {second}
         gone 4
         {third}
         v can f
         v grab
         v < no job
         b < nothing
         store < attempts 1 1 | attempts 1 2 | attempts 1 3
         gone 5
         b < fail 1
         store < bury 1 Died exit 1
         news < starved f | registered 4 | starved f | registered 5 | given up 1 by 5"
    ));
}

#[test]
fn a_job_in_limbo_goes_on_when_its_worker_turns_out_to_live() {
    let (second, third) = (die_with_job_1(4), die_with_job_1(5));
    check_after_one_job(&format!(
        "w close
         gone 3
         {second}
         gone 4
         {third}
         v can f
         v sleep
         v < nothing
         wait 250
         v < noop
         store < attempts 1 1 | attempts 1 2 | attempts 1 3 | attempts 1 2
         gone 5
         v grab
         v < assign 1 f a"
    ));
}

#[test]
fn a_job_in_limbo_can_be_cancelled() {
    let (second, third) = (die_with_job_1(4), die_with_job_1(5));
    check_after_one_job(&format!(
        "w close
         gone 3
         {second}
         gone 4
         {third}
         cancel 1 true
         gone 5
         wait 500
         store < attempts 1 1 | attempts 1 2 | attempts 1 3 | delete 1"
    ));
}

#[test]
fn a_foreground_job_without_clients_is_dropped_with_its_worker() {
    check(
        "c fg f . a
         c < created 1
         w can f
         w grab
         w < assign 1 f a
         c close
         w close
         v can f
         v grab
         v < no job
         v admin status
         v < f 0 0 1 / .",
    );
}

#[test]
fn a_session_that_ran_its_own_job_takes_it_along() {
    check(
        "w can f
         w fg f . a
         w grab
         w < created 1 | assign 1 f a
         w close
         c admin status
         c < f 0 0 0 / .",
    );
}

#[test]
fn a_lost_job_comes_back_before_younger_ones() {
    check(
        "c fg f . a
         c fg f . b
         c < created 1 | created 2
         w can f
         w grab
         w < assign 1 f a
         w close
         v can f
         v grab
         v < assign 1 f a",
    );
}

#[test]
fn a_loss_tells_where_the_job_went() {
    let mut script = Script::new();
    let outcome = |script: &Script, worker| {
        let losses = script.state.overview(script.now).losses;
        losses.get(&WorkerId(worker)).map(|loss| (loss.attempts, loss.outcome.clone()))
    };
    script.run(ONE_JOB_AT_WORKER_3);
    script.run("w close");
    assert_eq!(outcome(&script, 3), None, "nobody said that it is dead");
    script.run("gone 3");
    assert_eq!(outcome(&script, 3), Some((1, LossOutcome::Waiting)));
    script.run("admit 4 mail:1\nx of 4\nx can f\nx grab\nx < assign 1 f a");
    assert_eq!(outcome(&script, 3), Some((1, LossOutcome::Moved(Some(WorkerId(4))))));
    script.run("gone 4");
    assert_eq!(outcome(&script, 3), Some((1, LossOutcome::Waiting)));
    assert_eq!(outcome(&script, 4), Some((2, LossOutcome::Waiting)));
    script.run("v can f\nv grab\nv < assign 1 f a\nv complete 1 r");
    assert_eq!(outcome(&script, 3), Some((1, LossOutcome::Moved(None))));
    script.run("wait 1000");
    assert_eq!(outcome(&script, 4), Some((2, LossOutcome::Moved(None))));
}

#[test]
fn a_worker_that_lives_has_lost_nothing() {
    let mut script = Script::new();
    script.run(ONE_JOB_AT_WORKER_3);
    script.run("w close\nwait 250\ngone 3");
    assert_eq!(script.state.overview(script.now).losses.len(), 0);
}

#[test]
fn a_job_that_waits_for_a_verdict_goes_on_though_the_file_allows_fewer_attempts_now() {
    let mut script = Script::new();
    script.run(
        "c bg f u a
         commit
         c < created 1
         admit 3 mail:1
         u of 3
         u can f
         u grab
         u < assign 1 f a
         gone 3
         admit 4 mail:1
         v of 4
         v can f
         v grab
         v < assign 1 f a
         gone 4
         admit 5 mail:1
         w of 5
         w can f
         w grab
         w < assign 1 f a
         w close",
    );
    let rule = FunctionRule { attempts_max: Some(1), ..FunctionRule::default() };
    let functions = FunctionRules::new(vec![("f".to_owned(), rule)]);
    let rules = Arc::new(BrokerRules { functions, ..BrokerRules::default() });
    script.state.set_rules(script.now, rules);
    script.run(
        "wait 250
         x can f
         x grab
         x < assign 1 f a",
    );
}
