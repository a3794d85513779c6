//! What no lint can see: which room may name which, and the head of each file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// A file of more lines has to be divided.
const LINES_MAX: usize = 600;

/// Rooms, and the rooms that they must not name.
const FORBIDDEN: [(&str, &[&str]); 20] = [
    ("model", &["broker", "pool", "config", "control", "supervisor", "protocol", "serde"]),
    ("protocol", &["broker", "pool", "tokio", "std::net", "std::fs", "supervisor"]),
    ("broker", &["pool", "scaler", "supervisor", "control", "cli", "logs"]),
    ("broker/state", &["tokio", "std::fs", "std::net", "broker::store", "broker::server"]),
    ("broker/store", &["broker::state", "broker::server", "protocol"]),
    ("pool", &["broker", "scaler", "supervisor", "control", "cli"]),
    ("pool/process", &["logs", "broker", "scaler"]),
    ("scaler", &["broker", "pool", "supervisor", "tokio", "logs"]),
    ("identity", &["broker", "pool", "scaler", "supervisor"]),
    ("host", &["broker", "pool", "scaler", "supervisor"]),
    ("logs", &["broker", "pool", "scaler", "supervisor", "control", "cli"]),
    ("config", &["broker", "pool", "scaler", "supervisor", "control", "cli", "logs"]),
    ("import", &["broker", "pool", "config", "control", "supervisor", "cli", "tokio"]),
    ("forward", &["broker", "pool", "scaler", "supervisor", "control", "cli", "config"]),
    ("forward/state", &["tokio", "std::fs", "std::net", "gearman", "forward::server"]),
    ("gearman", &["broker", "pool", "supervisor", "control", "cli"]),
    ("bench", &["broker", "pool", "supervisor", "control", "cli", "config"]),
    ("gearmand", &["supervisor", "control", "cli", "logs", "scaler", "identity"]),
    ("terminal", &["tokio", "std::fs", "logs", "pool", "supervisor", "control", "cli", "config"]),
    ("work", &["broker", "pool", "supervisor", "control", "cli", "config"]),
];

/// Files whose rules are pure: time and randomness come from outside.
const PURE: [&str; 7] = [
    "broker/state/",
    "forward/state/",
    "pool/lifecycle.rs",
    "scaler/",
    "protocol/",
    "config/diff.rs",
    "terminal/",
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 50, "the sources were not found");
    files
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

/// The file less its tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn no_room_names_one_that_it_must_not_know() {
    let mut wrong = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        for (room, forbidden) in FORBIDDEN {
            if !name.starts_with(&format!("{room}/")) {
                continue;
            }
            for word in forbidden {
                let uses = [
                    format!("crate::{word}::"),
                    format!("crate::{word};"),
                    format!("use {word}::"),
                    format!(" {word}::sync"),
                ];
                let external = matches!(*word, "tokio" | "serde") || word.starts_with("std");
                let hit = code(text).lines().any(|line| {
                    let line = line.trim_start();
                    let plain = uses.iter().any(|used| line.contains(used.as_str()));
                    !line.starts_with("//")
                        && (plain || external && line.contains(&format!("{word}::")))
                });
                if hit {
                    wrong.push(format!("src/{name} names {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rules_take_time_and_tasks_from_outside() {
    let banned = ["Instant::now()", "SystemTime::now()", "tokio::spawn", "std::thread"];
    for (name, text) in sources() {
        if is_test(&name) || !PURE.iter().any(|pure| name.starts_with(pure)) {
            continue;
        }
        for word in banned {
            assert!(!code(&text).contains(word), "src/{name} calls {word}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_short_enough_to_read() {
    for (name, text) in sources() {
        assert!(is_test(&name) || text.starts_with("//! "), "src/{name} does not begin with //!");
        let lines = text.lines().count();
        assert!(is_test(&name) || lines <= LINES_MAX, "src/{name} has {lines} lines");
    }
}

#[test]
fn no_task_is_started_without_an_owner() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        assert!(!code(text).contains("tokio::spawn("), "src/{name} starts a task nobody waits for");
    }
}
