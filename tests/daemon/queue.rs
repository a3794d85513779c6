//! What an operator does with queues, through the command line.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::rig::{Daemon, until};

/// A pool whose workers die of their jobs, and one that works.
const POOLS: &str = r#"
[function.deadly]
max_attempts = 1
[function."tiny*"]
max_payload = "3B"
[defaults]
user = "${USER}"
[pool.deadly]
command = ["sh", "-c", "cat >&2; echo 'about to die' >&2; kill -9 $PPID; sleep 60"]
protocol = "exec"
[pool.words]
command = "wc -w"
protocol = "exec"
functions = ["words"]
"#;

#[test]
fn a_job_that_kills_its_worker_is_listed_with_its_last_lines_and_purged() {
    let daemon = Daemon::with_pools(POOLS);
    let handle = daemon.says(&["submit", "deadly", "payload", "--background"]);
    let handle = handle.trim();
    let mut dead = serde_json::Value::Null;
    until("the job is a dead letter with its last lines", || {
        dead = serde_json::from_str(&daemon.says(&["jobs", "--dead", "--json"])).unwrap();
        dead[0]["death"]["output"].as_str().is_some_and(|output| !output.is_empty())
    });
    assert_eq!(dead[0]["handle"], handle);
    assert_eq!(dead[0]["death"]["worker"], "deadly:1");
    assert_eq!(dead[0]["death"]["exit"], "killed by KILL");
    let output = dead[0]["death"]["output"].as_str().unwrap();
    assert!(output.contains("about to die"), "{output}");
    assert_eq!(daemon.says(&["job", handle, "--payload"]), "payload");
    assert!(daemon.says(&["job", handle]).contains("dead since"), "{handle}");
    let dry = daemon.says(&["queue", "purge", "-f", "dead*", "--dry-run"]);
    assert_eq!(dry, format!("purge would change 1 job\n{handle}\n"));
    assert_eq!(daemon.says(&["queue", "purge", handle]), "1 job dropped\n");
    assert_eq!(daemon.says(&["jobs", "--dead"]), "there is no dead letter\n");
    assert_eq!(daemon.ask(&["queue", "retry", handle]).status.code(), Some(4));
}

#[test]
fn a_paused_function_is_shown_and_goes_on_when_it_is_resumed() {
    let daemon = Daemon::with_pools(POOLS);
    let said = daemon.says(&["pause", "words"]);
    assert_eq!(said, "words paused: its jobs wait until it is resumed\n");
    let handle = daemon.says(&["submit", "words", "to be or not", "--background"]);
    let status = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("1 job waits for words"), "{status}");
    assert!(status.contains("paused"), "{status}");
    assert!(daemon.says(&["queue", "list", "w*"]).contains("paused"));
    let refused = daemon.ask(&["resume", "other"]);
    assert_eq!(refused.status.code(), Some(4));
    let hint = String::from_utf8(refused.stderr).unwrap();
    assert!(hint.contains("paused are: words"), "{hint}");
    assert_eq!(daemon.says(&["resume", "w*"]), "words resumed\n");
    until("the job is done", || daemon.ask(&["job", handle.trim()]).status.code() == Some(4));
}

#[test]
fn waiting_jobs_are_cancelled_by_function_and_age() {
    let daemon = Daemon::with_pools(POOLS);
    let submit =
        |function: &str| daemon.says(&["submit", function, "p", "--background"]).trim().to_owned();
    let (first, second, other) = (submit("a"), submit("a"), submit("b"));
    let newest = daemon.says(&["jobs", "--newest", "-n", "1", "--json"]);
    assert!(newest.contains(&other), "{newest}");
    let oldest = daemon.says(&["jobs", "a", "--oldest", "-n", "1", "--json"]);
    assert!(oldest.contains(&first) && !oldest.contains(&second), "{oldest}");
    assert_eq!(daemon.ask(&["queue", "cancel"]).status.code(), Some(2));
    assert_eq!(daemon.says(&["queue", "cancel", "--older", "1h"]), "0 jobs cancelled\n");
    assert_eq!(daemon.says(&["queue", "cancel", "-f", "a"]), "2 jobs cancelled\n");
    assert!(daemon.says(&["jobs"]).contains(&other));
}

#[test]
fn an_edit_of_the_rules_holds_at_once() {
    let daemon = Daemon::with_pools(POOLS);
    let refused = daemon.ask(&["submit", "tiny_1", "four", "--background"]);
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(errors.contains("ARGUMENT_TOO_LARGE"), "{errors}");
    daemon.edit("max_payload = \"3B\"", "max_payload = \"4B\"");
    until("the edit is applied", || {
        daemon.ask(&["submit", "tiny_1", "four", "--background"]).status.success()
    });
    let text = fs::read_to_string(daemon.file()).unwrap();
    let open = text.replace("listen = [\"127.0.0.1:", "listen = [\"0.0.0.0:");
    let file = daemon.folder.path().join("open.toml");
    fs::write(&file, open).unwrap();
    let refused = daemon.ask(&["check", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(78), "{}", String::from_utf8_lossy(&refused.stderr));
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&refused.stdout),
        String::from_utf8_lossy(&refused.stderr)
    );
    assert!(told.contains("add allow = ["), "{told}");
}

#[test]
fn jobs_move_out_to_a_file_and_to_a_server_and_back_in() {
    let (old, new) = (Daemon::with_pools(POOLS), Daemon::with_pools(POOLS));
    for payload in ["1", "2", "3"] {
        old.says(&["submit", "moved", payload, "--background", "--high"]);
    }
    let held = old.says(&["submit", "held", "p", "--background", "--unique", "u"]);
    let file = old.folder.path().join("jobs.jsonl");
    let file = file.to_str().unwrap();
    assert_eq!(old.says(&["queue", "export", file]), "4 jobs exported\n");
    assert_ne!(old.ask(&["queue", "export", file]).status.code(), Some(0), "it is there");
    assert_eq!(new.says(&["queue", "import", "--from", file]), "4 jobs imported\n");
    let jobs = |daemon: &Daemon| -> Vec<serde_json::Value> {
        serde_json::from_str(&daemon.says(&["jobs", "--json"])).unwrap()
    };
    assert_eq!(jobs(&new).iter().filter(|job| job["priority"] == "high").count(), 3);
    assert_eq!(new.says(&["queue", "cancel", "-f", "*"]), "4 jobs cancelled\n");

    let server = format!("127.0.0.1:{}", new.port);
    assert_eq!(old.says(&["queue", "export", "--to", &server]), "4 jobs exported\n");
    assert_eq!((jobs(&old).len(), jobs(&new).len()), (0, 4));
    assert_eq!(old.ask(&["job", held.trim()]).status.code(), Some(4));

    let said = old.says(&["queue", "import", "--from", &server, "--functions", "moved,held"]);
    assert_eq!(said, "4 jobs imported\n");
    assert_eq!((jobs(&old).len(), jobs(&new).len()), (4, 0));
    let unique = jobs(&old).iter().any(|job| job["unique"] == "u" && job["function"] == "held");
    assert!(unique, "a unique moves too");
}

#[test]
fn jobs_that_a_server_took_beside_one_that_it_refused_are_not_in_both_places() {
    let pools = "[pool.idle]\nuser = \"${USER}\"\ncommand = \"cat\"\nprotocol = \"exec\"\n";
    let (old, new) = (Daemon::with_pools(pools), Daemon::with_pools(POOLS));
    for payload in ["one", "too long", "two"] {
        old.says(&["submit", "tiny_1", payload, "--background"]);
    }
    let server = format!("127.0.0.1:{}", new.port);
    let refused = old.ask(&["queue", "export", "--to", &server]);
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && errors.contains("2 jobs were taken"), "{errors}");
    let count = |daemon: &Daemon| -> usize {
        let jobs: Vec<serde_json::Value> =
            serde_json::from_str(&daemon.says(&["jobs", "--json"])).unwrap();
        jobs.len()
    };
    assert_eq!((count(&old), count(&new)), (1, 2));
}

/// Debian's gearmand, where it is installed, takes jobs and gives them up again.
#[test]
fn jobs_of_gearmands_own_file_move_in() {
    let Some(gearmand) = Gearmand::start() else { return };
    let daemon = Daemon::with_pools(POOLS);
    daemon.says(&["submit", "moved", "p", "--background", "--unique", "u"]);
    let server = format!("127.0.0.1:{}", gearmand.port);
    assert_eq!(daemon.says(&["queue", "export", "--to", &server]), "1 job exported\n");
    let file = gearmand.folder.path().join("queue.sqlite");
    let said = daemon.says(&["queue", "import", "--from", file.to_str().unwrap()]);
    assert_eq!(said, "1 job imported\n");
    let jobs = daemon.says(&["jobs", "--json"]);
    assert!(jobs.contains("\"unique\": \"u\""), "{jobs}");
}

/// A stock gearmand with its libsqlite3 queue.
struct Gearmand {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Gearmand {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.path().join("queue.sqlite");
        let started = Command::new("gearmand")
            .args(["--listen=127.0.0.1", "--queue-type=libsqlite3", "--log-file=none"])
            .arg(format!("--port={port}"))
            .arg(format!("--libsqlite3-db={}", file.display()))
            .args(["--user", &std::env::var("USER").unwrap_or("root".to_owned())])
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => {
                let gearmand = Self { child, folder, port };
                until("gearmand listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
                Some(gearmand)
            }
            Err(error) => {
                eprintln!("skipped: Debian's gearmand is not installed: {error}");
                None
            }
        }
    }
}

impl Drop for Gearmand {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
