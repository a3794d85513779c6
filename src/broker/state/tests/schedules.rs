//! Recurring jobs. The scripts begin at midnight.

use super::script::{Script, check};
use crate::broker::state::Payload;

#[test]
fn a_schedule_makes_a_job_at_each_of_its_times() {
    check(
        "w can f
         c sched f . p */2 * * * *
         store < schedule 1 */2 * * * *
         commit
         c < created 1
         c get 1
         c < status 1 10 ./.
         wait 119999
         store < nothing
         wait 1
         store < put 2
         commit
         w grab
         w < assign 2 f p
         w complete 2 .
         store < delete 2
         wait 120000
         store < put 3
         cancel 1 true
         store < unschedule 1
         c get 1
         c < status 1 00 ./.
         wait 999999
         store < nothing",
    );
}

#[test]
fn a_run_that_is_not_over_is_the_next_one_too() {
    check(
        "w can f
         c sched f u p . . . . .
         commit
         c < created 1
         wait 60000
         commit
         w grabu
         w < assign 2 f u p
         wait 60000
         store < schedule 1 * * * * * | put 2
         w complete 2 .
         wait 60000
         store < delete 2 | put 3",
    );
}

#[test]
fn a_schedule_with_the_same_unique_replaces_the_one_before() {
    check(
        "c sched f u p 0 * * * *
         commit
         c < created 1
         c sched f u q 30 * * * *
         commit
         c < created 1
         c sched f . q 30 * * * *
         commit
         c < created 2
         store < schedule 1 0 * * * * | schedule 1 30 * * * * | schedule 2 30 * * * *
         c admin show jobs
         c < 1 0 0 1 / 2 0 0 1 / .
         c admin cancel job H:x:1
         c < OK
         c admin drop function f
         c < ERR there are still connected workers or executing clients
         c admin cancel job H:x:2
         c < OK
         c admin drop function f
         c < OK",
    );
}

#[test]
fn times_that_cannot_be_are_refused() {
    check(
        "c sched f . p 61 * * * *
         c < error INVALID_PACKET '61' is no minute from 0 to 59; write as in \"5\", \"1-5\", \"*/10\" or \"1,15\"
         c sched f . p 0 0 30 2 *
         c < error INVALID_PACKET no time is ever '0 0 30 2 *'
         store < nothing",
    );
}

#[test]
fn a_schedule_that_cannot_be_stored_is_none() {
    check(
        "c sched f . p * * * * *
         refuse disk full
         c < error QUEUE_ERROR disk full
         store < schedule 1 * * * * *
         wait 1000
         store < unschedule 1 | reserve 1000000",
    );
}

#[test]
fn schedules_are_listed_with_the_jobs() {
    let mut script = Script::new();
    script.run("c sched f . p 0 1 * * *\n commit\n c < created 1");
    let jobs = script.state.jobs(script.now, None, 9);
    assert_eq!(jobs[0].times.as_deref(), Some("0 1 * * *"));
    assert_eq!(jobs[0].due, Some(std::time::Duration::from_hours(1)));
    assert_eq!(jobs, script.state.jobs(script.now, Some(&"f".into()), 9));
    assert_eq!(script.state.payload("H:x:1"), Some(Payload::Held("p".into())));
}
