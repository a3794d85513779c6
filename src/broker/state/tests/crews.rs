//! Worker processes, draining, a pool's max.

use super::script::check;

#[test]
fn an_idle_worker_is_drained_at_once_and_gets_no_job_in_any_session() {
    check(
        "admit 3 mail:1
         w of 3
         w can f
         w sleep
         idle? 3 drained
         c fg f . a
         c < created 1
         w < nothing
         w grab
         w < no job
         w sleep
         v of 3
         v can f
         v grab
         v < no job
         v sleep
         v < nothing
         l local
         l can f
         l grab
         tie l 3
         l < no job
         wait 500
         news < registered 3 | starved f | who l",
    );
}

#[test]
fn a_busy_worker_is_not_drained_unless_told_to() {
    check(
        "admit 3 mail:1
         w of 3
         w can f
         c fg f . a
         c fg f . b
         c < created 1 | created 2
         w grab
         w < assign 1 f a
         idle? 3 1
         drain 3
         drained < nothing
         w grab
         w < no job
         w complete 1 r
         c < complete 1 r
         drained < 3
         w grab
         w < no job
         drain 3
         drained < 3",
    );
}

#[test]
fn the_end_of_a_job_is_news_only_to_those_who_were_told_that_the_worker_is_busy() {
    check(
        "admit 3 mail:1
         w of 3
         w can f
         c fg f . a
         c fg f . b
         c < created 1 | created 2
         w grab
         w < assign 1 f a
         w complete 1 r
         news < registered 3 | starved f | starved f
         w grab
         w < assign 2 f b
         idle? 3 2
         w complete 2 r
         c < complete 1 r | complete 2 r
         news < ended 3",
    );
}

#[test]
fn draining_an_idle_or_unknown_worker_is_answered_at_once() {
    check(
        "admit 3 mail:1
         drain 3
         drain 9
         drained < 3 | 9",
    );
}

#[test]
fn a_draining_worker_that_dies_is_drained() {
    check(
        "admit 3 mail:1
         w of 3
         w can f
         c fg f . a
         c < created 1
         w grab
         w < assign 1 f a
         drain 3
         gone 3
         drained < 3",
    );
}

#[test]
fn a_nudge_reaches_only_the_sleeping_sessions_of_a_draining_worker() {
    check(
        "admit 3 mail:1
         w of 3
         v of 3
         w can f
         w sleep
         v can f
         nudge 3
         w < nothing
         drain 3
         nudge 3
         w < error SHUTDOWN this worker is being stopped",
    );
}

#[test]
fn a_drained_worker_that_was_woken_passes_its_wake_up_on() {
    check(
        "v can f
         admit 3 mail:1
         w of 3
         w can f
         v sleep
         w sleep
         c fg f . a
         c < created 1
         v < nothing
         w < noop
         idle? 3 drained
         wait 0
         v < noop",
    );
}

#[test]
fn a_pools_max_is_a_lock() {
    check(
        "limit mail 1
         admit 3 mail:1
         admit 4 mail:1
         v of 3
         w of 4
         v can f
         w can f
         w sleep
         v grab
         v < no job
         c fg f . a
         c < created 1
         w < noop
         v grab
         v < assign 1 f a
         w grab
         w < no job
         w sleep
         c fg f . b
         c < created 2
         news < registered 3 | registered 4 | starved f
         w < nothing
         wait 500
         v grab
         v < assign 2 f b
         c fg f . c
         c < created 3
         v complete 1 r
         w < nothing
         v complete 2 r
         c < complete 1 r | complete 2 r
         w < noop
         w grab
         w < assign 3 f c
         v grab
         v < no job",
    );
}

#[test]
fn a_raised_max_wakes_those_who_were_locked_out() {
    check(
        "limit mail 1
         admit 3 mail:1
         admit 4 mail:2
         v of 3
         w of 4
         v can f
         w can f
         w sleep
         c fg f . a
         c fg f . b
         c < created 1 | created 2
         w < noop
         v grab
         v < assign 1 f a
         w grab
         w < no job
         w sleep
         w < nothing
         limit mail 2
         w < noop",
    );
}

#[test]
fn a_worker_with_many_sessions_counts_once() {
    check(
        "limit mail 1
         admit 3 mail:1
         v of 3
         w of 3
         v can f
         w can f
         c fg f . a
         c fg f . b
         c < created 1 | created 2
         v grab
         v < assign 1 f a
         w sleep
         w < noop
         w grab
         w < assign 2 f b
         idle? 3 1
         v complete 1 r
         c < complete 1 r
         idle? 3 2",
    );
}

#[test]
fn a_dead_workers_open_session_gets_no_job_and_frees_the_lock() {
    check(
        "limit mail 1
         admit 3 mail:1
         admit 4 mail:1
         v of 3
         w of 4
         v can f
         w can f
         c fg f . a
         c < created 1
         v grab
         v < assign 1 f a
         w sleep
         gone 3
         w < noop
         v grab
         v < no job
         w grab
         w < assign 1 f a",
    );
}
