//! The programs of `examples/`, as a user would run them.

use std::path::Path;
use std::process::{Command, Stdio};

use gear_supervisor::gearman::JobEvent;
use gear_supervisor::protocol::{Submission, SubmitMode};
use nix::sys::signal::Signal;

use crate::scene::{Server, complete, job, status};

const BINARY: &str = env!("CARGO_BIN_EXE_gear-supervisor");

/// The path of an example's source.
fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The path of a Rust example's program, which `cargo test` builds beside the tests.
fn built(name: &str) -> Option<String> {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    let found = path.exists().then(|| path.display().to_string());
    if found.is_none() {
        println!("skipped: the example {name} is not built");
    }
    found
}

fn is_installed(program: &str, probe: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command = command.args(probe).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        println!("skipped: {program} {} does not work", probe.join(" "));
    }
    is_there
}

fn job_of(function: &str, payload: &str) -> Submission {
    Submission { function: function.into(), ..job(payload, SubmitMode::Foreground) }
}

#[tokio::test]
async fn the_shell_script_counts_words() {
    let Some(server) = Server::start() else { return };
    let worker = server.spawn(&[BINARY, "work", "wordcount", "--", &example("wordcount.sh")]);
    let news = server.run_job(job_of("wordcount", "to be or not")).await;
    assert_eq!(news, [status("0", "1"), complete("4\n")]);
    worker.expect("counting for H:");
}

#[tokio::test]
async fn the_lines_program_counts_each_word() {
    let Some(server) = Server::start() else { return };
    if !is_installed("python3", &["-c", "0"]) {
        return;
    }
    let program = example("lines_worker.py");
    let command = [BINARY, "work", "wordfreq", "--lines", "--", "python3", &program];
    let _worker = server.spawn(&command);
    let news = server.run_job(job_of("wordfreq", "to be or not to be")).await;
    assert_eq!(news, [status("6", "6"), complete("be 2\nto 2\nnot 1\nor 1\n")]);
}

#[tokio::test]
async fn the_rust_worker_echoes_and_the_rust_client_shows_it() {
    let Some(server) = Server::start() else { return };
    let (Some(worker), Some(client)) = (built("echo_worker"), built("client")) else { return };
    let worker = server.spawn(&[&worker]);
    let client = server.spawn(&[&client, "echo", "hello"]);
    client.expect("hello");
    assert_eq!(client.end().0.code(), Some(0));
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.end().0.code(), Some(0));
}

#[tokio::test]
async fn the_php_client_returns_at_once_and_the_php_worker_fetches() {
    let Some(server) = Server::start() else { return };
    if !is_installed("php", &["-r", "exit(class_exists('GearmanWorker') ? 0 : 1);"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page");
    std::fs::write(&file, "12345").unwrap();
    let url = format!("file://{}", Path::new(&file).display());
    // The client first: it does not need a worker to return.
    let (status, said) = server.spawn(&["php", &example("fetch-client.php"), &url]).end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("will fetch {url}")), "{said}");
    let worker = server.spawn(&["php", &example("fetch-worker.php")]);
    worker.expect(&format!("Fetching {url}"));
    worker.expect(&format!("Fetched {url}: 5 bytes"));
    let payload = format!(r#"{{"url":"{url}/nothing"}}"#);
    assert_eq!(server.run_job(job_of("fetch", &payload)).await, [JobEvent::Fail]);
    worker.signal(Signal::SIGTERM);
    let (status, said) = worker.end();
    assert_eq!(status.code(), Some(0));
    assert!(said.ends_with("Done\n"), "{said}");
}
