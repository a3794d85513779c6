//! What becomes of workers that end, fail or are stopped.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::rig::{DEADLINE, Daemon, spawn, until};

/// A pool of plain programs.
pub(crate) fn plain(name: &str, script: &str, keys: &str) -> String {
    format!(
        "[pool.{name}]\nuser = \"${{USER}}\"\nprotocol = \"none\"\n\
         command = [\"sh\", \"-c\", '''{script}''']\n{keys}\n"
    )
}

#[test]
fn what_has_done_its_work_rests_and_what_failed_is_told() {
    let pools = plain("done", "exit 3", "restart = \"unexpected\"\nexit_codes = [0, 3]")
        + &plain("slow", "exec sleep 1000", "");
    let daemon = Daemon::with_pools(&pools);
    assert_eq!(daemon.state("done:1"), "EXITED");
    assert!(daemon.ask(&["status"]).status.success(), "as it is wanted");
    daemon.edit("exit 3", "sleep 0.1; exit 4");
    daemon.edit("\"unexpected\"", "\"never\"");
    until("it has failed", || daemon.ask(&["status"]).status.code() == Some(3));
    let status = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("done:1 is EXITED: failed"), "{status}");
    assert_eq!(daemon.ask(&["wait", "done"]).status.code(), Some(3));
}

#[test]
fn an_essential_pool_that_fails_ends_the_daemon_with_70() {
    let pools = plain("vital", "cat go && exec sleep 1000", "essential = true");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    let mut daemon = Daemon::with_pools_in(folder, &pools);
    fs::remove_file(daemon.folder.path().join("go")).unwrap();
    daemon.edit("exec sleep 1000", "exec sleep 1001");
    daemon.says(&["stop", "vital"]);
    assert!(!daemon.ask(&["start", "vital"]).status.success());
    assert_eq!(daemon.child.wait().unwrap().code(), Some(70));
    let log = fs::read_to_string(daemon.folder.path().join("out")).unwrap();
    assert!(log.contains("the essential pool vital has failed"), "{log}");
}

#[test]
fn what_an_operator_asked_for_outlives_the_daemon() {
    let pools = plain("a", "exec sleep 1000", "count = 2") + &plain("b", "exec sleep 1000", "");
    let mut daemon = Daemon::with_pools(&pools);
    daemon.says(&["stop", "b", "a:2"]);
    daemon.signal("-KILL");
    daemon.child.wait().unwrap();
    daemon.child = spawn(daemon.folder.path());
    until("it serves again", || daemon.state("a:1") == "RUNNING");
    assert_eq!(daemon.state("a:2"), "STOPPED");
    assert!(daemon.running("b").is_empty());
    daemon.says(&["start", "a", "b"]);
    assert_eq!((daemon.running("a").len(), daemon.running("b").len()), (2, 1));
    daemon.says(&["scale", "a", "3"]);
    daemon.signal("-TERM");
    daemon.child.wait().unwrap();
    daemon.child = spawn(daemon.folder.path());
    until("three run again", || daemon.running("a").len() == 3);
}

/// The stream of events, as it comes.
pub(crate) struct Events {
    stream: UnixStream,
    text: String,
}

impl Events {
    /// Those of a daemon from now on.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let mut stream = UnixStream::connect(daemon.folder.path().join("s.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut events = Self { stream, text: String::new() };
        events.until("200 OK");
        events
    }

    pub(crate) fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            let mut bytes = [0; 4096];
            let len = self.stream.read(&mut bytes).unwrap();
            assert!(len > 0, "no {wanted} in {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..len]));
        }
    }
}

#[test]
fn every_change_of_state_is_told_to_whoever_listens_and_in_the_workers_log() {
    let daemon = Daemon::with_pools(&plain("a", "exec sleep 1000", ""));
    let mut events = Events::of(&daemon);
    daemon.says(&["stop", "a"]);
    events.until(r#""from":"RUNNING","to":"STOPPING","why":"stopped by an operator""#);
    events.until(r#""from":"STOPPING","to":"STOPPED","why":"killed by TERM, as asked""#);
    let log = daemon.folder.path().join("log/a.log");
    let mark = "STOPPING → STOPPED: killed by TERM, as asked";
    until("its log tells", || fs::read_to_string(&log).unwrap().contains(mark));
}

#[test]
fn how_a_worker_ended_is_told_with_its_last_words() {
    let script = "echo all is well; echo cannot reach the database >&2; sleep 0.1; exit 3";
    let daemon = Daemon::with_pools(&plain("a", script, "restart = \"never\"\nexit_codes = [3]"));
    until("its last lines are known", || !daemon.worker("a:1")["last_lines"].is_null());
    let words = "  cannot reach the database\n";
    until("they are shown", || daemon.says(&["status", "a"]).contains(words));
    assert!(!daemon.says(&["status"]).contains(words), "only to who asks for it");
    let told = daemon.says(&["explain", "a"]);
    assert!(told.contains("a:1: exit 3\n  | cannot reach the database\n"), "{told}");
}

#[test]
fn a_worker_that_has_done_its_share_is_replaced_and_no_job_is_lost() {
    let pools = "[pool.wc]\nuser = \"${USER}\"\ncommand = \"wc -w\"\nprotocol = \"exec\"\n\
                 max_jobs = 5\n";
    let daemon = Daemon::with_pools(pools);
    let first = daemon.worker("wc:1")["pid"].clone();
    for _ in 0..5 {
        assert_eq!(daemon.says(&["submit", "wc", "one two"]), "2\n");
    }
    until("it was replaced", || {
        assert_eq!(daemon.says(&["submit", "wc", "one two"]), "2\n");
        daemon.worker("wc:1")["pid"] != first
    });
    let log = fs::read_to_string(daemon.folder.path().join("out")).unwrap();
    assert!(log.contains("replaces a process that has done"), "{log}");
}

#[test]
fn a_worker_that_holds_too_much_memory_or_idles_too_long_is_replaced() {
    // The second program of its group is the one that grows.
    let grows =
        r#"sh -c 'x=$(head -c 40000000 /dev/zero | tr "\0" x); sleep 1000; echo $x'; exit 1"#;
    let pools = plain("big", grows, "max_rss = \"30MiB\"")
        + "[pool.wc]\nuser = \"${USER}\"\ncommand = \"wc -w\"\nprotocol = \"exec\"\n\
           idle_exit = \"300ms\"\n";
    let daemon = Daemon::with_pools(&pools);
    let log = || fs::read_to_string(daemon.folder.path().join("out")).unwrap();
    until("both were replaced", || {
        log().contains("above max_rss = 30.0 MiB") && log().contains("has had no job for")
    });
}
