//! Jobs that are not due yet, and jobs with a reducer.

use std::time::{Duration, SystemTime};

use super::script::{Script, check, settings};
use crate::broker::record::JobRecord;
use crate::broker::state::Effects;
use crate::model::{JobId, Priority};

#[test]
fn a_sleeper_is_woken_when_a_job_is_due_and_not_before() {
    check(
        "w can f
         w sleep
         c at 5 f . p
         store < put 1
         commit
         c < created 1
         w < nothing
         wait 4999
         w < nothing
         wait 1
         w < noop
         w grab
         w < assign 1 f p",
    );
}

#[test]
fn a_future_job_hides_nothing_and_wakes_nobody() {
    check(
        "w can f
         c at 60 f . later
         c bg-low f . now
         commit
         c < created 1 | created 2
         w grab
         w < assign 2 f now
         w grab
         w < no job
         w sleep
         w < nothing
         c admin status
         c < f 2 1 1 / .
         c admin prioritystatus
         c < f 0 1 0 1 / .",
    );
}

#[test]
fn a_time_that_has_passed_is_now() {
    check(
        "w can f
         c at 0 f . p
         commit
         c < created 1
         w grab
         w < assign 1 f p
         store < put 1
         w complete 1 .
         store < delete 1",
    );
}

#[test]
fn a_job_before_its_time_can_be_joined_asked_for_and_cancelled() {
    check(
        "c at 60 f u p
         commit
         c < created 1
         d fg f u other
         d < created 1
         c get 1
         c < status 1 10 0/0
         cancel 1 true
         d < fail 1
         c get 1
         c < status 1 00 ./.",
    );
}

#[test]
fn a_job_is_stored_with_its_time_before_it_is_told() {
    check(
        "c at 60 f u p
         refuse disk full
         c < error QUEUE_ERROR disk full
         wait 61000
         c admin status
         c < f 0 0 0 / .",
    );
}

#[test]
fn a_time_in_other_units_is_refused() {
    check(
        "c at 1764000000000 f . p
         c < error ARGUMENT_TOO_LARGE Epoch value too large
         store < nothing",
    );
}

#[test]
fn a_job_is_due_when_the_clock_is_set_past_its_time() {
    let mut script = Script::new();
    script.run(
        "w can f
         w sleep
         c at 86400 f . p
         commit
         c < created 1",
    );
    let set = SystemTime::UNIX_EPOCH + Duration::from_hours(25);
    script.state.set_clock(script.now, set);
    script.run(
        "wait 30000
         w < noop",
    );
}

#[test]
fn a_restored_job_waits_for_its_time() {
    let record = |id, run_at| JobRecord {
        id: JobId(id),
        function: "f".into(),
        unique: "".into(),
        priority: Priority::Normal,
        attempts: 0,
        enqueued_at: SystemTime::UNIX_EPOCH,
        run_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(run_at)),
        reducer: None,
        payload: "p".into(),
    };
    let mut script = Script::with(settings(9, 1_000_000));
    let mut fx = Effects::default();
    script.state.restore(script.now, record(1, 10), &mut fx);
    script.state.restore(script.now, record(2, 0), &mut fx);
    script.run(
        "w can f
         w grab
         read . p
         w < assign 2 f p
         w grab
         w < no job
         w sleep
         wait 10000
         w < noop",
    );
}

#[test]
fn a_reducer_is_told_to_those_who_ask_for_all() {
    check(
        "w can f
         c reduce f u sum p
         c bgreduce f . sum q
         c bgreduce f . sum r
         commit
         c < created 1 | created 2 | created 3
         w graball
         w < assign 1 f u [sum] p
         w grabu
         w < assign 2 f . q
         w grab
         w < assign 3 f r
         w complete 1 x
         c < complete 1 x",
    );
    let long = "s".repeat(513);
    check(&format!(
        "c reduce f . {long} p
         c < error ARGUMENT_TOO_LARGE Reducer value too large"
    ));
}
