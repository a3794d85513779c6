//! Programs that run to their end: once, or at times.

use std::fs;
use std::time::{Duration, Instant};

use crate::rig::{Daemon, spawn, until};
use crate::upkeep::plain;

#[test]
fn a_oneshot_runs_once_and_its_success_lets_others_start() {
    let pools = plain("migrate", "echo ran >> runs; until [ -e go ]; do sleep 0.05; done", "")
        .replace("protocol = \"none\"", "oneshot = true")
        + &plain("web", "exec sleep 1000", "after = \"migrate\"");
    let daemon = Daemon::begin(&pools);
    until("it runs", || daemon.state("migrate:1") == "RUNNING");
    let waits = "waits for migrate: migrate:1 is RUNNING";
    until("the other waits", || daemon.worker("web:1")["detail"] == waits);
    assert_eq!(daemon.ask(&["wait", "migrate", "--timeout", "200ms"]).status.code(), Some(6));
    fs::write(daemon.folder.path().join("go"), "").unwrap();
    daemon.until_up();
    assert_eq!(daemon.state("migrate:1"), "EXITED");
    assert_eq!(daemon.worker("migrate:1")["detail"], "has done its work");
    assert!(daemon.ask(&["status"]).status.success());
    let web = daemon.running("web");
    daemon.says(&["start", "migrate"]);
    let runs = || fs::read_to_string(daemon.folder.path().join("runs")).unwrap();
    assert_eq!(runs(), "ran\nran\n", "it is answered when the run has ended");
    daemon.edit("echo ran", "echo again");
    until("the edited one has run", || runs() == "ran\nran\nagain\n");
    assert_eq!(daemon.running("web"), web);
}

#[test]
fn a_oneshot_that_fails_is_shown_and_tried_again() {
    let pools = plain("migrate", "sleep 0.1; cat go", "oneshot = true\nbackoff = { max = \"1s\" }")
        + &plain("never", "exit 4", "oneshot = true\nrestart = \"never\"")
        + &plain("web", "exec sleep 1000", "after = [\"migrate\"]");
    let daemon = Daemon::begin(&pools);
    let waits = || daemon.worker("web:1")["detail"].as_str().unwrap_or_default().to_owned();
    until("the other tells", || waits().contains("migrate:1 is FATAL: exit 1 after"));
    until("the other one rests", || daemon.state("never:1") == "EXITED");
    let status = daemon.ask(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.contains("never:1 is EXITED: failed, and is not started again"), "{text}");
    fs::write(daemon.folder.path().join("go"), "").unwrap();
    until("it is done", || daemon.state("migrate:1") == "EXITED");
    until("the other runs", || daemon.state("web:1") == "RUNNING");
    fs::remove_file(daemon.folder.path().join("go")).unwrap();
    let failed = daemon.ask(&["start", "migrate"]);
    let error = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(failed.status.code() == Some(1) && error.contains("exit 1"), "{error}");
}

/// Waits until the next minute has come and what is seen is so.
fn until_next_minute(what: &str, mut seen: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !seen() {
        assert!(begun.elapsed() < Duration::from_secs(100), "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn cron(daemon: &Daemon, pool: &str) -> serde_json::Value {
    let status = daemon.status();
    let pools = status["pools"].as_array().cloned().unwrap_or_default();
    let pool = pools.into_iter().find(|found| found["name"] == pool).unwrap_or_default();
    pool["cron"].clone()
}

#[test]
fn a_timetable_runs_a_program_or_submits_a_job_and_never_two_at_once() {
    let pools = plain("tick", "echo tick >> ticks", "cron = \"* * * * *\"\ntimezone = \"UTC\"")
        + &plain("long", "exec sleep 1000", "cron = \"* * * * *\"")
        + "[pool.report]\nuser = \"${USER}\"\ncommand = [\"sh\", \"-c\", \"cat >> jobs\"]\n\
           protocol = \"exec\"\ncron = \"* * * * *\"\n\
           payload = \"job\"\n";
    let mut daemon = Daemon::with_pools(&pools);
    assert_eq!(
        (daemon.state("tick:1"), daemon.state("report:1")),
        ("STOPPED".into(), "RUNNING".into())
    );
    assert!(daemon.ask(&["status"]).status.success(), "it is as it is wanted");
    daemon.says(&["start", "long", "--no-wait"]);
    until("the long one runs", || daemon.state("long:1") == "RUNNING");
    let shown = |pool: &str| cron(&daemon, pool);
    assert_eq!(
        (&shown("tick")["timezone"], &shown("tick")["times"]),
        (&"UTC".into(), &"* * * * *".into())
    );
    let next = shown("tick")["next"].clone();
    assert!(next.is_string() && shown("tick")["last"].is_null());
    let read = |name: &str| fs::read_to_string(daemon.folder.path().join(name)).unwrap_or_default();
    until_next_minute("all have had their time", || {
        read("ticks") == "tick\n" && read("jobs") == "job" && !shown("long")["last"].is_null()
    });
    until("its end is told", || shown("tick")["last"].to_string().contains("exit 0"));
    assert_ne!(shown("tick")["next"], next);
    let skipped = shown("long")["last"].to_string();
    assert!(skipped.contains("skipped: long:1 has run for"), "{skipped}");
    until("its job is told", || shown("report")["last"].to_string().contains("submitted job H:"));
    let status = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("* * * * *, next at") && status.contains(": exit 0"), "{status}");
    assert!(daemon.log().contains("run skipped: long:1 has run for"), "{}", daemon.log());
    // What came of it is known to the next daemon.
    daemon.signal("-TERM");
    daemon.child.wait().unwrap();
    daemon.child = spawn(daemon.folder.path());
    until("it is there", || daemon.ask(&["status"]).status.success());
    let last = ["tick", "long", "report"].map(|pool| cron(&daemon, pool)["last"].to_string());
    let [tick, long, report] = &last;
    assert!(tick.contains("exit 0") && long.contains("killed by TERM"), "{last:?}");
    assert!(report.contains("submitted job H:"), "{last:?}");
}
