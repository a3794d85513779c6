//! Debian's gearmand as the server outside: workers come to it through the daemon.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::php::has_php_gearman;
use crate::rig::{DEADLINE, Daemon, PROGRAM, kill, lives, spawn, until, until_within};

/// A gearmand of one test.
struct Gearmand {
    child: Option<Child>,
    port: u16,
}

impl Gearmand {
    /// Starts one that listens; `None` where it is not installed.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut gearmand = Self { child: None, port };
        if !gearmand.begin() {
            println!("skipped: Debian's gearmand is not installed (gearman-job-server)");
            return None;
        }
        Some(gearmand)
    }

    fn begin(&mut self) -> bool {
        let port = self.port.to_string();
        let arguments = ["--listen=127.0.0.1", "--port", &port, "--log-file=none"];
        let mut command = Command::new("/usr/sbin/gearmand");
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => self.child = Some(child),
            Err(_) => return false,
        }
        until("gearmand listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        true
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut child) = self.child.take() {
            kill(signal, child.id().into());
            child.wait().unwrap();
        }
    }

    /// Its answer to an administrator's question of several lines.
    fn answer(&self, question: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("{question}\n").as_bytes()).unwrap();
        let mut text = String::new();
        while !text.ends_with(".\n") {
            let mut chunk = [0; 4096];
            let len = stream.read(&mut chunk).unwrap();
            text.push_str(std::str::from_utf8(&chunk[..len]).unwrap());
        }
        text
    }

    /// Total, running and performers of a function, as gearmand lists them.
    fn listed(&self, function: &str) -> Option<[u64; 3]> {
        let text = self.answer("status");
        let row = text.lines().find(|line| line.starts_with(&format!("{function}\t")))?;
        let mut numbers = row.split('\t').skip(1).map(|number| number.parse().unwrap());
        Some([(); 3].map(|()| numbers.next().unwrap()))
    }

    fn has_performers(&self, function: &str, count: u64) {
        until("workers serve there", || self.listed(function).is_some_and(|it| it[2] >= count));
    }

    fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Gearmand {
    fn drop(&mut self) {
        self.end("-KILL");
    }
}

/// A daemon of these servers; `more` are further keys of `[broker]`, then the pools.
fn daemon_of(folder: TempDir, servers: &[&Gearmand], more: &str) -> Daemon {
    let servers: Vec<String> =
        servers.iter().map(|server| format!("\"{}\"", server.at())).collect();
    let text = format!("servers = [{}]\n{more}", servers.join(", "));
    Daemon::with_pools_in(folder, &text)
}

fn pools(pools: &str) -> String {
    format!("[defaults]\nuser = \"${{USER}}\"\n{pools}")
}

/// A job submitted by somebody else: gearman's own client, straight to the server.
fn submit(server: &Gearmand, function: &str, payload: &str, background: bool) -> Child {
    let mut command = Command::new("gearman");
    command.args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-f", function]);
    if background {
        command.arg("-b");
    }
    command.arg(payload).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

fn output(child: Child) -> String {
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

const SLEEPER: &str = r#"<?php
$worker = new GearmanWorker();
$worker->addServer(getenv('GEARMAN_HOST'), (int) getenv('GEARMAN_PORT'));
$worker->addFunction('nap', function ($job) {
    for ($n = 0; $n < 80; $n++) usleep(100000);
    file_put_contents($job->workload(), "done\n", FILE_APPEND);
    return 'slept';
});
while ($worker->work());
"#;

#[test]
fn a_stop_waits_for_a_job_of_eight_seconds_and_the_idle_go_at_once() {
    let Some(server) = Gearmand::start() else { return };
    if !has_php_gearman() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = script(folder.path(), "nap.php", SLEEPER);
    let (done, command) = (folder.path().join("done"), format!("[\"php\", \"{path}\"]"));
    let pool = pools(&format!("[pool.nap]\ncommand = {command}\ncount = 2\n"));
    let daemon = daemon_of(folder, &[&server], &pool);
    server.has_performers("nap", 2);
    let client = submit(&server, "nap", &done.display().to_string(), false);
    until("it has the job", || daemon.busy("nap").len() == 1);
    let handle = daemon.worker("nap:1")["jobs"][0]["handle"].as_str().map(str::to_owned);
    let handle =
        handle.or_else(|| daemon.worker("nap:2")["jobs"][0]["handle"].as_str().map(str::to_owned));
    assert!(daemon.says(&["job", &handle.unwrap()]).contains("nap"));
    daemon.says(&["stop", "nap"]);
    assert_eq!(fs::read_to_string(done).unwrap(), "done\n");
    assert_eq!(output(client), "slept");
    assert!(!daemon.log().contains("by KILL"), "a worker was killed");
    until("gearmand knows of no worker", || server.listed("nap").is_none_or(|it| it[2] == 0));
}

#[test]
fn workers_outlive_a_server_that_is_killed_and_serve_it_again() {
    let Some(mut server) = Gearmand::start() else { return };
    let pool = pools(
        "[pool.up]\ncommand = \"tr a-z A-Z\"\nprotocol = \"exec\"\ncount = 2\n\
         [pool.libgearman]\ncommand = [\"gearman\", \"-h\", \"{host}\", \"-p\", \"{port}\", \"-w\", \
         \"-f\", \"rev\", \"rev\"]\n",
    );
    let daemon = daemon_of(tempfile::tempdir().unwrap(), &[&server], &pool);
    server.has_performers("up", 2);
    server.has_performers("rev", 1);
    assert_eq!(output(submit(&server, "up", "abc", false)), "ABC");
    let before = (daemon.running("up"), daemon.running("libgearman"));
    server.end("-KILL");
    until("the loss is shown", || daemon.status()["broker"]["servers"][0]["up"] == false);
    assert!(server.begin());
    server.has_performers("up", 2);
    server.has_performers("rev", 1);
    assert_eq!(output(submit(&server, "up", "def", false)), "DEF");
    assert_eq!(output(submit(&server, "rev", "def", false)).trim(), "fed");
    assert_eq!((daemon.running("up"), daemon.running("libgearman")), before);
}

#[test]
fn two_servers_are_served_by_one_worker_and_one_goes_on_without_the_other() {
    let (Some(mut one), Some(two)) = (Gearmand::start(), Gearmand::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let lines = script(
        folder.path(),
        "lines.sh",
        "while read -r line; do echo '{\"result\": \"line\"}'; done\n",
    );
    let pool = pools(&format!(
        "[pool.up]\ncommand = \"tr a-z A-Z\"\nprotocol = \"exec\"\n\
         [pool.lines]\ncommand = \"sh {lines}\"\nprotocol = \"lines\"\n"
    ));
    let daemon = daemon_of(folder, &[&one, &two], &pool);
    for server in [&one, &two] {
        server.has_performers("up", 1);
        server.has_performers("lines", 1);
    }
    // Both number their jobs alike, so each handle comes twice.
    for round in 0..5 {
        for server in [&one, &two] {
            let word = format!("round{round}");
            assert_eq!(output(submit(server, "up", &word, false)), word.to_uppercase());
            assert_eq!(output(submit(server, "lines", "x", false)), "line");
        }
    }
    one.end("-KILL");
    assert_eq!(output(submit(&two, "up", "alone", false)), "ALONE");
    assert!(one.begin());
    one.has_performers("up", 1);
    assert_eq!(output(submit(&one, "up", "again", false)), "AGAIN");
    let status = daemon.says(&["status"]);
    assert!(status.contains(&format!("jobs from {} up for", one.at())), "{status}");
}

const RELAY: &str = r#"<?php
$worker = new GearmanWorker();
$worker->addServer(getenv('GEARMAN_HOST'), (int) getenv('GEARMAN_PORT'));
$worker->addFunction('relay', function ($job) {
    $client = new GearmanClient();
    $client->addServer(getenv('GEARMAN_HOST'), (int) getenv('GEARMAN_PORT'));
    for ($n = 0; $n < 50; $n++) {
        if ($client->doNormal('up', "x$n") !== "X$n") return "no answer to $n";
    }
    $client->doBackground('up', 'y');
    return strlen($client->doNormal('up', str_repeat('z', 3 << 20)));
});
while ($worker->work());
"#;

#[test]
fn a_worker_that_submits_jobs_itself_is_served_too() {
    let Some(server) = Gearmand::start() else { return };
    if !has_php_gearman() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let relay = script(folder.path(), "relay.php", RELAY);
    let pool = pools(&format!(
        "[pool.relay]\ncommand = [\"php\", \"{relay}\"]\n\
         [pool.up]\ncommand = \"tr a-z A-Z\"\nprotocol = \"exec\"\n"
    ));
    let daemon = daemon_of(folder, &[&server], &pool);
    server.has_performers("relay", 1);
    server.has_performers("up", 1);
    assert_eq!(daemon.says(&["submit", "relay", "", "--timeout", "50s"]).trim(), "3145728");
}

#[test]
fn the_queue_outside_decides_the_count() {
    let Some(server) = Gearmand::start() else { return };
    let pool = pools(
        "[pool.slow]\ncommand = [\"sh\", \"-c\", \"sleep 1\"]\nprotocol = \"exec\"\n\
         count = { min = 0, max = 4 }\nmax_wait = \"1s\"\nzero_after = \"0s\"\nidle_ttl = \"0s\"\n",
    );
    let daemon = daemon_of(tempfile::tempdir().unwrap(), &[&server], &pool);
    assert!(daemon.running("slow").is_empty());
    for _ in 0..8 {
        output(submit(&server, "slow", "x", true));
    }
    // How many of them are granted is the host's to say, which may be busy with other tests.
    until("several are wanted", || {
        daemon.status()["pools"][0]["wanted"].as_u64().is_some_and(|wanted| wanted >= 3)
    });
    until("the pool has grown", || !daemon.running("slow").is_empty());
    // It keeps what the last minute needed, and then falls step by step.
    let deadline = Duration::from_mins(3);
    until_within(deadline, "the pool has shrunk", || daemon.running("slow").is_empty());
    until("all jobs are done", || server.listed("slow").is_none_or(|it| it[0] == 0));
}

#[test]
fn a_job_that_takes_too_long_is_killed_and_job_is_killed_by_hand() {
    let Some(server) = Gearmand::start() else { return };
    let pool = pools(
        "[pool.hang]\ncommand = [\"sh\", \"-c\", \"exec sleep 300\"]\nprotocol = \"exec\"\n\
         [pool.long]\ncommand = [\"sh\", \"-c\", \"exec sleep 300\"]\nprotocol = \"exec\"\n\
         job_timeout = \"1s\"\n",
    );
    let daemon = daemon_of(tempfile::tempdir().unwrap(), &[&server], &pool);
    server.has_performers("hang", 1);
    let mut client = submit(&server, "hang", "x", false);
    until("it has the job", || daemon.busy("hang").len() == 1);
    let handle = daemon.worker("hang:1")["jobs"][0]["handle"].as_str().unwrap().to_owned();
    let pid = daemon.busy("hang")[0];
    assert!(daemon.says(&["kill", &handle]).contains("hang:1 was killed"));
    assert!(!lives(pid));
    client.kill().unwrap();
    client.wait().unwrap();
    let mut client = submit(&server, "long", "x", false);
    until("it was killed", || daemon.log().contains("took longer than 1s"));
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn direct_workers_find_the_servers_and_status_says_what_is_lost() {
    let Some(server) = Gearmand::start() else { return };
    let more = pools(
        "[pool.up]\ncommand = [\"sh\", \"-c\", \"trap 'sleep 7; exit 0' TERM; while :; do sleep \
         0.1; done\"]\n[pool.tr]\ncommand = \"tr a-z A-Z\"\nprotocol = \"exec\"\n",
    );
    let daemon =
        daemon_of(tempfile::tempdir().unwrap(), &[&server], &format!("direct = true\n{more}"));
    server.has_performers("tr", 1);
    assert_eq!(output(submit(&server, "tr", "abc", false)), "ABC");
    let status = daemon.says(&["status"]);
    assert!(status.contains("jobs in hand unknown: workers connect by themselves"), "{status}");
    // Whoever needs more than the usual five seconds after TERM may be at work.
    daemon.says(&["stop", "up"]);
    let exit = daemon.worker("up:1")["last_exit"].to_string();
    assert!(exit.contains("exit 0") || exit.contains("code 0"), "{exit}");
}

#[test]
fn a_host_tells_others_of_itself_while_it_has_an_elastic_pool() {
    let Some(server) = Gearmand::start() else { return };
    let pool = "[pool.tr]\ncommand = \"tr a-z A-Z\"\nprotocol = \"exec\"\ncount = \"1..2\"\n";
    let daemon = daemon_of(tempfile::tempdir().unwrap(), &[&server], &pools(pool));
    let is_told = || server.answer("workers").contains("gs1;host=");
    until("it is told", || server.answer("workers").contains(";pool=tr:"));
    daemon.edit("1..2", "2");
    until("it is no longer told", || !is_told());
    daemon.edit("count = \"2\"", "count = \"1..3\"");
    until("it is told again", is_told);
}

#[test]
fn a_pool_of_none_starts_one_worker_to_learn_what_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("worker.sh");
    let serve = |function: &str| {
        let line = format!("exec {PROGRAM} work {function} -- tr a-z A-Z\n");
        fs::write(&script, line).unwrap();
    };
    serve("up");
    let pool = pools(&format!(
        "[pool.learned]\ncommand = [\"sh\", {script:?}]\ncount = {{ min = 0, max = 2 }}\n\
         zero_after = \"0s\"\nidle_ttl = \"0s\"\n"
    ));
    let mut daemon = Daemon::begin_in(folder, &pool);
    until("it has learned", || daemon.log().contains("its first worker tells what it serves"));
    until("nobody is left", || {
        daemon.log().contains("1→0") && daemon.running("learned").is_empty()
    });
    // An edit of what runs has it learned anew, though it is the same.
    let (starts, learned) = ("started pool=learned", "its first worker tells what it serves");
    let before = daemon.log().len();
    daemon.edit("zero_after", "env = { EDITED = \"1\" }\nzero_after");
    until("it has learned again", || daemon.log()[before..].contains(learned));
    until("nobody is left", || {
        daemon.log()[before..].contains("1→0") && daemon.running("learned").is_empty()
    });
    assert_eq!(daemon.says(&["submit", "up", "abc", "--timeout", "30s"]).trim(), "ABC");
    // The next daemon knows it, and so starts one for a job alone.
    let again = |daemon: &mut Daemon| {
        daemon.signal("-TERM");
        daemon.child.wait().unwrap();
        let before = daemon.log();
        daemon.child = spawn(daemon.folder.path());
        until("it is there", || daemon.ask(&["status"]).status.success());
        before.len()
    };
    let before = again(&mut daemon);
    assert_eq!(daemon.says(&["submit", "up", "abc", "--timeout", "30s"]).trim(), "ABC");
    let log = daemon.log();
    let since = &log[before..];
    assert!(since.matches(starts).count() == 1 && !since.contains(learned), "{since}");
    // Not if the worker's files have become others meanwhile.
    serve("shout");
    let before = again(&mut daemon);
    until("it has learned anew", || daemon.log()[before..].contains(learned));
    assert_eq!(daemon.says(&["submit", "shout", "abc", "--timeout", "30s"]).trim(), "ABC");
}

#[test]
fn a_worker_that_registers_nothing_is_warned_about_and_left_alone() {
    let daemon = Daemon::with_pools(&pools("[pool.image]\ncommand = \"sleep 1000\"\n"));
    until("the log says it", || daemon.log().contains("image:1 up 30 s, registered nothing here"));
    let status = daemon.says(&["status"]);
    assert!(status.contains("image:1 up 30 s, registered nothing here"), "{status}");
    assert_eq!(daemon.state("image:1"), "RUNNING");
}
