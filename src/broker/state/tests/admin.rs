//! Text commands and what is shown.

use std::time::{Duration, SystemTime};

use super::script::{Script, check};
use crate::broker::record::JobRecord;
use crate::broker::state::Effects;
use crate::model::{JobId, Priority, WorkerId};

#[test]
fn the_tables_count_what_is_there() {
    check(
        "w can f
         w can g
         w id my-worker
         c fg f u a
         c fg-high f . b
         c fg-low g . c
         c < created 1 | created 2 | created 3
         w grab
         w < assign 2 f b
         a admin status
         a < f 2 1 1 / g 1 0 1 / .
         a admin prioritystatus
         a < f 0 1 0 1 / g 0 0 1 1 / .
         a admin workers
         a < 1 10.0.0.9 my-worker : g f / 2 10.0.0.9 - : / 3 10.0.0.9 - : / .
         a admin show jobs
         a < 1 0 0 0 / 2 0 0 0 / 3 0 0 0 / .
         a admin show unique jobs
         a < u /  /  / .",
    );
}

#[test]
fn a_listing_of_many_jobs_goes_out_in_pieces_before_later_answers() {
    let mut script = Script::new();
    for n in 0..1024 {
        script.run(&format!("c fg f u{n} x\n c < created {}", n + 1));
    }
    let all = (0..1024).map(|n| format!("u{n}")).collect::<Vec<_>>().join(" / ");
    script.pieces = 0;
    script.run(&format!("a admin show unique jobs\na admin version\na < {all} / . | OK 0.1"));
    assert_eq!(script.pieces, 3, "of at most 512 jobs each");
}

#[test]
fn single_values_are_told() {
    check(
        "a admin version
         a admin getpid
         a admin verbose
         a admin nonsense
         a < OK 0.1 | OK 42 | OK INFO \
           | ERR UNKNOWN_COMMAND Unknown+server+commandnonsense",
    );
}

#[test]
fn a_waiting_job_is_cancelled_at_once_and_a_running_one_left_alone() {
    check(
        "c fg f u a
         c bg f . b
         commit
         c fg f . x
         c < created 1 | created 2 | created 3
         a admin cancel job H:x:1
         a < OK
         c < fail 1
         a admin cancel job H:x:2
         a < OK
         store < put 2 | delete 2
         w can f
         w grab
         w < assign 3 f x
         a admin cancel job H:x:3
         a admin cancel job H:x:9
         a admin cancel job H:y:3
         a < ERR UNKNOWN_JOB | ERR UNKNOWN_JOB | ERR UNKNOWN_JOB
         cancel 3 false
         w complete 3 r
         c < complete 3 r
         c fg f u a
         c < created 4
         cancel 4 true
         c < fail 4",
    );
}

#[test]
fn a_function_is_dropped_only_when_nobody_uses_it() {
    check(
        "a admin drop function f
         a admin create function f
         a admin status
         a < ERR function not found | OK | f 0 0 0 / .
         c fg f . x
         c < created 1
         a admin drop function f
         a < ERR there are still connected workers or executing clients
         cancel 1 true
         c < fail 1
         w can f
         a admin drop function f
         a < ERR there are still connected workers or executing clients
         w cant f
         a admin drop function f
         a admin status
         a < OK | .",
    );
}

#[test]
fn kept_jobs_come_back_with_their_handles_and_their_age() {
    let mut script = Script::new();
    let record = JobRecord {
        run_at: None,
        reducer: None,
        id: JobId(5),
        function: "f".into(),
        unique: "u".into(),
        priority: Priority::High,
        attempts: 2,
        enqueued_at: SystemTime::UNIX_EPOCH - Duration::from_mins(1),
        payload: "x".into(),
    };
    let mut fx = Effects::default();
    script.state.restore(script.now, record, &mut fx);
    let job = script.state.job(script.now, "H:x:5").unwrap();
    assert_eq!((job.attempt, job.background, job.age), (3, true, Duration::from_mins(1)));
    script.run(
        "c bg f u y
         c < created 5
         w can f
         w grab
         reads < 5
         read u x
         w < assign 5 f x
         w complete 5 r
         store < delete 5",
    );
    assert_eq!(script.state.job(script.now, "H:x:5"), None);
}

#[test]
fn the_overview_shows_functions_and_workers() {
    let mut script = Script::new();
    script.run(
        "admit 3 mail:1
         w of 3
         w can f
         r can f
         c fg f . a
         c fg-low f . b
         c < created 1 | created 2
         w grab
         w < assign 1 f a
         w status 1 1 2
         c < progress 1 1/2
         wait 70",
    );
    let overview = script.state.overview(script.now);
    let function = &overview.functions[&"f".into()];
    assert_eq!(function.queued, [0, 0, 1]);
    assert_eq!(function.oldest, Some(Duration::from_millis(70)));
    assert_eq!((function.running, function.performers, function.ended), (1, 2, 0));
    assert_eq!((overview.sessions, overview.untied_performers), (3, 1));
    let worker = &overview.workers[&WorkerId(3)];
    assert_eq!((worker.sessions, worker.done, worker.idle, worker.draining), (1, 0, None, false));
    assert_eq!(worker.functions, ["f".into()]);
    let job = &worker.jobs[0];
    assert_eq!((job.handle.as_str(), job.progress, job.attempt), ("H:x:1", Some((1, 2)), 1));
    assert_eq!((job.running, job.worker), (Some(Duration::from_millis(70)), Some(WorkerId(3))));
    script.run("w complete 1 r\nc < complete 1 r\nwait 5");
    let worker = &script.state.overview(script.now).workers[&WorkerId(3)];
    assert_eq!((worker.done, worker.idle), (1, Some(Duration::from_millis(5))));
}

#[test]
fn jobs_are_listed_the_oldest_first_and_only_so_many() {
    let mut script = Script::new();
    script.run(
        "c fg f . a
         c fg g . b
         c fg-high f . c
         c fg f . d
         c < created 1 | created 2 | created 3 | created 4
         w can f
         w grab
         w < assign 3 f c",
    );
    let handles = |function: Option<&str>, limit| {
        let function = function.map(Into::into);
        let jobs = script.state.jobs(script.now, function.as_ref(), limit);
        jobs.into_iter().map(|job| job.handle.replace("H:x:", "")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(handles(None, 9), "1 2 3 4");
    assert_eq!(handles(None, 2), "1 2");
    assert_eq!(handles(Some("f"), 9), "1 3 4");
    assert_eq!(handles(Some("f"), 2), "1 3");
    assert_eq!(handles(Some("nothing"), 9), "");
}

/// Gearman::Client asks Gearman::Server for these.
#[test]
fn perls_own_commands_tell_who_waits_for_what() {
    check(
        "w can f
         c fg f u p
         d fg f u p
         d bg g . q
         c < created 1
         d < created 1
         w grab
         w < assign 1 f p
         c admin jobs
         c < f u 10.0.0.9:1 2 / .
         commit
         d < created 2
         c admin jobs
         c < f u 10.0.0.9:1 2 / g - - 0 / .
         w admin clients
         w < 10.0.0.9:1 / 10.0.0.9:1 /  f u 10.0.0.9:1 / 10.0.0.9:1 /  f u 10.0.0.9:1 / .",
    );
}
