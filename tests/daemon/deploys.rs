//! New programs, good and bad ones, on their way to the workers.

use std::collections::BTreeSet;

use crate::rig::{Daemon, PROGRAM, kill, until};

/// Workers that answer with what they are.
fn pool(word: &str, keys: &str) -> String {
    format!(
        "[pool.say]\nuser = \"${{USER}}\"\nfunctions = [\"say\"]\ncount = 3\n{keys}\n\
         command = [\"sh\", \"-c\", \"exec {PROGRAM} work say --server {{host}}:{{port}} -- \
         echo {word}\"]\n"
    )
}

fn pids(daemon: &Daemon) -> BTreeSet<i64> {
    daemon.running("say").into_iter().map(|(_, pid)| pid).collect()
}

#[test]
fn a_canary_proves_itself_by_a_job_before_the_others_follow() {
    let daemon = Daemon::with_pools(&pool("old", "canary = \"1h\""));
    let old = pids(&daemon);
    daemon.edit("echo old", "echo new");
    until("the canary is there", || pids(&daemon).difference(&old).count() == 1);
    assert!(pids(&daemon).is_superset(&old), "its predecessor serves on");
    let status = daemon.status();
    let canary = &status["pools"][0]["canary"];
    assert_eq!((canary["worker"].as_str(), canary["failed"].as_str()), (Some("say:1"), None));
    assert!(daemon.ask(&["status"]).status.success(), "nothing is wrong");
    until("it has done a job", || daemon.says(&["submit", "say", "x"]).starts_with("new"));
    until("the others follow", || pids(&daemon).is_disjoint(&old) && pids(&daemon).len() == 3);
    let log = daemon.log();
    assert!(log.contains("the canary has proved itself; the other workers follow"), "{log}");
    assert!(daemon.status()["pools"][0]["canary"].is_null());
}

#[test]
fn a_program_that_fails_leaves_the_old_workers_at_work_until_it_is_mended() {
    let daemon = Daemon::with_pools(&pool("old", "canary = \"1s\""));
    let old = pids(&daemon);
    daemon.edit("exec ", "exit 9; exec ");
    until("it is told", || daemon.ask(&["status"]).status.code() == Some(3));
    let status = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    let told = "say:1: the canary failed, and the old workers serve on: exit 9 after";
    assert!(status.contains(told), "{status}");
    let restart = daemon.ask(&["restart", "say"]);
    let said = String::from_utf8(restart.stderr).unwrap();
    assert!(said.contains("the canary say:1 failed: exit 9"), "{said}");
    assert_eq!(restart.status.code(), Some(1));
    kill("-KILL", *old.first().unwrap());
    until("it is replaced by an old one", || {
        pids(&daemon).len() == 3 && !pids(&daemon).contains(old.first().unwrap())
    });
    assert_eq!(daemon.says(&["submit", "say", "x"]), "old\n");
    let old = pids(&daemon);
    daemon.edit("exit 9; exec ", "exec ");
    until("it is taken back", || daemon.ask(&["status"]).status.success());
    assert_eq!(pids(&daemon), old, "these are of that program");
    daemon.edit("echo old", "echo new");
    until("it is new", || pids(&daemon).is_disjoint(&old) && pids(&daemon).len() == 3);
    assert_eq!(daemon.says(&["submit", "say", "x"]), "new\n");
    assert!(daemon.ask(&["status"]).status.success());
}

#[test]
fn the_answer_to_reload_tells_that_the_canary_failed() {
    let daemon = Daemon::with_pools(&pool("old", ""));
    daemon.edit("[supervisor]", "[supervisor]\nreload_on_edit = \"off\"");
    daemon.says(&["reload"]);
    daemon.edit("exec ", "exit 9; exec ");
    let reload = daemon.ask(&["reload"]);
    let told = String::from_utf8(reload.stderr).unwrap();
    assert!(told.contains("say: command changed: say:1: the canary say:1 failed"), "{told}");
    assert_eq!(reload.status.code(), Some(1));
}

#[test]
fn restart_now_replaces_all_workers_without_a_canary() {
    let daemon = Daemon::with_pools(&pool("old", "canary = \"1h\""));
    let old = pids(&daemon);
    assert_eq!(daemon.says(&["restart", "--now", "say"]), "say restarted\n");
    assert!(pids(&daemon).is_disjoint(&old) && pids(&daemon).len() == 3);
    assert!(!daemon.log().contains("canary"), "{}", daemon.log());
}
