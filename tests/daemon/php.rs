//! Ordinary PHP workers under the daemon, as people have them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::rig::{DEADLINE, Daemon, until};

/// A worker that, in each job, is a client too: of the same broker, many times.
const RELAY: &str = r#"<?php
function here($peer) {
    if (getenv('ADD')) $peer->addServer(getenv('GEARMAN_HOST'), (int) getenv('GEARMAN_PORT'));
    return $peer;
}
$worker = here(new GearmanWorker());
$worker->addFunction('relay', function ($job) {
    $client = here(new GearmanClient());
    for ($n = 0; $n < (int) $job->workload(); $n++) {
        if (@$client->doNormal('rev', "abc$n") !== strrev("abc$n")) return "no answer to $n";
        @$client->doBackground('rev', 'x');
    }
    return 'all';
});
$worker->addFunction('rev', fn ($job) => strrev($job->workload()));
while (@$worker->work());
"#;

pub(crate) fn has_php_gearman() -> bool {
    let mut probe = Command::new("php");
    probe.args(["-r", "exit((int) !extension_loaded('gearman'));"]).stderr(Stdio::null());
    let found = probe.status().is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: php with the gearman extension is not installed (php-gearman)");
    }
    found
}

/// How many connections perform the function.
pub(crate) fn performers(daemon: &Daemon, function: &str) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"status\n").unwrap();
    let mut text = String::new();
    while !text.ends_with(".\n") {
        let mut chunk = [0; 4096];
        let len = stream.read(&mut chunk).unwrap();
        assert!(len > 0, "the broker closed the connection");
        text.push_str(std::str::from_utf8(&chunk[..len]).unwrap());
    }
    let row = text.lines().find(|line| line.starts_with(&format!("{function}\t")));
    row.and_then(|row| row.rsplit('\t').next()).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn php_workers_hold_one_connection_and_do_not_hang_whether_they_add_a_server_or_not() {
    if !has_php_gearman() {
        return;
    }
    for env in [r#"{ ADD = "1" }"#, r#"{ GEARMAN_SERVERS = "{servers}" }"#] {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("relay.php");
        fs::write(&script, RELAY).unwrap();
        let pools = format!(
            "[defaults]\nuser = \"${{USER}}\"\n[pool.relay]\ncommand = [\"php\", \"{}\"]\n\
             functions = [\"relay\", \"rev\"]\ncount = 3\nenv = {env}\n",
            script.display()
        );
        let daemon = Daemon::with_pools_in(folder, &pools);
        until("all workers serve", || performers(&daemon, "rev") >= 3);
        let said = daemon.says(&["submit", "relay", "100", "--timeout", "30s"]);
        assert_eq!(said.trim(), "all", "{env}");
        assert_eq!(performers(&daemon, "rev"), 3, "{env}");
    }
}
