//! Submitting and coalescing.

use super::script::check;

#[test]
fn a_foreground_job_goes_to_a_worker_and_its_result_to_the_client() {
    check(
        "w can f
         c fg f . hello
         c < created 1
         store < nothing
         w grab
         w < assign 1 f hello
         w complete 1 done
         c < complete 1 done
         c get 1
         c < status 1 00 ./.",
    );
}

#[test]
fn two_submissions_with_one_unique_run_once_and_both_get_the_result() {
    check(
        "a fg f u one
         a < created 1
         b fg f u two
         b < created 1
         w can f
         w grab
         w < assign 1 f one
         w grab
         w < no job
         c fg f u three
         c < created 1
         w complete 1 r
         a < complete 1 r
         b < complete 1 r
         c < complete 1 r
         d fg f u four
         d < created 2",
    );
}

#[test]
fn one_unique_submitted_twice_on_one_connection_is_answered_twice() {
    check(
        "c fg f u one
         c fg f u one
         c < created 1 | created 1
         w can f
         w grab
         w < assign 1 f one
         w data 1 x
         w complete 1 r
         c < data 1 x | data 1 x | complete 1 r | complete 1 r",
    );
}

#[test]
fn empty_uniques_and_other_functions_never_coalesce() {
    check(
        "c fg f . x
         c fg f . x
         c fg f u x
         c fg g u x
         c < created 1 | created 2 | created 3 | created 4",
    );
}

#[test]
fn the_unique_dash_coalesces_equal_workloads_that_are_not_empty() {
    check(
        "c fg f - x
         c fg f - x
         c fg f - y
         c fg f - .
         c fg f - .
         c < created 1 | created 1 | created 2 | created 3 | created 4",
    );
}

#[test]
fn a_unique_of_64_bytes_works_and_a_longer_one_is_refused() {
    let longest = "u".repeat(64);
    check(&format!(
        "c fg f {longest} x
         c fg f {longest} x
         c fg f {longest}u x
         c < created 1 | created 1 | error ARGUMENT_TOO_LARGE Unique value too large
         w can f
         w grabu
         w < assign 1 f {longest} x"
    ));
}

#[test]
fn a_queued_foreground_job_goes_with_its_last_client_and_frees_its_unique() {
    check(
        "a fg f u one
         a < created 1
         b fg f u one
         b < created 1
         a close
         c admin status
         c < f 1 0 0 / .
         b close
         c admin status
         c < f 0 0 0 / .
         c fg f u two
         c < created 2
         w can f
         w grab
         w < assign 2 f two
         w complete 2 r
         c < complete 2 r",
    );
}

#[test]
fn a_running_job_whose_client_left_runs_on_and_serves_who_joins() {
    check(
        "a fg f u one
         a < created 1
         w can f
         w grab
         w < assign 1 f one
         a close
         w data 1 x
         b fg f u two
         b < created 1
         w complete 1 r
         b < complete 1 r",
    );
}

#[test]
fn a_background_job_survives_a_coalesced_client_that_leaves() {
    check(
        "a bg f u one
         commit
         a < created 1
         b fg f u one
         b < created 1
         b close
         w can f
         w grab
         w < assign 1 f one
         w complete 1 r
         store < put 1 | delete 1",
    );
}

#[test]
fn a_background_submission_makes_a_foreground_job_a_record() {
    check(
        "a fg f u one
         a < created 1
         b bg f u one
         store < put 1
         b < nothing
         commit
         b < created 1
         a close
         w can f
         w grab
         w < assign 1 f one
         w complete 1 .
         store < delete 1",
    );
}

#[test]
fn a_running_foreground_job_becomes_a_record_too() {
    check(
        "a fg f u one
         a < created 1
         w can f
         w grab
         w < assign 1 f one
         b bg f u one
         w complete 1 r
         a < complete 1 r
         store < put 1 | delete 1
         commit
         b < created 1",
    );
}

#[test]
fn a_full_queue_refuses_all_but_those_who_join() {
    check(
        "m admin maxqueue f 2
         m < OK
         c fg f u x
         c fg f . x
         c fg f . x
         c fg f u x
         c < created 1 | created 2 | error QUEUE_ERROR Job queue is full | created 1
         m admin maxqueue f 0 0 2
         m < OK
         c fg f . x
         c fg-low f . x
         c < created 3 | error QUEUE_ERROR Job queue is full
         m admin maxqueue f
         m < OK
         c fg-low f . x
         c < created 4",
    );
}
