//! New programs, good and bad ones, on their way to the workers.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use crate::rig::{Daemon, PROGRAM, kill, spawn, until};

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

#[test]
fn changed_files_of_the_program_replace_the_workers_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("one/src/deep")).unwrap();
    fs::write(
        at("one/run.sh"),
        format!("exec {PROGRAM} work say --server $1 -- cat src/deep/word"),
    )
    .unwrap();
    fs::write(at("one/src/deep/word"), "old\n").unwrap();
    symlink("one", at("current")).unwrap();
    let pools = "[pool.say]\nuser = \"${USER}\"\nfunctions = [\"say\"]\ncount = 2\n\
                 directory = \"current\"\ncommand = \"sh run.sh {host}:{port}\"\n\
                 canary = \"10ms\"\nwatch = [\"src/**\"]\n";
    let root = folder.path().to_owned();
    let daemon = Daemon::with_pools_in(folder, pools);
    let rolls = || daemon.log().matches("changed: its workers are replaced").count();
    let done = || daemon.log().matches("say: its workers are replaced\n").count();
    let at = |path: &str| root.join(path);
    fs::create_dir_all(at("one/src/new/er")).unwrap();
    for n in 0..50 {
        fs::write(at(&format!("one/src/new/er/{n}")), "").unwrap();
    }
    fs::write(at("one/run.sh"), fs::read_to_string(at("one/run.sh")).unwrap()).unwrap();
    let mut old = pids(&daemon);
    until("all are new", || pids(&daemon).is_disjoint(&old) && done() == 1);
    assert_eq!(rolls(), 1, "one change: {}", daemon.log());
    for (n, change) in (2..).zip(["touch", "swap"]) {
        old = pids(&daemon);
        if change == "touch" {
            fs::write(at("one/src/new/er/7"), "touched").unwrap();
        } else {
            fs::create_dir_all(at("two/src/deep")).unwrap();
            fs::copy(at("one/run.sh"), at("two/run.sh")).unwrap();
            fs::write(at("two/src/deep/word"), "new\n").unwrap();
            symlink("two", at("next")).unwrap();
            fs::rename(at("next"), at("current")).unwrap();
        }
        until(change, || pids(&daemon).is_disjoint(&old) && done() == n);
        assert_eq!(rolls(), n, "{}", daemon.log());
    }
    assert_eq!(daemon.says(&["submit", "say", "x"]), "new\n");
    fs::write(at("two/run.sh"), "exit 9").unwrap();
    until("it is told", || daemon.ask(&["status"]).status.code() == Some(3));
    assert_eq!(daemon.says(&["submit", "say", "x"]), "new\n");
    fs::copy(at("one/run.sh"), at("two/run.sh")).unwrap();
    until("it is mended", || daemon.ask(&["status"]).status.success() && done() == 4);
}

#[test]
fn a_dry_run_tells_what_a_reload_would_do_and_does_nothing() {
    let daemon = Daemon::with_pools(&pool("old", ""));
    daemon.edit("[supervisor]", "[supervisor]\nreload_on_edit = \"off\"");
    daemon.says(&["reload"]);
    let dry = ["reload", "--dry-run"];
    assert_eq!(daemon.says(&dry), "the file changes nothing that runs\n");
    let old = pids(&daemon);
    daemon.edit("echo old", "echo new");
    daemon.edit("count = 3", "count = 5");
    daemon.edit("[broker]", "[host]\nmax_load = 3\n[broker]");
    let added =
        "[pool.more]\nuser = \"${USER}\"\ncommand = \"wc\"\nprotocol = \"exec\"\n[pool.say]";
    daemon.edit("[pool.say]", added);
    let plan = "more added, 1 workers: 1 to start\n\
                say 3→5: command changed: 2 to start, 3 to replace behind a canary\n\
                host.max_load changed\n";
    assert_eq!(daemon.says(&dry), plan);
    let json = daemon.says(&["reload", "--dry-run", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let step = &json["steps"][1];
    assert_eq!(
        (&step["pool"], &step["start"], &step["replace"]),
        (&"say".into(), &2.into(), &3.into())
    );
    assert_eq!(pids(&daemon), old);
    daemon.edit("[pool.more]", "[pool.more]\nwizardry = 1");
    let wrong = daemon.ask(&dry);
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("more.wizardry: unknown key"));
    assert!(daemon.ask(&["status"]).status.success(), "nothing was taken note of");
    daemon.edit("[pool.more]\nwizardry = 1", "[pool.more]");
    daemon.says(&["reload"]);
    assert_eq!(daemon.says(&dry), "the file changes nothing that runs\n");
}

#[test]
fn a_start_with_a_broken_file_runs_the_last_good_one_until_it_is_mended() {
    let mut daemon = Daemon::with_pools(&pool("old", ""));
    daemon.edit("[supervisor]", "[supervisor]\non_bad_file = \"last-good\"");
    daemon.says(&["reload"]);
    for is_kept in [true, false] {
        daemon.signal("-TERM");
        assert!(daemon.child.wait().unwrap().success());
        daemon.edit("[pool.say]", "[pool.say]\nwizardry = 1");
        if !is_kept {
            daemon.edit("\"last-good\"", "\"refuse\"");
        }
        daemon.child = spawn(daemon.folder.path());
        if !is_kept {
            assert_eq!(daemon.child.wait().unwrap().code(), Some(78));
            break;
        }
        until("it serves", || daemon.running("say").len() == 3);
        assert_eq!(daemon.says(&["submit", "say", "x"]), "old\n");
        let status = daemon.ask(&["status"]);
        assert_eq!(status.status.code(), Some(3));
        let shown = String::from_utf8(status.stdout).unwrap();
        assert!(shown.contains("running the last good file, of "), "{shown}");
        assert!(shown.contains("say.wizardry: unknown key"), "{shown}");
        assert!(daemon.log().contains("running the last good one, applied at"), "{}", daemon.log());
        daemon.edit("wizardry = 1", "count_me_out = 1");
        until("it is read again", || daemon.log().contains("count_me_out: unknown key"));
        daemon.edit("count_me_out = 1\n", "");
        daemon.edit("echo old", "echo new");
        until("it is applied", || {
            daemon.ask(&["status"]).status.success()
                && daemon.says(&["submit", "say", "x"]) == "new\n"
        });
    }
}
