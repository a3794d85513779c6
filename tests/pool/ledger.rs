//! A daemon that was killed: the next one finds what it left.
//!
//! Both daemons are played by copies of this test program, since each needs a table of processes
//! of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gear_supervisor::pool::process::{Processes, ProcessesOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{IDS, command, exists, processes, read, run, sh, start, until_gone};

const LEDGER: &str = "POOL_TEST_LEDGER";

/// Opens the table of processes of a daemon that is played.
fn open(ledger: &Path) -> Processes {
    let options = ProcessesOptions {
        own_binary: PathBuf::from(env!("CARGO_BIN_EXE_gear-supervisor")),
        ledger: Some(ledger.to_owned()),
        file_limit: None,
        cgroup: None,
    };
    Processes::open(options, &TaskTracker::new(), CancellationToken::new()).unwrap()
}

/// Plays the daemon that is killed; does nothing when it is run as a test.
#[test]
fn first_daemon() {
    let Some(ledger) = std::env::var_os(LEDGER) else { return };
    run(async {
        let processes = open(Path::new(&ledger));
        let name = "left:1".parse().unwrap();
        let mut launch = sh("trap '' TERM; sleep 1000 & echo up; exec sleep 1000");
        launch.env.insert("GEAR_WORKER".into(), "left:1".into());
        let child = processes.spawn(IDS.next(), &name, &launch).unwrap();
        read(child.stdout.try_clone().unwrap(), |text| text.contains("up"));
        println!("worker={}.", child.pid);
        std::future::pending::<()>().await;
    });
}

/// Plays the daemon after it; does nothing when it is run as a test.
#[test]
fn next_daemon() {
    let Some(ledger) = std::env::var_os(LEDGER) else { return };
    run(async {
        let ended = open(Path::new(&ledger)).end_leftovers().await;
        let workers: Vec<&str> = ended.iter().map(|left| left.worker.as_str()).collect();
        println!("ended={workers:?}.");
    });
}

/// Runs a copy of this program that plays a daemon, behind a shell that prints its process id and
/// leaves it; returns what it prints up to the key, the process id, and the key's value.
fn play(daemon: &str, ledger: &Path, key: &str) -> (i32, String) {
    let program = std::env::current_exe().unwrap();
    let script =
        format!("{} --exact ledger::{daemon} --nocapture & echo pid=$!.", program.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env(LEDGER, ledger).stdout(Stdio::piped());
    let stdout = shell.spawn().unwrap().stdout.unwrap();
    let value = |text: &str, key: &str| {
        let (_, rest) = text.split_once(key)?;
        Some(rest.strip_prefix('=')?.split_once('.')?.0.to_owned())
    };
    let whole = |text: &str| value(text, "pid").is_some() && value(text, key).is_some();
    // A copy that goes on is killed; one that ends may write to its end.
    let goes_on = daemon == "first_daemon";
    let text = read(stdout.into(), |text| goes_on && whole(text));
    (value(&text, "pid").unwrap().parse().unwrap(), value(&text, key).unwrap())
}

#[test]
fn the_next_daemon_ends_what_a_killed_one_left_and_nothing_else() {
    // Opened first: what the shells leave behind comes to its reaper.
    let ours = processes();
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("workers");
    run(async {
        let (daemon, worker) = play("first_daemon", &ledger, "worker");
        let worker: i32 = worker.parse().unwrap();
        kill(Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
        until_gone(daemon).await;
        assert!(exists(worker), "the worker outlived its daemon");
        // The number of a process that ended is another's by now.
        let (other, child) = start(&command(&["sleep", "1000"])).unwrap();
        let text = std::fs::read_to_string(&ledger).unwrap();
        std::fs::write(&ledger, format!("{text}+ {} 1 left:2\n", child.pid)).unwrap();

        let (_, ended) = play("next_daemon", &ledger, "ended");
        assert_eq!(ended, r#"["left:1", "left:1"]"#, "the leader and its child");
        until_gone(worker).await;
        assert!(exists(child.pid));
        assert_eq!(std::fs::read_to_string(&ledger).unwrap().lines().count(), 1);
        assert!(ours.kill_group(other));
        child.end.wait().await;
    });
}
