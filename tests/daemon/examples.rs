//! `examples/workers.toml`: every pool of it answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rig::{Daemon, until};

#[test]
fn the_pools_of_the_examples_answer() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut pools = fs::read_to_string(examples.join("workers.toml")).unwrap();
    // What `cargo run` would build and run; the tests have built it.
    let build = "cargo run --quiet --example echo_worker";
    assert!(pools.contains(build));
    pools = pools.replace(build, &format!("{}", built("echo_worker").display()));
    let has_php = is_installed(&["php", "-r", "exit(class_exists('GearmanWorker') ? 0 : 1);"]);
    if !has_php {
        pools = without_pool(&pools, "fetch");
    }
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&examples).unwrap().flatten() {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let daemon = Daemon::with_pools_in(folder, &pools);
    for (function, payload, answer) in [
        ("wordcount", "to be or not", "4\n"),
        ("wordfreq", "to be or not to be", "be 2\nto 2\nnot 1\nor 1\n"),
        ("echo", "hello", "hello"),
    ] {
        assert_eq!(daemon.says(&["submit", function, payload]).trim(), answer.trim());
    }
    if has_php {
        let page = daemon.folder.path().join("page");
        fs::write(&page, "12345").unwrap();
        let payload = format!("{{\"url\": \"file://{}\"}}", page.display());
        assert_eq!(daemon.says(&["submit", "fetch", &payload]).trim(), "5");
        until("its output is there", || daemon.says(&["logs", "fetch"]).contains("Fetching file:"));
    }
}

/// A Rust example's program, which `cargo test` builds beside the tests.
fn built(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples").join(name)
}

fn without_pool(text: &str, name: &str) -> String {
    let (before, rest) = text.split_once(&format!("[pool.{name}]")).unwrap();
    let after = rest.split_once("[pool.").map_or("", |(_, after)| after);
    format!("{before}[pool.{after}")
}

fn is_installed(probe: &[&str]) -> bool {
    let mut command = Command::new(probe[0]);
    let command = command.args(&probe[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        println!("skipped: {probe:?} does not work");
    }
    is_there
}
