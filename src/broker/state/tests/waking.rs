//! PRE_SLEEP and NOOP.

use super::script::{Script, check};

#[test]
fn going_to_sleep_with_a_job_there_is_answered_at_once() {
    check(
        "c fg f . a
         c < created 1
         w can f
         w sleep
         w < noop
         w sleep
         w < noop
         w grab
         w < assign 1 f a
         w sleep
         w < nothing",
    );
}

#[test]
fn a_sleeper_that_learns_a_function_with_jobs_is_woken() {
    check(
        "c fg f . a
         c < created 1
         w sleep
         w can g
         w < nothing
         w can f
         w < noop",
    );
}

#[test]
fn one_job_wakes_the_sleeper_that_went_idle_last_and_another_each_50_ms() {
    check(
        "u can f
         v can f
         w can f
         w sleep
         u sleep
         v sleep
         c fg f . a
         c < created 1
         news < nothing
         w < noop
         wait 49
         v < nothing
         wait 1
         v < noop
         u < nothing
         wait 50
         u < noop
         wait 500
         news < starved f
         v grab
         v < assign 1 f a
         w grab
         w < no job",
    );
}

#[test]
fn who_worked_last_is_woken_first_however_often_the_others_poll() {
    check(
        "v can f
         w can f
         c fg f . a
         v grab
         v < assign 1 f a
         v complete 1 r
         c < created 1 | complete 1 r
         v sleep
         w sleep
         w grab
         w < no job
         w sleep
         c fg f . b
         c < created 2
         v < noop
         w < nothing",
    );
}

#[test]
fn two_jobs_wake_two_and_a_third_sleeper_stays_in_peace() {
    check(
        "u can f
         v can f
         w can f
         u sleep
         v sleep
         w sleep
         c fg f . a
         c fg f . b
         c < created 1 | created 2
         w < noop
         v < noop
         w grab
         w < assign 1 f a
         v grab
         v < assign 2 f b
         wait 500
         u < nothing",
    );
}

#[test]
fn a_woken_session_that_closes_passes_its_wake_up_on() {
    check(
        "v can f
         w can f
         v sleep
         w sleep
         c fg f . a
         c < created 1
         w < noop
         w close
         v < noop",
    );
}

#[test]
fn a_woken_session_that_grabs_something_else_passes_its_wake_up_on() {
    check(
        "v can f
         w can f
         w can g
         v sleep
         w sleep
         c fg f . a
         w < noop
         c fg-high g . b
         c < created 1 | created 2
         news < starved g
         w grab
         w < assign 2 g b
         v < noop",
    );
}

#[test]
fn a_woken_session_that_gives_its_function_up_passes_its_wake_up_on() {
    check(
        "v can f
         w can f
         v sleep
         w sleep
         c fg f . a
         c < created 1
         w < noop
         w cant f
         v < noop",
    );
}

#[test]
fn a_grab_by_somebody_awake_quiets_the_others_for_50_ms() {
    check(
        "u can f
         v can f
         w can f
         v sleep
         w sleep
         c fg f . a
         c fg f . b
         c < created 1 | created 2
         w < noop
         v < noop
         x can f
         x sleep
         wait 40
         u grab
         u < assign 1 f a
         x < noop
         wait 49
         w grab
         w < assign 2 f b",
    );
}

#[test]
fn a_generalist_is_found_among_the_sleepers_too() {
    let mut script = Script::new();
    script.run("v can f0\nv sleep\n");
    for n in 0..40 {
        script.run(&format!("w can f{n}\n"));
    }
    script.run(
        "w sleep\nc fg f0 . a\nc < created 1\nw < noop\nc fg f0 . b\nc < created 2\nv < noop\n",
    );
    script.run("c fg f39 . c\nc < created 3\nw sleep\nw < noop\n");
    script.run("w grab\nw < assign 3 f39 c");
}

#[test]
fn a_job_that_finds_nobody_idle_is_news() {
    check(
        "c fg f . a
         c < created 1
         news < starved f
         w can f
         w grab
         w < assign 1 f a
         c fg f . b
         c < created 2
         news < starved f
         v can f
         v grab
         v < assign 2 f b
         v complete 2 r
         c < complete 2 r
         v sleep
         c fg f . c
         c < created 3
         v < noop
         news < nothing
         c fg f . d
         c < created 4
         news < starved f",
    );
}
