//! What must be durable before it is told.

use super::script::{Script, check, settings};

#[test]
fn a_background_job_is_told_and_assigned_only_once_durable() {
    check(
        "w can f
         w sleep
         c bg f . a
         store < put 1
         c < nothing
         w < nothing
         commit
         c < created 1
         w < noop
         w grab
         w < assign 1 f a
         w complete 1 r
         store < delete 1",
    );
}

#[test]
fn answers_keep_their_order_behind_a_commit_while_others_overtake() {
    check(
        "c fg f . a
         c < created 1
         w can f
         w grab
         w < assign 1 f a
         c bg f . b
         c echo x
         c admin version
         c odd
         c < nothing
         d echo y
         d < echo y
         w complete 1 r
         c < complete 1 r
         commit
         c < created 2 | echo x | OK 0.1 | error INVALID_COMMAND Command not expected",
    );
}

#[test]
fn no_client_hears_of_a_job_before_it_has_its_handle() {
    check(
        "c bg f . a
         c fg g . b
         w can g
         w grab
         w < assign 2 g b
         w data 2 x
         w complete 2 r
         c < nothing
         commit
         c < created 1 | created 2 | data 2 x | complete 2 r",
    );
}

#[test]
fn joining_a_job_waits_for_the_same_commit() {
    check(
        "a bg f u x
         b bg f u x
         c fg f u x
         d fg f . y
         d < created 2
         store < put 1
         commit
         a < created 1
         b < created 1
         c < created 1
         w can f
         w grab
         w < assign 1 f x
         w complete 1 r
         c < complete 1 r",
    );
}

#[test]
fn a_job_that_cannot_be_stored_is_refused_to_all_who_joined_it() {
    check(
        "a bg f u x
         b bg f u x
         c fg f u x
         refuse disk full
         a < error QUEUE_ERROR disk full
         b < error QUEUE_ERROR disk full
         c < error QUEUE_ERROR disk full
         news < store failed disk full
         a bg f u x
         refuse disk full
         a < error QUEUE_ERROR disk full
         news < nothing
         a bg f u x
         commit
         a < created 3
         news < starved f | store works
         a admin status
         a < f 1 0 0 / .",
    );
}

#[test]
fn a_foreground_job_that_cannot_become_a_record_stays_a_foreground_job() {
    check(
        "a fg f u x
         a < created 1
         b bg f u x
         refuse disk full
         b < error QUEUE_ERROR disk full
         w can f
         w grab
         w < assign 1 f x
         w complete 1 r
         a < complete 1 r
         store < put 1",
    );
}

#[test]
fn a_foreground_job_that_nobody_waits_for_ends_when_it_cannot_become_a_record() {
    check(
        "a fg f u x
         a < created 1
         b bg f u x
         a close
         refuse disk full
         b < error QUEUE_ERROR disk full
         b admin status
         b < f 0 0 0 / .",
    );
}

#[test]
fn the_end_of_a_job_is_stored_again_until_it_is_kept() {
    check(
        "c bg f . a
         commit
         c < created 1
         w can f
         w grab
         w < assign 1 f a
         w complete 1 r
         store < put 1 | delete 1
         refuse disk full
         wait 999
         store < nothing
         wait 1
         store < purge 1 | reserve 1000000
         refuse disk full
         wait 1000
         store < purge 1 | reserve 1000000
         commit
         wait 5000
         store < nothing",
    );
}

#[test]
fn a_store_that_works_again_gets_what_it_missed_at_once() {
    check(
        "c bg f . a
         commit
         w can f
         w grab
         w < assign 1 f a
         w complete 1 r
         refuse disk full
         c bg f . b
         store < put 1 | delete 1 | put 2
         commit
         c < created 1 | created 2
         store < purge 1",
    );
}

#[test]
fn a_session_that_closed_before_the_commit_loses_only_its_answer() {
    check(
        "c bg f . a
         c close
         commit
         w can f
         w grab
         w < assign 1 f a",
    );
}

#[test]
fn no_number_is_given_out_that_is_not_reserved() {
    Script::with(settings(7, 6)).run(
        "c fg f . a
         c < error QUEUE_ERROR no job handle is reserved, the store is late; try again
         store < reserve 65542
         commit
         c fg f . a
         c < created 7
         store < nothing",
    );
}
