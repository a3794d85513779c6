//! What workers report, status queries, options and errors.

use super::script::{Script, check};

#[test]
fn all_news_of_a_job_reach_its_clients_as_they_were_sent() {
    check(
        "c fg f u a
         c < created 1
         w can f
         w grab
         w < assign 1 f a
         w data 1 x
         w warning 1 y
         w status 1 3 10
         c < data 1 x | warning 1 y | progress 1 3/10
         c get 1
         c < status 1 11 3/10
         c getu u
         c < status u 11 clients 1
         w status 1 4 99999999999
         w fail 1
         c < fail 1
         c getu u
         c < status u 00 clients 0",
    );
}

#[test]
fn an_exception_is_a_failure_for_clients_that_did_not_ask_for_it() {
    check(
        "a option Exceptions
         a < option Exceptions
         a fg f u x
         b fg f u x
         a < created 1
         b < created 1
         w can f
         w grab
         w < assign 1 f x
         w exception 1 oops
         a < exception 1 oops
         b < fail 1
         w complete 1 r
         w < error JOB_NOT_FOUND Job given in work result not found",
    );
}

/// Perl's worker sends both, and ends when it reads an error.
#[test]
fn a_failure_after_an_exception_of_the_same_job_is_passed_over() {
    check(
        "a fg f u x
         a < created 1
         w can f
         w grab
         w < assign 1 f x
         w exception 1 oops
         a < fail 1
         w fail 1
         w fail 2
         w < error JOB_NOT_FOUND Job given in work result not found",
    );
}

#[test]
fn only_the_session_that_holds_a_job_may_report_on_it() {
    let mut script = Script::new();
    script.run("c fg f . a\nc < created 1\nw can f\nw grab\nw < assign 1 f a\n");
    let cases = [
        ("complete 1 r", "Job given in work result not found"),
        ("fail 1", "Job given in work result not found"),
        ("status 1 1 2", "Job given in work result not found"),
        ("data 1 r", "Job does not exist on server"),
        ("warning 1 r", "Job does not exist on server"),
        ("exception 1 r", "An exception was received for a job that does not exist"),
    ];
    for (step, text) in cases {
        script.run(&format!("v {step}\nv < error JOB_NOT_FOUND {text}\n"));
    }
}

#[test]
fn a_worker_may_finish_what_it_no_longer_performs() {
    for goodbye in ["cant f", "reset"] {
        check(&format!(
            "c fg f . a
             c < created 1
             w can f
             w grab
             w < assign 1 f a
             w {goodbye}
             v can f
             v grab
             v < no job
             w complete 1 r
             c < complete 1 r"
        ));
    }
}

#[test]
fn a_session_may_hold_several_jobs() {
    check(
        "c fg f . a
         c fg f . b
         c < created 1 | created 2
         w can f
         w grab
         w grab
         w < assign 1 f a | assign 2 f b
         w complete 2 y
         w complete 1 x
         c < complete 2 y | complete 1 x",
    );
}

#[test]
fn a_job_above_its_workers_time_out_goes_to_another_worker() {
    check(
        "c fg f . a
         c < created 1
         w can f 1000
         w grab
         w < assign 1 f a
         wait 999
         v can f
         v sleep
         v < nothing
         wait 1
         v < noop
         w complete 1 late
         w < error JOB_NOT_FOUND Job given in work result not found
         v grab
         v < assign 1 f a
         v complete 1 r
         c < complete 1 r",
    );
}

#[test]
fn a_job_whose_time_runs_out_for_the_third_time_is_given_up() {
    let mut script = Script::new();
    script.run("c bg f . a\ncommit\nc < created 1\nb fg f . x\nb < created 2\n");
    script.run("w can f 1000\nnews < starved f | starved f\n");
    for _ in 0..2 {
        script.run("w grab\nw < assign 1 f a\nwait 1000\nnews < starved f\n");
    }
    script.run("w grab\nw < assign 1 f a\nwait 1000\nnews < given up 1 by time\n");
    script.run("store < put 1 | attempts 1 1 | attempts 1 2 | attempts 1 3 | bury 1 TimedOut ");
}

#[test]
fn what_a_server_does_not_take_is_refused_and_the_session_goes_on() {
    check(
        "c odd
         c magic
         c option speed
         c echo .
         c < error INVALID_COMMAND Command not expected \
           | error INVALID_MAGIC Request magic expected \
           | error UNKNOWN_OPTION Server does not recognize given option | echo .",
    );
}

#[test]
fn an_unreadable_session_is_closed_after_the_answers_it_is_owed() {
    check(
        "c bg f . a
         c toolong
         c echo ignored
         c < nothing
         closed < nothing
         commit
         c < created 1 | error INVALID_PACKET too long
         closed < c
         d garbage
         closed < d
         l local
         l can f
         l grab
         l garbage
         l < no job
         closed < l",
    );
}
