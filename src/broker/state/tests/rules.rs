//! Rules for functions by pattern, pauses, and functions that leave.

use std::sync::Arc;
use std::time::Duration;

use super::script::{Script, check, settings};
use crate::broker::state::StateSettings;
use crate::config::{BrokerRules, FunctionRule, FunctionRules, StoreKind};

/// Runs a script with these rules for every function.
fn with(rule: FunctionRule, script: &str) {
    let functions = FunctionRules::new(vec![("*".to_owned(), rule)]);
    let rules = Arc::new(BrokerRules { functions, ..BrokerRules::default() });
    Script::with(StateSettings { rules, ..settings(1, 1_000_000) }).run(script);
}

#[test]
fn jobs_of_a_function_in_memory_are_told_at_once_and_never_stored() {
    let rule = FunctionRule { store: Some(StoreKind::Memory), ..FunctionRule::default() };
    with(
        rule,
        "c bg f u p
         c < created 1
         c bg f u p
         c < created 1
         c close
         w can f
         w grab
         w < assign 1 f p
         w fail 1
         retry f 0 1
         w grab
         w < assign 1 f p
         w complete 1 .
         store < nothing",
    );
}

#[test]
fn without_a_store_a_job_is_told_at_once() {
    let mut script =
        Script::with(StateSettings { store: StoreKind::Memory, ..settings(1, 1_000_000) });
    script.run(
        "c bg f u p
         c < created 1
         w can f
         w grab
         w < assign 1 f p
         w complete 1 .
         store < nothing",
    );
}

#[test]
fn a_full_function_refuses_jobs_until_one_has_ended() {
    let rule = FunctionRule { queued_max: Some(2), ..FunctionRule::default() };
    with(
        rule,
        "w can f
         c fg f a p
         c at 60 f b p
         commit
         c < created 1 | created 2
         c bg f c p
         c < error QUEUE_ERROR Job queue is full
         c fg f a p
         c < created 1
         c fg g . p
         c < created 3
         w grab
         w < assign 1 f p
         w complete 1 x
         c < complete 1 x | complete 1 x
         c fg f c p
         c < created 4",
    );
}

#[test]
fn the_bound_of_all_jobs_holds_over_functions() {
    let rules = Arc::new(BrokerRules { queued_max: Some(2), ..BrokerRules::default() });
    Script::with(StateSettings { rules, ..settings(1, 1_000_000) }).run(
        "c fg f . p
         c fg g . p
         c < created 1 | created 2
         c fg h . p
         c < error QUEUE_ERROR Job queue is full",
    );
}

#[test]
fn a_payload_above_the_functions_bound_is_refused() {
    let rule = FunctionRule { payload_len_max: Some(3), ..FunctionRule::default() };
    with(
        rule,
        "c fg f . four
         c < error ARGUMENT_TOO_LARGE Payload value too large
         c sched f . four * * * * *
         c < error ARGUMENT_TOO_LARGE Payload value too large
         c fg f . 3xx
         c < created 1",
    );
}

#[test]
fn a_job_is_given_up_after_the_deaths_that_the_file_allows() {
    let rule = FunctionRule { attempts_max: Some(1), ..FunctionRule::default() };
    with(
        rule,
        "admit 1 p:1
         w of 1
         w can f
         c fg f . p
         c < created 1
         w grab
         w < assign 1 f p
         gone 1
         c < fail 1
         news < registered 1 | starved f | given up 1 by 1",
    );
}

#[test]
fn a_job_that_waits_too_long_is_dropped() {
    let rule =
        FunctionRule { expire_after: Some(Duration::from_secs(5)), ..FunctionRule::default() };
    with(
        rule,
        "c fg f . p
         c bg f . q
         c at 3 f . r
         commit
         c < created 1 | created 2 | created 3
         store < put 2 | put 3
         w can f
         wait 4000
         w grab
         w < assign 1 f p
         wait 1000
         store < delete 2
         c < nothing
         wait 2999
         store < nothing
         wait 1
         store < delete 3
         w complete 1 .
         c < complete 1 .
         c fg f . s
         c < created 4
         wait 5000
         c < fail 4",
    );
}

#[test]
fn an_edit_of_the_rules_holds_for_jobs_that_wait() {
    let mut script = Script::new();
    script.run("c fg f . p\n c < created 1\n wait 4000");
    let rule =
        FunctionRule { expire_after: Some(Duration::from_secs(5)), ..FunctionRule::default() };
    let functions = FunctionRules::new(vec![("f".to_owned(), rule)]);
    script
        .state
        .set_rules(script.now, Arc::new(BrokerRules { functions, ..BrokerRules::default() }));
    script.run("wait 1000\n c < fail 1");
}

#[test]
fn a_paused_function_takes_jobs_and_gives_none() {
    check(
        "w can f
         w can g
         w sleep
         pause f*
         pause f*
         store < pause f*
         c bg-high f . p
         commit
         c < created 1
         w < nothing
         news < nothing
         c bg g . q
         commit
         c < created 2
         w < noop
         w grab
         w < assign 2 g q
         w grab
         w < no job
         w sleep
         w < nothing
         c bg fb . r
         commit
         c < created 3
         store < put 1 | put 2 | put 3
         resume nothing
         resume f* f*
         store < resume f*
         w < noop
         w grab
         w < assign 1 f p",
    );
}

#[test]
fn a_job_in_hand_ends_though_its_function_is_paused() {
    check(
        "w can f
         c fg f . p
         c < created 1
         w grab
         w < assign 1 f p
         pause *
         w complete 1 x
         c < complete 1 x
         resume * *",
    );
}

#[test]
fn a_pause_that_could_not_be_stored_is_stored_later() {
    check(
        "pause f
         refuse disk full
         store < pause f
         wait 1000
         store < pause f | reserve 1000000
         commit
         resume * f
         refuse disk full
         wait 1000
         store < resume f | resume f | reserve 1000000",
    );
}

#[test]
fn a_function_that_nobody_uses_leaves_status() {
    let rules =
        Arc::new(BrokerRules { stale_after: Duration::from_secs(8), ..BrokerRules::default() });
    Script::with(StateSettings { rules, ..settings(1, 1_000_000) }).run(
        "w can stale
         w cant stale
         w can used
         c admin create function made
         c < OK
         c fg waits . p
         c < created 1
         wait 8000
         c admin status
         c < made 0 0 0 / stale 0 0 0 / used 0 0 1 / waits 1 0 0 / .
         wait 1100
         c admin status
         c < made 0 0 0 / used 0 0 1 / waits 1 0 0 / .
         w close
         wait 10000
         d admin status
         d < made 0 0 0 / waits 1 0 0 / .",
    );
}

#[test]
fn what_is_remembered_of_expiry_does_not_grow_with_the_jobs_that_have_run() {
    let rule =
        FunctionRule { expire_after: Some(Duration::from_hours(24)), ..FunctionRule::default() };
    let functions = FunctionRules::new(vec![("f".to_owned(), rule)]);
    let rules = Arc::new(BrokerRules { functions, ..BrokerRules::default() });
    let mut script = Script::with(StateSettings { rules, ..settings(1, 1_000_000) });
    script.run("w can f");
    for id in 1..=5000 {
        script.run(&format!(
            "c fg f . p\n c < created {id}\n w grab\n w < assign {id} f p
             w complete {id} .\n c < complete {id} ."
        ));
    }
    let remembered: usize = script.state.functions.iter().map(|f| f.expiring.len()).sum();
    assert!(remembered <= 2048, "{remembered}");
}
