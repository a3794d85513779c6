//! Imported files start the processes that their own program starts.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::php::{has_php_gearman, performers};
use crate::rig::{Daemon, PROGRAM, command_of, until};

const SUPERVISORD: &str = r#"[supervisord]
logfile=%(here)s/supervisord.log ; not ours
pidfile=%(here)s/supervisord.pid
childlogdir=%(here)s
nodaemon=true
umask=027
environment=APP="prod, really",QUEUE=fast

[include]
files=conf.d/*.conf

[program:gearmand]
command=%(here)s/gearmand 86400

[program:image]
command=sleep 86401 ; a comment
process_name=%(program_name)s_%(process_num)02d
numprocs=3
directory=%(here)s/app
umask=002
environment=LEVEL="%(program_name)s $5 ${x}",
    QUEUE="%(ENV_QUEUE)s 100%%"
stdout_logfile=%(here)s/%(program_name)s_%(process_num)02d.log

[program:odd]
command=/bin/sh %(here)s/run.sh "a|b" 'c  d' $HOME 100%%
stopasgroup=true
autorestart=false
startsecs=0
"#;

const INCLUDED: &str = "[program:split]
command=sleep 864%(process_num)02d
process_name=%(program_name)s-%(process_num)d
numprocs=2
numprocs_start=8
environment=NUMBER=\"%(process_num)d of %(numprocs)d, %(group_name)s\"

[program:later]
command=sleep 86499
autostart=false

[group:numbers]
programs=split,later
";

/// Processes of the file: all but gearmand and `later`.
const PROCESSES: usize = 6;

const MANAGER: &str = "[GearmanManager]
worker_dir=./workers
count=2
dedicated_count=1
[reverse_string]
count=3
[Sum]
dedicated_count=2
dedicated_only=1
[fetch_url]
count=4
";

/// What either supervisor says of itself, and what ours says of a user.
const OURS: [&str; 8] =
    ["SUPERVISOR_", "GEAR_", "GEARMAN_", "HOME=", "USER=", "LOGNAME=", "SHELL=", "NOTIFY_SOCKET="];

/// What can be told of a process from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub command: Vec<String>,
    directory: String,
    umask: String,
    ids: Vec<String>,
    env: Vec<String>,
}

/// `None`: it has gone, or is not the program yet.
pub(crate) fn seen(pid: i64) -> Option<Seen> {
    let proc = Path::new("/proc").join(pid.to_string());
    let words = |name: &str| -> Option<Vec<String>> {
        let text = String::from_utf8(fs::read(proc.join(name)).ok()?).ok()?;
        // A program that renamed itself leaves NULs behind.
        Some(text.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
    };
    let command = words("cmdline").filter(|words| !words[0].is_empty())?;
    let is_between = |word: &String| word.contains("supervisor");
    if command.iter().take(2).any(is_between) {
        return None;
    }
    let status = fs::read_to_string(proc.join("status")).ok()?;
    let umask = status.lines().find(|line| line.starts_with("Umask:"))?.to_owned();
    let is_id = |line: &&str| ["Uid:", "Gid:", "Groups:"].iter().any(|id| line.starts_with(id));
    let ids = status.lines().filter(is_id).map(|line| line.trim().to_owned()).collect();
    let mut env = words("environ")?;
    env.retain(|variable| !OURS.iter().any(|name| variable.starts_with(name)));
    env.sort();
    let directory = fs::read_link(proc.join("cwd")).ok()?.display().to_string();
    Some(Seen { command, directory, umask, ids, env })
}

/// Children of a process, but not its gearmand.
pub(crate) fn children(parent: u32) -> Vec<Seen> {
    let is_child = |pid: &i64| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        after.split(' ').nth(1) == Some(&parent.to_string())
    };
    let pids = fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut found: Vec<_> = pids.filter(is_child).filter_map(seen).collect();
    found.retain(|process| !process.command[0].ends_with("/gearmand"));
    found.sort();
    found
}

/// supervisord itself; it ends its programs when it ends.
pub(crate) struct Theirs(pub(crate) Child);

impl Drop for Theirs {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.0.wait().unwrap();
    }
}

fn folder_of_supervisord() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["app", "conf.d"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("supervisord.conf"), SUPERVISORD).unwrap();
    fs::write(at("conf.d/split.conf"), INCLUDED).unwrap();
    fs::write(at("run.sh"), "sleep 86402 & wait\n").unwrap();
    symlink("/bin/sleep", at("gearmand")).unwrap();
    folder
}

/// A daemon with an imported file, at places of the test's own.
pub(crate) fn imported(folder: TempDir, file: &str) -> Daemon {
    let (source, target) = (folder.path().join(file), folder.path().join("workers.toml"));
    let mut import = Command::new(PROGRAM);
    import.arg("import").arg(source).arg("-o").arg(&target);
    let said = import.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let check = Command::new(PROGRAM).arg("check").arg(&target).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    let mut file: toml::Table = fs::read_to_string(&target).unwrap().parse().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = folder.path().display();
    let places = [("state_dir", "state"), ("log_dir", "log"), ("socket", "s.sock")];
    for (key, name) in places {
        set(&mut file, "supervisor", key, format!("{path}/{name}").into());
    }
    set(&mut file, "broker", "listen", format!("127.0.0.1:{port}").into());
    fs::write(&target, file.to_string()).unwrap();
    let child = command_of(Path::new(PROGRAM), folder.path()).spawn().unwrap();
    Daemon { child, folder, port }
}

fn set(file: &mut toml::Table, table: &str, key: &str, value: toml::Value) {
    let table = file.entry(table).or_insert_with(|| toml::Table::new().into());
    table.as_table_mut().unwrap().insert(key.to_owned(), value);
}

#[test]
fn a_file_of_supervisord_starts_the_processes_that_supervisord_starts() {
    let folder = folder_of_supervisord();
    let mut supervisord = Command::new("supervisord");
    supervisord.arg("-n").arg("-c").arg(folder.path().join("supervisord.conf"));
    // As it would be from a unit: what is relative begins beside the file.
    supervisord.current_dir(folder.path());
    let Ok(child) = supervisord.stdin(Stdio::null()).stdout(Stdio::null()).spawn() else {
        eprintln!("skipped: supervisord is not installed (supervisor)");
        return;
    };
    let theirs = Theirs(child);
    until("supervisord has started all", || children(theirs.0.id()).len() == PROCESSES);
    let expected = children(theirs.0.id());
    drop(theirs);

    let daemon = imported(folder, "supervisord.conf");
    let running = || {
        let pools = ["image", "odd", "split-8", "split-9", "later", "gearmand"];
        let pids = pools.iter().flat_map(|pool| daemon.running(pool));
        let mut found: Vec<_> = pids.filter_map(|(_, pid)| seen(pid)).collect();
        found.sort();
        found
    };
    until("ours has started all", || running().len() == PROCESSES);
    assert_eq!(running(), expected);
}

#[test]
fn a_file_of_gearman_manager_starts_as_many_workers_of_each_function() {
    if !has_php_gearman() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("workers")).unwrap();
    for function in ["reverse_string", "Sum", "fetch_url"] {
        let text = format!("<?php function {function}($job, &$log) {{ return '{function}'; }}");
        fs::write(folder.path().join(format!("workers/{function}.php")), text).unwrap();
    }
    fs::write(folder.path().join("gm.ini"), MANAGER).unwrap();
    let daemon = imported(folder, "gm.ini");
    daemon.until_up();
    for (function, count) in [("reverse_string", 3), ("Sum", 2), ("fetch_url", 4)] {
        until("its workers serve", || performers(&daemon, function) == count);
        assert_eq!(daemon.says(&["submit", function, "x", "--timeout", "30s"]).trim(), function);
    }
    let serves = |pool: &str| {
        let pids = daemon.running(pool).into_iter();
        let titles = pids.map(|(_, pid)| seen(pid).unwrap().command.join(" "));
        titles.collect::<Vec<_>>()
    };
    assert_eq!(serves("do-all"), ["gearman-manager fetch_url,reverse_string"; 2]);
    assert_eq!(serves("Sum"), ["gearman-manager Sum"; 2]);
    assert_eq!(serves("fetch_url"), ["gearman-manager fetch_url"; 2]);
}

#[test]
fn import_leaves_a_file_that_exists_and_tells_what_check_would() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("s.conf");
    fs::write(&conf, "[program:a]\ncommand=sleep 1\nuser=nobody-has-this-name\n").unwrap();
    let output = folder.path().join("workers.toml");
    let run = || {
        let mut import = Command::new(PROGRAM);
        import.arg("import").arg(&conf).arg("-o").arg(&output).output().unwrap()
    };
    let first = run();
    let told = String::from_utf8(first.stderr).unwrap();
    assert_eq!(first.status.code(), Some(78), "{told}");
    assert!(told.contains("nobody-has-this-name") && told.contains("1 pool with 1 worker"));
    assert!(fs::read_to_string(&output).unwrap().contains("[pool.a]"));
    fs::write(&output, "mine").unwrap();
    let second = run();
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.code() == Some(1) && told.contains("remove it"), "{told}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine");
}
