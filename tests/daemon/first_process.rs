//! The daemon as PID 1, as it is in a container.

use std::fs;
use std::process::{Command, Stdio};

use crate::rig::{Daemon, kill, until};

/// A worker that leaves an orphan of a session of its own, which ends a moment later.
const ORPHANS: &str = r#"
[pool.parent]
user = "${USER}"
protocol = "none"
command = ["sh", "-c", '''
setsid sh -c "sleep 0.2; echo over > orphan" &
exec sleep 1000
''']
"#;

#[test]
fn as_the_first_process_it_reaps_orphans_stops_by_term_and_tells_of_docker() {
    if !may_unshare() {
        return;
    }
    let mut daemon = Daemon::started(tempfile::tempdir().unwrap(), ORPHANS, inside);
    let first = child_of(daemon.child.id().into()).unwrap();
    assert_eq!(daemon.status()["pid"], 1, "{}", daemon.log());

    let folder = daemon.folder.path().to_owned();
    let orphan = folder.join("orphan");
    until("the orphan ends", || orphan.exists());
    until("nothing is left unreaped", || zombies_of(first) == 0);

    let log = daemon.log();
    for part in ["running as PID 1", "`docker stop` kills after 10 s", "shutdown_grace is 1m"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    kill("-TERM", first);
    assert!(daemon.child.wait().unwrap().success());
    assert!(daemon.log().contains("INFO stopped\n"), "{}", daemon.log());
}

/// The command of a daemon in a process namespace of its own.
fn inside(folder: &std::path::Path) -> Command {
    let log = fs::File::create(folder.join("out")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", crate::rig::PROGRAM, "-c"]);
    command.arg(folder.join("workers.toml")).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

fn may_unshare() -> bool {
    let mut probe = Command::new("unshare");
    let probe = probe.args(["--pid", "--fork", "--mount-proc", "true"]).output();
    let may = probe.as_ref().is_ok_and(|output| output.status.success());
    if !may {
        println!("skipped: no new process namespace here: {probe:?}");
    }
    may
}

fn child_of(parent: i64) -> Option<i64> {
    processes().into_iter().find(|process| process.parent == parent).map(|process| process.pid)
}

fn zombies_of(parent: i64) -> usize {
    let is_left = |process: &Process| process.parent == parent && process.state == 'Z';
    processes().iter().filter(|process| is_left(process)).count()
}

struct Process {
    pid: i64,
    parent: i64,
    state: char,
}

fn processes() -> Vec<Process> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i64>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        Some(Process { pid, state, parent: fields.next()?.parse().ok()? })
    })
    .collect()
}
