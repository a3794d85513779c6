//! Pools that belong together: labels, and who comes after whom.

use std::fs;
use std::process::Stdio;

use crate::rig::{Daemon, until};
use crate::upkeep::plain;

#[test]
fn a_label_stands_for_its_pools_in_every_command() {
    let pools = plain("crop", "exec sleep 1000", "labels = [\"media\"]")
        + &plain("resize", "exec sleep 1000", "labels = [\"media\", \"big\"]\ncount = 2")
        + &plain("mail", "echo hello; exec sleep 1000", "labels = \"text\"");
    let daemon = Daemon::with_pools(&pools);
    let all = || ["crop", "resize", "mail"].map(|pool| daemon.running(pool));
    let [crop, resize, mail] = all();
    daemon.says(&["restart", "@media"]);
    let [crop_after, resize_after, mail_after] = all();
    assert!(crop_after != crop && resize_after != resize && mail_after == mail);
    daemon.says(&["stop", "@big", "@text:1"]);
    assert_eq!(all().map(|pool| pool.len()), [1, 0, 0]);
    daemon.says(&["start", "@big", "@text"]);
    daemon.says(&["scale", "@media", "3"]);
    assert_eq!(all().map(|pool| pool.len()), [3, 3, 1]);
    daemon.says(&["wait", "@media"]);
    let said = daemon.says(&["signal", "USR1", "@text"]);
    assert_eq!(said, "mail: 1 processes signalled\n");
    assert!(daemon.says(&["logs", "@text"]).contains("hello"));
    let status = daemon.says(&["status", "@big"]);
    assert!(status.contains("resize") && !status.contains("crop"), "{status}");
    assert!(daemon.says(&["explain", "@big"]).starts_with("resize"));
    assert_eq!(daemon.status()["pools"][2]["labels"], serde_json::json!(["media", "big"]));
    for command in [&["restart", "@meida"][..], &["status", "@meida"], &["logs", "@meida"]] {
        let output = daemon.ask(command);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.contains("did you mean '@media'?"), "{error}");
    }
    daemon.edit("\"big\"", "\"huge\"");
    until("the edit is applied", || daemon.ask(&["status", "@huge"]).status.success());
}

/// A pool that is ready once the file `go` is there, and says when it ends.
fn db() -> String {
    let script = "trap \"echo db ends >> ends; exit\" TERM; until [ -e go ]; do sleep 0.05; done; \
                  echo up; while :; do sleep 0.05; done";
    plain("db", script, "ready = \"log:up\"")
}

fn web() -> String {
    let script =
        "trap \"sleep 0.3; echo web ends >> ends; exit\" TERM; while :; do sleep 0.05; done";
    plain("web", script, "after = [\"db\"]")
}

#[test]
fn a_pool_starts_when_those_before_it_are_ready_and_ends_before_them() {
    let mut daemon = Daemon::begin(&(web() + &db()));
    let waits = "waits for db: db:1 is STARTING";
    until("it waits", || daemon.worker("web:1")["detail"] == waits);
    let output = daemon.ask(&["wait", "web", "--timeout", "200ms"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(6) && error.contains(waits), "{error}");
    assert_eq!(daemon.status()["pools"][1]["waits"], waits);
    fs::write(daemon.folder.path().join("go"), "").unwrap();
    daemon.until_up();
    let before = daemon.running("web");
    daemon.says(&["stop", "db"]);
    assert_eq!(daemon.running("web"), before, "a later end does not touch it");
    daemon.says(&["start", "db"]);
    fs::remove_file(daemon.folder.path().join("ends")).unwrap();
    daemon.signal("-TERM");
    assert!(daemon.child.wait().unwrap().success());
    let ends = fs::read_to_string(daemon.folder.path().join("ends")).unwrap();
    assert_eq!(ends, "web ends\ndb ends\n");
}

#[test]
fn pools_that_are_stopped_together_stop_before_those_that_they_need() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    let daemon = Daemon::with_pools_in(folder, &(web() + &db()));
    let ends = daemon.folder.path().join("ends");
    daemon.says(&["stop", "all"]);
    assert_eq!(fs::read_to_string(&ends).unwrap(), "web ends\ndb ends\n");
    daemon.says(&["start", "all"]);
    let log = daemon.log();
    let [db, web] = ["pool=db", "pool=web"].map(|pool| log.rfind(&format!("started {pool}")));
    assert!(db.is_some() && db < web, "{log}");
}

#[test]
fn a_pool_that_others_need_goes_on_where_one_of_them_is_wanted_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    let stays = "trap \"echo told >> told\" TERM; while :; do sleep 0.05; done";
    let web = plain("web", stays, "after = [\"db\"]\nstop = [\"TERM 1h\", \"KILL\"]");
    let daemon = Daemon::with_pools_in(folder, &(web + &db()));
    let stop = daemon.command(&["stop", "all"]).stderr(Stdio::piped()).spawn().unwrap();
    until("web is told", || daemon.folder.path().join("told").exists());
    let mut start = daemon.command(&["start", "web"]).spawn().unwrap();
    let said = stop.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("db goes on: web, which needs it, has not stopped"), "{said}");
    assert_eq!(daemon.state("db:1"), "RUNNING");
    daemon.says(&["signal", "KILL", "web"]);
    assert!(start.wait().unwrap().success());
    let intents = fs::read_to_string(daemon.folder.path().join("state/intents")).unwrap();
    assert_eq!(intents.trim(), "{}");
}

#[test]
fn what_waits_for_a_stopped_pool_says_so_and_starts_with_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    let daemon = Daemon::with_pools_in(folder, &(web() + &db()));
    daemon.says(&["stop", "all"]);
    let output = daemon.ask(&["start", "web"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("web waits for db, which is stopped by an operator"), "{error}");
    until("status tells", || daemon.ask(&["status", "web"]).status.code() == Some(3));
    let status = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("web waits for db: it is stopped by an operator"), "{status}");
    assert_eq!(daemon.ask(&["wait", "web"]).status.code(), Some(3));
    daemon.says(&["start", "db"]);
    daemon.says(&["wait", "web", "--timeout", "60s"]);
    daemon.says(&["stop", "all"]);
    daemon.says(&["start", "all"]);
    assert_eq!((daemon.running("web").len(), daemon.running("db").len()), (1, 1));
}

#[test]
fn an_edit_that_adds_pools_starts_them_in_order() {
    let daemon = Daemon::with_pools(&plain("mail", "exec sleep 1000", ""));
    daemon.edit("[pool.mail]", &format!("{}{}[pool.mail]", web(), db()));
    until("it waits", || daemon.worker("web:1")["detail"].to_string().contains("waits for db"));
    fs::write(daemon.folder.path().join("go"), "").unwrap();
    daemon.until_up();
    let log = daemon.log();
    let [db, web] = ["worker=db:1", "worker=web:1"].map(|worker| {
        log.find(&format!("started pool={} {worker}", &worker[7..worker.len() - 2])).unwrap()
    });
    assert!(db < web, "{log}");
    daemon.edit("after = [\"db\"]", "after = [\"dbs\"]");
    until("the mistake is told", || daemon.log().contains("no pool is called 'dbs'"));
}
