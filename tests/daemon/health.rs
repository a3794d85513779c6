//! When workers are ready, whether they stay well, and jobs that take too long.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rig::{Daemon, until};
use crate::upkeep::plain;

/// A program in Python that says what its lines say to `NOTIFY_SOCKET`.
const SAY: &str = r#"import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
a = os.environ["NOTIFY_SOCKET"]
say = lambda t: s.sendto(t.encode(), "\0" + a[1:])
"#;

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no python3");
    }
    found
}

fn python(name: &str, script: &str, keys: &str) -> String {
    format!(
        "[pool.{name}]\nuser = \"${{USER}}\"\nprotocol = \"none\"\n\
         command = [\"python3\", \"-c\", '''{SAY}{script}''']\n{keys}\n"
    )
}

/// Begins a daemon whose one pool waits for the file `go`, and checks that it is ready only then.
fn check_go(pool: &str) -> Daemon {
    let daemon = Daemon::begin(pool);
    until("it starts", || daemon.state("a:1") == "STARTING");
    // Longer than what is enough for `alive`.
    until("it has lived", || daemon.worker("a:1")["uptime"].as_f64().unwrap_or_default() > 1.3);
    assert_eq!(daemon.state("a:1"), "STARTING");
    fs::write(daemon.folder.path().join("go"), "").unwrap();
    daemon.until_up();
    daemon
}

#[test]
fn a_line_of_output_can_make_a_worker_ready() {
    let script = "echo not ready; until [ -e go ]; do sleep 0.05; done; echo ready to work >&2; \
                  exec sleep 1000";
    check_go(&plain("a", script, "ready = \"log:^ready to\""));
}

#[test]
fn a_check_can_make_a_worker_ready() {
    check_go(&plain("a", "exec sleep 1000", "ready = \"exec:test -e go\""));
}

#[test]
fn a_worker_can_say_itself_that_it_is_ready_and_what_it_does() {
    if !has_python() {
        return;
    }
    let script = "while not os.path.exists('go'): time.sleep(0.05)\n\
                  say('READY=1\\nSTATUS=at 3 of 10')\ntime.sleep(1000)\n";
    let daemon = check_go(&python("a", script, "ready = \"notify\""));
    until("its status is shown", || daemon.worker("a:1")["detail"] == "at 3 of 10");
}

#[test]
fn an_answer_over_http_can_make_a_worker_ready_and_its_absence_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let good = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&good);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let len = stream.read(&mut request).unwrap_or_default();
            assert!(request[..len].starts_with(b"GET /health/1 HTTP/1.1\r\n"));
            let good = answers.load(Ordering::Relaxed);
            let status = if good { "200 OK" } else { "503 Busy" };
            // The daemon may have gone.
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").ok();
        }
    });
    let url = format!("http://127.0.0.1:{port}/health/{{index}}");
    let keys = format!(
        "ready = \"{url}\"\n\
         liveness = {{ on = \"{url}\", period = \"50ms\", failures = 2 }}"
    );
    let daemon = Daemon::begin(&plain("a", "exec sleep 1000", &keys));
    until("it starts", || daemon.state("a:1") == "STARTING");
    good.store(true, Ordering::Relaxed);
    daemon.until_up();
    let first = daemon.worker("a:1")["pid"].clone();
    good.store(false, Ordering::Relaxed);
    until("it is ended", || daemon.worker("a:1")["pid"] != first);
    good.store(true, Ordering::Relaxed);
    daemon.until_up();
    let exit = daemon.worker("a:1")["last_exit"].to_string();
    assert!(exit.contains("2 liveness checks failed, the last: http://127.0.0.1"), "{exit}");
    assert!(exit.contains("answers HTTP/1.1 503 Busy"), "{exit}");
}

#[test]
fn a_worker_that_falls_silent_is_replaced() {
    if !has_python() {
        return;
    }
    let script = "assert os.environ['WATCHDOG_USEC'] == '300000'\nsay('READY=1')\n\
                  for _ in range(20):\n    say('WATCHDOG=1'); time.sleep(0.05)\ntime.sleep(1000)\n";
    let keys = "ready = \"notify\"\nliveness = { on = \"notify\", period = \"300ms\" }";
    let daemon = Daemon::with_pools(&python("a", script, keys));
    let silent = "since it has not said WATCHDOG=1 for 300ms";
    until("it was replaced", || {
        daemon.worker("a:1")["last_exit"].as_str().is_some_and(|exit| exit.contains(silent))
    });
}

#[test]
fn a_start_that_is_never_ready_fails_with_the_reason() {
    let keys = "ready = \"log:never\"\nstart_timeout = \"200ms\"";
    let daemon = Daemon::begin(&plain("a", "exec sleep 1000", keys));
    until("it pauses", || matches!(daemon.state("a:1").as_str(), "BACKOFF" | "FATAL"));
    let detail = daemon.worker("a:1")["detail"].to_string();
    assert!(detail.contains("not ready within 0.20 s"), "{detail}");
}

#[test]
fn a_worker_is_ready_by_its_registration_alone() {
    let pools = "[pool.idle]\nuser = \"${USER}\"\ncommand = \"sleep 1000\"\n\
                 ready = \"registered\"\nstart_timeout = \"2s\"\n\
                 [pool.wc]\nuser = \"${USER}\"\ncommand = \"wc -w\"\nprotocol = \"exec\"\n\
                 ready = \"registered\"\n";
    let daemon = Daemon::begin(pools);
    daemon.says(&["wait", "wc", "--timeout", "60s"]);
    until("the other has failed", || {
        daemon.worker("idle:1")["detail"].to_string().contains("not ready within 2.00 s")
    });
}

#[test]
fn a_job_that_takes_too_long_costs_its_worker_and_is_given_up_in_the_end() {
    let pools = "[pool.slow]\nuser = \"${USER}\"\ncommand = \"sleep 1000\"\n\
                 protocol = \"exec\"\ncount = 2\njob_timeout = \"300ms\"\n";
    let daemon = Daemon::with_pools(pools);
    let output = daemon.ask(&["submit", "slow", ""]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let log = || fs::read_to_string(daemon.folder.path().join("out")).unwrap();
    until("three workers died for it", || log().matches("since job H:").count() == 3);
    until("it is given up", || log().contains("a job is given up"));
}

#[test]
fn a_killed_job_ends_its_worker_and_is_tried_again() {
    let pools = "[pool.slow]\nuser = \"${USER}\"\nprotocol = \"exec\"\n\
                 command = [\"sh\", \"-c\", \"test -e go || exec sleep 1000\"]\n";
    let daemon = Daemon::with_pools(pools);
    let client = daemon.command(&["submit", "slow", ""]).stdout(Stdio::null()).spawn().unwrap();
    daemon.until_in_hand(1);
    let jobs: serde_json::Value = serde_json::from_str(&daemon.says(&["jobs", "--json"])).unwrap();
    let handle = jobs[0]["handle"].as_str().unwrap();
    fs::write(daemon.folder.path().join("go"), "").unwrap();
    let said = daemon.says(&["kill", handle]);
    assert_eq!(said, format!("slow:1 was killed for {handle}\n"));
    assert!(client.wait_with_output().unwrap().status.success(), "the second try succeeds");
    let exit = || daemon.worker("slow:1")["last_exit"].to_string();
    assert!(exit().contains("killed by KILL, since job H:"), "{}", exit());
    assert_eq!(daemon.ask(&["kill", handle]).status.code(), Some(4), "it has ended");
}
