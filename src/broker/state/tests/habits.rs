//! gearmand's way where it was asked for.

use super::script::{Script, settings};
use crate::broker::state::{Charges, Exceptions, Habits, StateSettings};

fn check(habits: Habits, attempts_max: u32, script: &str) {
    Script::with(StateSettings { attempts_max, habits, ..settings(1, 1_000_000) }).run(script);
}

#[test]
fn with_job_retries_a_job_fails_at_the_last_lost_connection_of_anybody() {
    let habits = Habits { charges: Charges::EveryLoss, ..Habits::default() };
    check(
        habits,
        2,
        "c fg f . a
         c < created 1
         v can f
         v grab
         v < assign 1 f a
         v close
         w can f
         w grab
         w < assign 1 f a
         c < nothing
         w close
         c < fail 1",
    );
}

#[test]
fn with_exceptions_every_client_is_sent_them() {
    let habits = Habits { exceptions: Exceptions::Always, ..Habits::default() };
    check(
        habits,
        3,
        "c fg f . a
         c < created 1
         w can f
         w grab
         w < assign 1 f a
         w exception 1 oops
         c < exception 1 oops",
    );
}

#[test]
fn with_worker_wakeup_a_job_wakes_so_many_sleepers() {
    check(
        Habits { wakeups: 2, ..Habits::default() },
        3,
        "u can f
         v can f
         w can f
         u sleep
         v sleep
         w sleep
         c fg f . a
         c < created 1
         w < noop
         v < noop
         u < nothing",
    );
}
