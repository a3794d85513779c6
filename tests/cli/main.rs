//! The program itself against a control server whose supervisor and logs are fakes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod daemon;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use daemon::Daemon;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn status_shows_the_picture_and_exits_by_its_verdict() {
    let daemon = Daemon::start();
    let shown = daemon.run("status");
    let text = stdout(&shown);
    assert_eq!(shown.status.code(), Some(3), "{text}");
    for part in ["still running the file of", "slow:2", "not as wanted: the last edit"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text}");
    let json: serde_json::Value =
        serde_json::from_slice(&daemon.run("status slow:1 --json").stdout).unwrap();
    assert_eq!(json["pools"][0]["workers"].as_array().unwrap().len(), 1);
}

#[test]
fn every_outcome_has_its_exit_code_and_its_words() {
    let daemon = Daemon::start();
    for (line, code, out, err) in [
        ("start slow", 0, "slow: 2 started\n", ""),
        ("scale slow 1..4 --for 2h", 0, "slow: held at Bounds { min: 1, max: 4 } for 7200s\n", ""),
        ("start slow --json", 0, "{\n  \"done\": [\n    \"slow: 2 started\"\n  ]\n}\n", ""),
        ("restart slow", 1, "", "gear-supervisor: slow:1 did not become ready\n"),
        ("reload", 3, "", "gear-supervisor: a.toml:1:1: no\ngear-supervisor: a.toml:2:1: no\n"),
        (
            "signal HUP slwo",
            4,
            "",
            "gear-supervisor: no pool or worker is called 'slwo'; did you mean 'slow'?\n",
        ),
        ("stop slow --no-wait", 0, "", ""),
        ("wait slow:2", 0, "", ""),
        ("pid slow", 0, "0\n4712\n", ""),
    ] {
        let ended = daemon.run(line);
        assert_eq!(stderr(&ended), err, "{line}");
        assert_eq!(stdout(&ended), out, "{line}");
        assert_eq!(ended.status.code(), Some(code), "{line}");
    }
    for (line, code, part) in [
        ("stop slow --timeout 50ms", 6, "not done after 50 ms, and the daemon goes on"),
        ("wait slow:1 --timeout 50ms", 6, "not ready after 50 ms: slow:1 is BACKOFF"),
        ("status slwo", 4, "did you mean 'slow'?"),
        ("logs slwo", 4, "did you mean 'slow'?"),
        ("explain nobody", 4, "gear-supervisor status lists them"),
        ("jobs", 1, "[broker] servers is set"),
        ("stop", 2, "<NAME>"),
        ("signal HANGUP slow", 2, "is no signal"),
    ] {
        let ended = daemon.run(line);
        let err = stderr(&ended);
        assert!(err.contains(part), "{line}: {err}");
        assert_eq!(ended.status.code(), Some(code), "{line}: {err}");
    }
}

#[test]
fn nobody_at_the_socket_is_exit_code_5() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("none.sock");
    for verb in ["status", "stop all", "logs all", "wait all", "shutdown"] {
        let ended = program(verb).arg("--socket").arg(&socket).output().unwrap();
        assert_eq!(ended.status.code(), Some(5), "{verb}");
        assert!(stderr(&ended).contains("no daemon answers at"), "{verb}");
    }
}

#[test]
fn the_daemon_is_found_through_its_file_even_when_that_is_broken() {
    let daemon = Daemon::start();
    let file = daemon.folder().join("workers.toml");
    let text = format!("[supervisor]\nsocket = \"{}\"\n[pool.x\n", daemon.socket().display());
    std::fs::write(&file, text).unwrap();
    let found = program("pid -c").arg(&file).output().unwrap();
    assert_eq!(stdout(&found), format!("{}\n", std::process::id()), "{}", stderr(&found));
    let found = program("pid").env("GEAR_SUPERVISOR_SOCKET", daemon.socket()).output().unwrap();
    assert_eq!(found.status.code(), Some(0), "{}", stderr(&found));
}

#[test]
fn lines_come_byte_for_byte_and_remarks_stay_out_of_them() {
    let daemon = Daemon::start();
    let one = daemon.run("logs slow:2");
    assert_eq!(one.stdout, b"one\nt\xffwo\n\n");
    assert_eq!(stderr(&one), "-- 1,234 lines missed --\n-- started, pid 4712\n");
    assert_eq!(daemon.run("logs slow").stdout, b"slow:2 | one\nslow:2 | t\xffwo\nslow:2 | \n");
    assert_eq!(daemon.run("logs slow:2 --grep (?-u)\\xff").stdout, b"t\xffwo\n");
    let json = stdout(&daemon.run("logs slow:2 --json"));
    assert_eq!(json.lines().count(), 5, "{json}");
}

#[test]
fn ctrl_c_leaves_a_follower_well() {
    let daemon = Daemon::start();
    let mut attached = daemon.spawn("attach slow:2");
    let mut lines = BufReader::new(attached.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert_eq!(first, "one\n");
    interrupt(&attached);
    assert_eq!(attached.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_a_follower_without_a_word() {
    let daemon = Daemon::start();
    let mut flood = daemon.spawn("logs -f flood");
    let mut lines = BufReader::new(flood.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.starts_with("flood:1 | "), "{first}");
    drop(lines);
    let mut words = String::new();
    flood.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!((flood.wait().unwrap().code(), words.as_str()), (Some(0), ""));
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = program(&format!("completions {shell}")).output().unwrap();
        let script = stdout(&script);
        assert!(script.contains("attach") && script.contains("reload"), "{shell}");
    }
}

fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gear-supervisor"));
    command.args(line.split_whitespace()).env_remove("GEAR_SUPERVISOR_SOCKET");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

impl Daemon {
    fn run(&self, line: &str) -> Output {
        program(line).arg("--socket").arg(self.socket()).output().unwrap()
    }

    fn spawn(&self, line: &str) -> Child {
        program(line).arg("--socket").arg(self.socket()).spawn().unwrap()
    }
}
