//! The whole program as a person uses it: a daemon, its command line, real processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says why")]
#![allow(clippy::indexing_slicing, reason = "indexing JSON gives null for what is not there")]

mod cgroups;
mod deploys;
mod edits;
mod examples;
mod first_process;
mod gearman_manager;
mod health;
mod held;
mod hosts;
mod import;
mod import_samples;
mod logs;
mod min_at;
mod order;
mod outside;
mod php;
mod php_deploys;
mod queue;
mod raw;
mod rig;
mod runs;
mod service;
mod shasum;
mod storm;
mod terminal;
mod traces;
mod units;
mod upkeep;

use std::fs;
use std::process::{Command, Stdio};

use self::rig::{Daemon, PROGRAM, kill, lives, spawn, spawn_program, until};

#[test]
fn a_job_is_answered_through_our_client_and_an_unmodified_one() {
    let daemon = Daemon::start();
    assert_eq!(daemon.says(&["submit", "wordcount", "to be or not"]), "4\n");
    let port = daemon.port.to_string();
    let client = Command::new("gearman")
        .args(["-p", &port, "-f", "wordcount", "to be or not"])
        .stdin(Stdio::null())
        .output();
    match client {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "4\n"),
        Err(error) => println!("skipped: Debian's gearman is not installed: {error}"),
    }
}

#[test]
fn one_unique_runs_once_and_answers_both() {
    let daemon = Daemon::start();
    let submit = || {
        let mut command = daemon.command(&["submit", "slow", "1", "--unique", "a"]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let both = [submit(), submit()];
    for client in both {
        let output = client.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "slept for 1 s\n");
    }
    let log = daemon.says(&["logs", "slow"]);
    assert_eq!(log.matches("sleeping for 1 s").count(), 1, "{log}");
}

#[test]
fn the_job_of_a_killed_worker_goes_on_elsewhere() {
    let daemon = Daemon::start();
    let mut command = daemon.command(&["submit", "slow", "1"]);
    let client = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut holder = None;
    until("a worker holds the job", || {
        holder = daemon.busy("slow").pop();
        holder.is_some()
    });
    kill("-9", holder.unwrap());
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "slept for 1 s\n");
    let status = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("killed by KILL; job"), "{status}");
    assert!(status.contains("attempt 2 of 3"), "{status}");
}

#[test]
fn an_edit_of_the_count_starts_workers_and_restarts_none() {
    let daemon = Daemon::start();
    let before = daemon.running("wordcount");
    daemon.edit("count = 2", "count = 4");
    until("four workers run", || daemon.running("wordcount").len() == 4);
    let after = daemon.running("wordcount");
    assert!(before.iter().all(|worker| after.contains(worker)), "{before:?} {after:?}");
    daemon.edit("count = 4", "count = 1");
    until("one worker runs", || daemon.running("wordcount").len() == 1);
}

#[test]
fn a_typo_changes_nothing_and_is_told_with_its_place() {
    let daemon = Daemon::start();
    let before = daemon.running("wordcount");
    daemon.edit("count = 2", "cuont = 2");
    until("status tells", || daemon.ask(&["status"]).status.code() == Some(3));
    let status = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("cuont") && status.contains("did you mean count?"), "{status}");
    assert_eq!(daemon.running("wordcount"), before);
    daemon.edit("cuont = 2", "count = 2");
    daemon.until_up();
}

#[test]
fn a_changed_command_rolls_the_workers() {
    let daemon = Daemon::start();
    daemon.edit("command = \"wc -w\"", "command = \"wc -c\"");
    until("the new command answers", || {
        daemon.says(&["submit", "wordcount", "to be or not"]) == "12\n"
    });
    daemon.until_up();
    assert_eq!(daemon.says(&["submit", "wordcount", "four"]), "4\n");
}

#[test]
fn acknowledged_background_jobs_outlive_a_killed_daemon_and_leftovers_do_not() {
    let mut daemon = Daemon::with_pools(
        "[pool.keep]\nuser = \"${USER}\"\ncommand = [\"sh\", \"-c\", \"cat >> done\"]\n\
         protocol = \"exec\"\ncount = 0\n\
         [pool.sleep]\nuser = \"${USER}\"\ncommand = \"sleep 1000\"\nprotocol = \"none\"\n",
    );
    for n in 0..20 {
        daemon.says(&["submit", "keep", &format!("job {n}."), "--background"]);
    }
    let (_, leftover) = daemon.running("sleep").remove(0);
    daemon.signal("-KILL");
    daemon.child.wait().unwrap();
    daemon.edit("count = 0", "count = 2");
    daemon.child = spawn(daemon.folder.path());
    daemon.until_up();
    let done = daemon.folder.path().join("done");
    let text = || fs::read_to_string(&done).unwrap_or_default();
    until("all jobs have run", || (0..20).all(|n| text().contains(&format!("job {n}."))));
    assert_eq!(text().matches("job").count(), 20);
    assert!(!lives(leftover), "a leftover lives");
}

#[test]
fn a_stop_finishes_the_job_in_hand_and_leaves_no_process() {
    let mut daemon = Daemon::start();
    let mut command = daemon.command(&["submit", "slow", "1"]);
    let client = command.stdout(Stdio::piped()).spawn().unwrap();
    daemon.until_in_hand(1);
    let pids: Vec<_> = daemon.running("slow").into_iter().map(|(_, pid)| pid).collect();
    daemon.signal("-TERM");
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "slept for 1 s\n");
    assert!(daemon.child.wait().unwrap().success());
    for pid in pids {
        assert!(!lives(pid), "{pid} lives");
    }
}

#[test]
fn stopping_starting_and_scaling_answer_when_it_has_happened() {
    let daemon = Daemon::start();
    daemon.says(&["stop", "wordcount"]);
    assert!(daemon.running("wordcount").is_empty());
    daemon.says(&["start", "wordcount"]);
    assert_eq!(daemon.running("wordcount").len(), 2);
    let before = daemon.running("wordcount");
    daemon.says(&["restart", "wordcount"]);
    let after = daemon.running("wordcount");
    assert!(after.len() == 2 && after.iter().all(|worker| !before.contains(worker)), "{after:?}");
    daemon.says(&["scale", "wordcount", "3"]);
    assert_eq!(daemon.running("wordcount").len(), 3);
    assert_eq!(daemon.ask(&["stop", "wordcuont"]).status.code(), Some(4));
}

#[test]
fn a_hold_above_the_files_max_runs_as_many_jobs() {
    let daemon = Daemon::start();
    daemon.says(&["scale", "slow", "5"]);
    let clients: Vec<_> = (0..5)
        .map(|_| daemon.command(&["submit", "slow", "1"]).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    daemon.until_in_hand(5);
    for mut client in clients {
        assert!(client.wait().unwrap().success());
    }
}

#[test]
fn nothing_is_started_while_the_daemon_stops() {
    let mut daemon = Daemon::start();
    let mut command = daemon.command(&["submit", "slow", "2"]);
    let mut client = command.stdout(Stdio::null()).spawn().unwrap();
    daemon.until_in_hand(1);
    daemon.signal("-TERM");
    until("it stops", || daemon.status()["state"] == "stopping");
    for refused in [&["reload"][..], &["start", "wordcount"], &["scale", "slow", "9"]] {
        assert!(!daemon.ask(refused).status.success(), "{refused:?}");
    }
    daemon.edit(
        "[pool.slow]",
        "[pool.late]\ncommand = \"sleep 9\"\nprotocol = \"none\"\n[pool.slow]",
    );
    daemon.signal("-HUP");
    assert!(client.wait().unwrap().success());
    assert!(daemon.child.wait().unwrap().success());
    let log = fs::read_to_string(daemon.folder.path().join("out")).unwrap();
    assert!(!log.contains("late:1"), "{log}");
    assert!(!log.contains("did not end in time"), "{log}");
}

#[test]
fn workers_start_after_the_program_on_disk_was_replaced() {
    let mut daemon = Daemon::start();
    daemon.signal("-TERM");
    assert!(daemon.child.wait().unwrap().success());
    let copy = daemon.folder.path().join("program");
    fs::copy(PROGRAM, &copy).unwrap();
    daemon.child = spawn_program(&copy, daemon.folder.path());
    daemon.until_up();
    fs::remove_file(&copy).unwrap();
    daemon.says(&["restart", "wordcount"]);
    assert_eq!(daemon.says(&["submit", "wordcount", "to be or not"]), "4\n");
}
