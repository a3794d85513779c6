//! The drop-in for gearmand's command line, beside Debian's gearmand where it is installed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gear-supervisor");
/// Debian's.
const STOCK: &str = "/usr/sbin/gearmand";
const WITHIN: Duration = Duration::from_secs(20);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn ours(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("gearmand").args(arguments).stdin(Stdio::null()).env_remove("GEARMAND_PORT");
    command
}

/// What a text command is answered with, to the end of its first line.
fn ask(stream: &mut TcpStream, command: &str) -> String {
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(&mut *stream).read_line(&mut line).unwrap();
    line
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream
}

fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

/// Waits until it holds, for what no event tells of.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WITHIN, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// A server in the foreground whose log has been read up to its first listener.
struct Server {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = ours(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log };
        server.expect("listening on");
        server
    }

    fn expect(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "it ended without {text}");
        }
    }

    fn signal(&self, name: &str) {
        signal(name, &self.child.id().to_string());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

#[test]
fn options_are_judged_as_gearmand_judges_them() {
    let stock = Path::new(STOCK).exists();
    if !stock {
        println!("skipped: {STOCK} is not installed (apt: gearman-job-server); only ours is tried");
    }
    let cases = [
        ("", 0),
        ("-L 127.0.0.1 -p 4730", 0),
        ("--listen=localhost --daemon --pid-file=/nonexistent/x", 0),
        ("--verbose=DEBUG", 0),
        ("--verbose loud", 1),
        ("--verbose", 1),
        ("-p4731 -b 10 -j 3 -w 0 -f 100 -R -t 4", 0),
        ("-t x", 1),
        ("--keepalive --keepalive-idle=3 --keepalive-interval=3 --keepalive-count=4", 0),
        ("--job-handle-prefix=X --hashtable-buckets=100 --exceptions", 0),
        ("--syslog --coredump", 0),
        ("-q libsqlite3 --libsqlite3-db=/x --store-queue-on-shutdown", 0),
        ("--config-file=/nonexistent", 1),
        ("--bogus", 1),
        ("surplus", 1),
        ("-V", 0),
        ("--help", 0),
    ];
    for (line, wanted) in cases {
        let words: Vec<&str> = line.split_whitespace().chain(["--check-args"]).collect();
        let status = |mut command: Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().unwrap().code()
        };
        assert_eq!(status(ours(&words)), Some(wanted), "ours: {line}");
        // Its help ends with 1 when it is asked to check as well.
        if stock && line != "--help" {
            let mut command = Command::new(STOCK);
            command.args(&words);
            assert_eq!(status(command), Some(wanted), "gearmand: {line}");
        }
    }
}

#[test]
fn a_link_named_gearmand_serves_with_the_seeds_own_line() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("gearmand");
    std::os::unix::fs::symlink(PROGRAM, &link).unwrap();
    let port = free_port().to_string();
    let mut child = Command::new(&link)
        .args(["-L", "127.0.0.1", "-p", &port, "-vvv", "-l", "stderr"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut server = Server { child, log };
    server.expect("listening on");
    let version = ask(&mut connect(port.parse().unwrap()), "version");
    assert_eq!(version, format!("OK {}\n", env!("CARGO_PKG_VERSION")));
    server.signal("-TERM");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn a_daemon_returns_when_it_serves_and_reopens_its_log_at_hup() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (port, pid_file, log) = (free_port(), path("pid"), path("log"));
    let (port_text, pid_option) = (port.to_string(), format!("--pid-file={pid_file}"));
    let arguments = ["-d", "-L", "127.0.0.1", "-p", &port_text, &pid_option, "-l", &log, "-v"];
    assert!(ours(&arguments).status().unwrap().success());
    let pid = fs::read_to_string(&pid_file).unwrap().trim().to_owned();
    assert_eq!(ask(&mut connect(port), "getpid"), format!("OK {pid}\n"));
    let second = ours(&["-L", "127.0.0.1", "-p", &free_port().to_string(), &pid_option]).output();
    let second = second.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is the pid file of a running server"), "{said}");
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), pid, "the first one's stays");
    let second = ours(&arguments).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "a port can be served once");
    let moved = path("log.1");
    fs::rename(&log, &moved).unwrap();
    signal("-HUP", &pid);
    until("a new log file", || fs::read_to_string(&log).is_ok_and(|text| text.contains("anew")));
    assert!(fs::read_to_string(&moved).unwrap().contains("listening on"));
    signal("-TERM", &pid);
    until("the pid file goes", || !Path::new(&pid_file).exists());
}

#[test]
fn usr1_closes_the_listeners_and_ends_the_server_with_its_last_job() {
    let port = free_port();
    let port_text = port.to_string();
    let mut server = Server::start(&["-L", "127.0.0.1", "-p", &port_text, "-l", "stderr", "-v"]);
    let mut client = connect(port);
    // SUBMIT_JOB_BG f, and its answer.
    client.write_all(b"\0REQ\0\0\0\x12\0\0\0\x04f\0\0x").unwrap();
    client.read_exact(&mut [0; 12]).unwrap();
    server.signal("-USR1");
    server.expect("no longer listening");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens");
    let mut rest = [0; 64];
    let handle_len = client.read(&mut rest).unwrap();
    let handle = String::from_utf8_lossy(rest.get(..handle_len).unwrap()).into_owned();
    assert_eq!(ask(&mut client, &format!("cancel job {handle}")), "OK\r\n");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn what_is_not_there_is_refused_plainly() {
    for option in ["--ssl", "--protocol=http", "-q=nonsense"] {
        let output = ours(&[option]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert!(said.starts_with("gearmand: --") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_queue_type_keeps_background_jobs_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let port_text = port.to_string();
    let arguments = ["-L", "127.0.0.1", "-p", &port_text, "-l", "stderr", "-v", "-q", "libsqlite3"];
    let start = || {
        let mut command = ours(&arguments);
        command.env("STATE_DIRECTORY", folder.path()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Server { child, log };
        server.expect("listening on");
        server
    };
    let server = start();
    let mut client = connect(port);
    client.write_all(b"\0REQ\0\0\0\x12\0\0\0\x04f\0\0x").unwrap();
    client.read_exact(&mut [0; 12]).unwrap();
    drop(server);
    let again = start();
    assert_eq!(ask(&mut connect(port), "status"), "f\t1\t0\t0\n");

    // Jobs of an older queue move in beside it, as its log says.
    let file = folder.path().join("jobs.jsonl");
    let job = r#"{"handle":"H:old:1","function":"f","unique":"","priority":"high","payload":"y"}"#;
    fs::write(&file, format!("{job}\n{job}\n")).unwrap();
    let mut import = Command::new(PROGRAM);
    import.args(["queue", "import", "--to", &format!("127.0.0.1:{port}"), "--from"]).arg(&file);
    let said = import.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "2 jobs imported\n", "{said:?}");
    assert_eq!(ask(&mut connect(port), "status"), "f\t3\t0\t0\n");
    drop(again);
}
