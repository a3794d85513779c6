//! What the log says of an edit, and when.

use crate::rig::{Daemon, kill, until};
use crate::upkeep::Events;

#[test]
fn an_edit_is_counted_at_once_while_workers_are_being_killed() {
    let daemon = Daemon::start();
    for (from, to, line) in [
        ("count = 2", "count = 4", "wordcount 2→4: 2 started, 0 restarted\n"),
        ("count = 4", "count = 1", "wordcount 4→1: 0 started, 0 restarted, 3 stopping\n"),
    ] {
        let victims = daemon.running("wordcount");
        daemon.edit(from, to);
        for (_, pid) in victims {
            kill("-KILL", pid);
        }
        until(line, || daemon.log().contains(line));
    }
    until("what was to stop has stopped", || {
        daemon.log().contains("wordcount 4→1: 0 started, 0 restarted, 3 stopped\n")
    });
    assert_eq!(daemon.log().matches("wordcount 2→4").count(), 1, "told once");
}

#[test]
fn a_roll_is_told_when_it_begins_although_a_job_holds_it_up() {
    let daemon = Daemon::start();
    let mut command = daemon.command(&["submit", "slow", "3"]);
    let mut client = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    daemon.until_in_hand(1);
    daemon.edit("slept for", "rested for");
    let begun = "slow: command changed: 0 started, 3 restarting\n";
    until("it is told", || daemon.log().contains(begun));
    assert!(client.try_wait().unwrap().is_none(), "the job was over before: no test");
    assert!(client.wait().unwrap().success());
    let done = "slow: command changed: 0 started, 3 restarted\n";
    until("its end is told", || daemon.log().contains(done));
    assert_eq!(daemon.says(&["submit", "slow", "0"]), "rested for 0 s\n");
}

#[test]
fn an_edit_of_the_count_changes_what_is_wanted_and_ends_a_hold() {
    let daemon = Daemon::start();
    daemon.says(&["scale", "slow", "5"]);
    daemon.edit("count = 3", "count = 2");
    let line = "slow 3→2, which ends the hold: 0 started, 0 restarted, 3 stopped\n";
    until("it is told", || daemon.log().contains(line));
    let status = daemon.status();
    let pools = status["pools"].as_array().unwrap();
    let slow = pools.iter().find(|pool| pool["name"] == "slow").unwrap();
    assert_eq!((&slow["wanted"], &slow["target"]), (&2.into(), &2.into()), "{slow}");
}

#[test]
fn a_worker_with_a_job_finishes_it_although_its_pool_is_to_have_none_any_more() {
    let pool = "[pool.turn]\nuser = \"${USER}\"\nprotocol = \"exec\"\nstop = [\"KILL\"]\n\
                surge = 1\ncommand = [\"sh\", \"-c\", \"while [ ! -e go ]; do sleep 0.01; done; echo well\"]\n";
    let daemon = Daemon::with_pools(pool);
    let mut command = daemon.command(&["submit", "turn", "x", "--timeout", "20s"]);
    let client = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    daemon.until_in_hand(1);
    let plain = "[pool.turn]\nuser = \"${USER}\"\nprotocol = \"none\"\nstop = [\"KILL\"]\n\
                 surge = 1\ncanary = false\nready = { after = \"0s\" }\ncommand = \"sleep 1000\"\n";
    daemon.edit(pool, plain);
    until("it is to go", || daemon.log().contains("state=\"STOPPING\""));
    let go = daemon.folder.path().join("go");
    std::fs::write(go, "").unwrap();
    let said = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "well\n", "{}", daemon.log());
}

#[test]
fn a_pool_that_comes_back_while_it_finishes_a_job_goes_on_writing_its_log() {
    let pool = "[pool.echo]\nuser = \"${USER}\"\nprotocol = \"exec\"\nlog = \"{}\"\n\
                command = [\"sh\", \"-c\", \"read word; echo $word >&2; \
                [ $word != wait ] || while [ ! -e go ]; do sleep 0.01; done\"]\n";
    let other = "[pool.other]\nuser = \"${USER}\"\ncommand = \"sleep 1000\"\nprotocol = \"none\"\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("echo.log");
    let pool = pool.replace("{}", &file.display().to_string());
    let daemon = Daemon::with_pools_in(folder, &format!("{other}{pool}"));
    let mut client = daemon.command(&["submit", "echo", "wait"]).spawn().unwrap();
    daemon.until_in_hand(1);
    let with = std::fs::read_to_string(daemon.file()).unwrap();
    std::fs::write(daemon.file(), with.replace(&pool, "")).unwrap();
    let mut removal = daemon.command(&["reload"]).spawn().unwrap();
    until("it is removed", || daemon.running("echo").is_empty());
    std::fs::write(daemon.file(), with).unwrap();
    daemon.says(&["reload"]);
    daemon.until_up();
    std::fs::write(daemon.folder.path().join("go"), "").unwrap();
    assert!(client.wait().unwrap().success());
    assert!(removal.wait().unwrap().success());
    daemon.says(&["submit", "echo", "again"]);
    until("its log has the word", || {
        std::fs::read_to_string(&file).unwrap_or_default().contains("again")
    });
}

#[test]
fn an_edit_of_keys_that_apply_at_once_is_told_in_the_log_and_to_who_listens() {
    let daemon = Daemon::start();
    let mut events = Events::of(&daemon);
    daemon.edit("[broker]", "shutdown_grace = \"50s\"\n[broker]\nmax_queued = 1000\n");
    events.until(r#""edit":"supervisor.shutdown_grace changed""#);
    events.until(r#""edit":"broker.max_queued changed""#);
    for key in ["supervisor.shutdown_grace", "broker.max_queued"] {
        let line = format!("{key} changed, and is in force\n");
        until("the log tells", || daemon.log().contains(&line));
    }
    daemon.edit("[pool.slow]", "[pool.slow]\nmax_wait = \"9s\"");
    events.until(r#""edit":"slow: max_wait changed""#);
    until("the log tells", || {
        daemon.log().contains("slow: max_wait changed: 0 started, 0 restarted\n")
    });
}
