//! Dead letters, and orders about many jobs.

use std::time::{Duration, SystemTime};

use super::script::{Script, check};
use crate::broker::record::DeathCause;
use crate::broker::state::Payload;

#[test]
fn a_background_job_that_fails_is_kept_and_can_run_again() {
    check(
        "w can f
         c bg f u p
         commit
         c < created 1
         w grab
         w < assign 1 f p
         w fail 1
         store < put 1 | bury 1 Failed
         c get 1
         c < status 1 00 ./.
         c admin status
         c < f 0 0 1 / .
         retry f 0 1
         store < attempts 1 0
         w grab
         reads < 1
         read u p
         w < assign 1 f p
         w complete 1 .
         store < delete 1
         retry * 0",
    );
}

#[test]
fn a_dead_letter_frees_its_unique_and_a_waiting_client_hears_the_end() {
    check(
        "w can f
         c bg f u p
         commit
         c < created 1
         d fg f u p
         d < created 1
         w grab
         w < assign 1 f p
         w exception 1 boom
         d < fail 1
         c bg f u q
         commit
         c < created 2
         purge f 0 1
         store < put 1 | bury 1 Raised | put 2 | purge 1",
    );
}

#[test]
fn the_failure_of_a_foreground_job_is_its_clients_affair() {
    check(
        "w can f
         c fg f . p
         c < created 1
         w grab
         w < assign 1 f p
         w fail 1
         c < fail 1
         purge * 0",
    );
}

#[test]
fn a_foreground_job_that_kills_its_workers_becomes_a_record() {
    let mut script = Script::new();
    script.run("c fg f . p\n c < created 1");
    for worker in 1..=3 {
        script.run(&format!(
            "admit {worker} p:{worker}
             w{worker} of {worker}
             w{worker} can f
             w{worker} grab
             w{worker} < assign 1 f p
             gone {worker}
             c < {}",
            if worker == 3 { "fail 1" } else { "nothing" }
        ));
    }
    script.run("store < put 1 | bury 1 Died exit 1\n annotate 1 out of memory");
    let dead = script.state.dead_jobs(script.now, None, 10);
    let death = dead[0].death.clone().unwrap();
    assert_eq!((death.cause, death.exit.as_str()), (DeathCause::Died, "exit 1"));
    assert_eq!((death.worker.as_str(), death.output.as_str()), ("p:3", "out of memory"));
    assert_eq!((dead[0].attempt, death.at), (3, SystemTime::UNIX_EPOCH));
    assert_eq!(script.state.payload("H:x:1"), Some(Payload::Held("p".into())));
    script.run("store < bury 1 Died exit 1\n cancel 1 false");
}

#[test]
fn what_could_not_be_stored_of_a_death_is_stored_later() {
    check(
        "w can f
         c bg f u p
         commit
         c < created 1
         w grab
         w < assign 1 f p
         w fail 1
         store < put 1 | bury 1 Failed
         refuse disk full
         wait 1000
         store < bury 1 Failed | reserve 1000000",
    );
}

#[test]
fn a_function_keeps_its_last_thousand_dead_letters() {
    let mut script = Script::new();
    script.run("w can f");
    for n in 1..=1001 {
        script.run(&format!(
            "c bg f . p
             commit
             c < created {n}
             w grab
             w < assign {n} f p
             w fail {n}"
        ));
    }
    let dead = script.state.dead_jobs(script.now, Some(&"f".into()), usize::MAX);
    assert_eq!((dead.len(), dead[0].handle.as_str()), (1000, "H:x:2"));
}

#[test]
fn many_jobs_are_withdrawn_by_function_and_age() {
    check(
        "c fg fa . 1
         c at 90000 fb . 2
         commit
         c < created 1 | created 2
         wait 60000
         c bg fa . 3
         c bg g . 4
         commit
         c < created 3 | created 4
         withdraw f* 60 1 2
         c < fail 1
         withdraw * 61
         withdraw fa 0 3
         c admin status
         c < fa 0 0 0 / fb 0 0 0 / g 1 0 0 / .",
    );
}

#[test]
fn a_long_sweep_comes_in_pieces() {
    let mut script = Script::new();
    for n in 1..=600 {
        script.run(&format!("c fg f . p\n c < created {n}"));
    }
    let sweep = crate::broker::state::Sweep {
        action: crate::broker::state::SweepAction::Cancel,
        handle: None,
        functions: None,
        older_than: Some(Duration::ZERO),
        dry_run: true,
    };
    let mut fx = crate::broker::state::Effects::default();
    let first = script.state.sweep(script.now, &sweep, crate::model::JobId(0), &mut fx);
    let rest = script.state.sweep(script.now, &sweep, first.next.unwrap(), &mut fx);
    assert_eq!((first.handles.len(), rest.handles.len(), rest.next), (512, 88, None));
    assert!(fx.is_empty(), "a dry run does nothing");
}

#[test]
fn of_a_long_exception_only_the_end_stays_in_memory() {
    let mut script = Script::new();
    script.run(
        "w can f
         c bg f u p
         commit
         c < created 1
         w grab
         w < assign 1 f p",
    );
    script.run(&format!("w exception 1 {}", "x".repeat(1 << 20)));
    let dead = script.state.dead.by_id.values().next().unwrap();
    let kept = dead.death.output.capacity();
    assert!(kept <= 8192, "{kept} bytes");
}
