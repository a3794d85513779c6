//! Loads that are recorded from a real daemon and played back in virtual time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::rig::{Daemon, until};

const POOLS: &str = "[pool.nap]\nuser = \"${USER}\"\ncommand = [\"sleep\", \"0.2\"]\n\
                     protocol = \"exec\"\ncount = { min = 0, max = 4 }\n";

#[test]
fn a_load_is_recorded_without_payloads_and_played_back_under_other_settings() {
    let daemon = Daemon::with_pools(POOLS);
    let path = daemon.folder.path().join("load.jsonl");
    let file = path.to_str().unwrap();
    let recorder = daemon.command(&["explain", "--record", file]).spawn().unwrap();
    until("it records", || fs::read_to_string(&path).is_ok());
    for n in 0..12 {
        daemon.says(&["submit", "nap", &format!("secret {n}"), "--background"]);
    }
    until("all have run", || {
        let status = daemon.status();
        let functions = status["broker"]["functions"].as_array().cloned().unwrap_or_default();
        functions.iter().any(|function| function["ended"] == 12)
    });
    super::kill("-INT", recorder.id().into());
    let output = recorder.wait_with_output().unwrap();
    assert!(output.status.success());

    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["pools"][0]["name"], "nap");
    let jobs: Vec<&Value> = lines.iter().filter(|line| line["function"] == "nap").collect();
    assert_eq!(jobs.len(), 12, "{text}");
    for job in &jobs {
        let service = job["service"].as_f64().unwrap();
        assert!((0.19..30.0).contains(&service) && job["wait"].as_f64().unwrap() >= 0.0, "{job}");
    }
    assert!(lines.last().unwrap()["seconds"].as_f64().unwrap() > 0.2);

    let play = |arguments: &[&str]| {
        let all = [&["simulate", "--trace", file], arguments].concat();
        daemon.says(&all)
    };
    let outcome: Value = serde_json::from_str(&play(&["--json", "--seed", "3"])).unwrap();
    assert_eq!(outcome[0]["pool"], "nap");
    assert_eq!(outcome[0]["jobs"], jobs.len());
    assert!(outcome[0]["workers_max"].as_u64().unwrap() <= 4, "{outcome}");
    assert_eq!(play(&["--seed", "3"]), play(&["--seed", "3"]), "the same seed, another outcome");
    let svg = daemon.folder.path().join("load.svg");
    let table = play(&["--svg", svg.to_str().unwrap()]);
    assert!(table.contains("POOL") && table.contains("nap"), "{table}");
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
}

#[test]
fn a_recording_ends_by_itself_and_overwrites_nothing() {
    let daemon = Daemon::with_pools(POOLS);
    let path = daemon.folder.path().join("load.jsonl");
    let file = path.to_str().unwrap();
    daemon.says(&["explain", "--record", file, "--for", "100ms"]);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(daemon.ask(&["explain", "--record", file]).status.code(), Some(1));
    let refused = daemon.ask(&["simulate", "--trace", file]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no job ended"));
}

#[test]
fn changes_of_a_count_are_told_as_they_come_with_the_numbers_that_they_rest_on() {
    let daemon = Daemon::with_pools(POOLS);
    let mut follower = daemon.command(&["explain", "nap", "--follow", "--json"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // A change may come before the follower listens, so there are more of them.
    let mut bounds = ["0..3", "0..2"].iter().cycle();
    let (send, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            send.send(serde_json::from_str::<Value>(&line).unwrap()).unwrap();
        }
    });
    let order = until_some("an order is told", || {
        daemon.says(&["scale", "nap", bounds.next().unwrap()]);
        heard.try_recv().ok()
    });
    assert_eq!((&order["pool"], &order["numbers"]), (&"nap".into(), &Value::Null));
    daemon.says(&["scale", "nap", "auto"]);
    // The first worker is started however busy the host is.
    daemon.says(&["submit", "nap", "a", "--background"]);
    let growth = until_some("a decision is told", || {
        heard.try_recv().ok().filter(|change| !change["numbers"].is_null())
    });
    assert!(growth["numbers"]["wanted"].as_u64().unwrap() > 0, "{growth}");
    assert!(growth["reason"].as_str().unwrap().contains("meet max_wait = 5s; 0→1"), "{growth}");
    let told: Value = serde_json::from_str(&daemon.says(&["explain", "nap", "--json"])).unwrap();
    let history = told["history"].as_array().unwrap();
    assert!(history.contains(&growth), "{told}");
    super::kill("-INT", follower.id().into());
    assert!(follower.wait().unwrap().success());
    reader.join().unwrap();
}

fn until_some<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = seen();
        found.is_some()
    });
    found.unwrap()
}
