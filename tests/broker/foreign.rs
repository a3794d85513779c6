//! Debian's own Gearman tools, unmodified; each test says so when they are not installed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command as Program, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rig::Rig;

/// The tool with its arguments and our port; `None`, with a note, when it is not installed.
fn tool(rig: &Rig, name: &str, arguments: &[&str]) -> Option<Program> {
    let mut probe = Program::new(name);
    if probe.arg("-H").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: {name} is not installed (gearman-tools)");
        return None;
    }
    // So that a tool that hangs fails the test, and outlives no test that was killed.
    let mut program = Program::new("timeout");
    program
        .args([
            "--signal=KILL",
            "20",
            name,
            "-h",
            "127.0.0.1",
            "-p",
            &rig.address().port().to_string(),
        ])
        .args(arguments);
    Some(program)
}

fn output_of(program: &mut Program, input: &str) -> String {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Ends the worker with the test.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // TERM, which `timeout` hands on; KILL would end it and leave the worker.
        let pid = Pid::from_raw(self.0.id().cast_signed());
        kill(pid, Signal::SIGTERM).unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_gearman_command_gets_right_answers() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let Some(mut worker) = tool(&rig, "gearman", &["-w", "-f", "wc", "--", "wc", "-c"]) else {
        return;
    };
    let _worker = Worker(worker.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut client = tool(&rig, "gearman", &["-f", "wc"]).unwrap();
    for text in ["to be or not", "x"] {
        assert_eq!(output_of(&mut client, text).trim(), text.len().to_string());
    }
    let mut background = tool(&rig, "gearman", &["-b", "-f", "wc"]).unwrap();
    output_of(&mut background, "abc");
}

#[test]
fn gearadmin_reads_our_tables() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut worker = rig.connect();
    worker.can_do("resize");
    worker.sync();
    let cases = [
        ("--status", "resize\t0\t0\t1\n.\n"),
        ("--priority-status", "resize\t0\t0\t0\t1\n.\n"),
        ("--getpid", &format!("{}\n", std::process::id())[..]),
        ("--server-version", concat!(env!("CARGO_PKG_VERSION"), "\n")),
        ("--show-jobs", ".\n"),
    ];
    for (option, wanted) in cases {
        let Some(mut admin) = tool(&rig, "gearadmin", &[option]) else { return };
        assert_eq!(output_of(&mut admin, ""), wanted, "{option}");
    }
    let mut admin = tool(&rig, "gearadmin", &["--workers"]).unwrap();
    let text = output_of(&mut admin, "");
    let first = BufReader::new(text.as_bytes()).lines().next().unwrap().unwrap();
    assert!(first.ends_with("127.0.0.1 - : resize"), "{text}");
}
