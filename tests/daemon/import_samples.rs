//! Files of supervisord as people have them start the same processes here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::import::{Seen, Theirs, imported, seen};
use crate::rig::{Daemon, until};

/// Who runs what: the processes of a group, or of a program without one.
type Groups = BTreeMap<String, Vec<Seen>>;

const HEAD: &str = "[unix_http_server]
file=%(here)s/supervisor.sock   ; (the path to the socket file)
chmod=0700

[supervisord]
logfile=%(here)s/supervisord.log
pidfile=%(here)s/supervisord.pid
childlogdir=%(here)s

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(here)s/supervisor.sock

[include]
files = conf.d/*.conf apps/*/super[uv]isor.ini conf.d/../more.conf
";

/// As the manual of a framework for PHP has it.
const LARAVEL: &str = "[program:laravel-worker]
process_name=%(program_name)s_%(process_num)02d
command=/bin/sleep 86410
autostart=true
autorestart=true
stopasgroup=true
killasgroup=true
user=nobody
numprocs=8
redirect_stderr=true
stdout_logfile=%(here)s/worker.log
stopwaitsecs=3600
";

/// Beside an application, with names relative to it.
const SHOP: &str = r#"[program:web]
command=sleep "864%(process_num)02d"
process_name=%(group_name)s-%(program_name)s-%(process_num)s
numprocs=2
numprocs_start=20
directory=%(here)s
environment=SETTINGS="shop.settings",PATH="%(here)s/bin:%(ENV_PATH)s",PORT="80%(process_num)02d"

[program:tasks]
command=%(here)s/run.sh --loglevel=INFO -Q "a, b" --time=50%%
directory=/
umask=077
environment=LANG=C.UTF-8,WHERE='%(here)s'
stopasgroup=true
priority=998
startsecs=0

[program:beat]
command=sleep 86433
autostart=false

[group:shop]
programs=web,tasks,beat
priority=999
"#;

/// One more for each of two, and another number for one that is known.
const MORE: &str = "[program:laravel-worker]
numprocs=3

[program:port]
command=sleep 8645%(process_num)d
process_name=%(process_num)d
numprocs=2
numprocs_start=1
";

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn folder_of(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Somebody else is to run in it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = if is_root() { (*text).to_owned() } else { text.replace("user=nobody\n", "") };
        fs::write(&file, text).unwrap();
        if file.extension().is_some_and(|end| end == "sh") {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    folder
}

/// What supervisord starts; `None` where it is not installed.
fn started_by_supervisord(folder: &Path, count: usize) -> Option<Groups> {
    let mut supervisord = Command::new("supervisord");
    supervisord.arg("-n").arg("-c").arg(folder.join("supervisord.conf")).current_dir(folder);
    let Ok(child) = supervisord.stdin(Stdio::null()).stdout(Stdio::null()).spawn() else {
        eprintln!("skipped: supervisord is not installed (supervisor)");
        return None;
    };
    let theirs = Theirs(child);
    let groups = || {
        grouped(children(theirs.0.id()).into_iter().filter_map(|pid| {
            let environ = fs::read_to_string(format!("/proc/{pid}/environ")).ok()?;
            let mut variables = environ.split('\0');
            let group = variables.find_map(|it| it.strip_prefix("SUPERVISOR_GROUP_NAME="))?;
            Some((group.to_owned(), seen(pid)?))
        }))
    };
    until("supervisord has started all", || have_begun(&groups(), count));
    Some(groups())
}

fn children(parent: u32) -> Vec<i64> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    children.unwrap_or_default().split(' ').filter_map(|pid| pid.parse().ok()).collect()
}

/// What ours starts, by label or, without one, by pool.
fn started_by(daemon: &Daemon) -> Groups {
    let status = daemon.status();
    let pools = status["pools"].as_array().cloned().unwrap_or_default();
    grouped(pools.iter().flat_map(|pool| {
        let name = pool["name"].as_str().unwrap();
        let label = pool["labels"].as_array().and_then(|labels| labels.first()?.as_str());
        let group = label.unwrap_or(name).to_owned();
        let pids = daemon.running(name).into_iter();
        pids.filter_map(move |(_, pid)| Some((group.clone(), seen(pid)?))).collect::<Vec<_>>()
    }))
}

fn grouped(found: impl Iterator<Item = (String, Seen)>) -> Groups {
    let mut groups = Groups::new();
    for (group, process) in found {
        groups.entry(group).or_default().push(process);
    }
    for processes in groups.values_mut() {
        processes.sort();
    }
    groups
}

/// Whether there are so many, and no shell is still to become its program.
fn have_begun(groups: &Groups, count: usize) -> bool {
    let processes = || groups.values().flatten();
    let is_shell = |process: &Seen| process.command.get(1).is_some_and(|option| option == "-c");
    processes().count() == count && !processes().any(is_shell)
}

/// Both start the same `count` processes.
fn check(files: &[(&str, &str)], count: usize) {
    let folder = folder_of(files);
    let Some(expected) = started_by_supervisord(folder.path(), count) else { return };
    let daemon = imported(folder, "supervisord.conf");
    until("ours has started all", || have_begun(&started_by(&daemon), count));
    assert_eq!(started_by(&daemon), expected);
}

#[test]
fn included_files_groups_and_templates_start_the_same_processes() {
    let files = [
        ("supervisord.conf", HEAD),
        ("conf.d/laravel.conf", LARAVEL),
        ("conf.d/laravel.conf.off", "[program:off]\ncommand=sleep 1\n"),
        ("apps/shop/supervisor.ini", SHOP),
        ("apps/shop/run.sh", "#!/bin/sh\nsleep 86430 & wait\n"),
        ("apps/.old/supervisor.ini", "[program:old]\ncommand=sleep 1\n"),
        ("more.conf", MORE),
    ];
    check(&files, 3 + 2 + 1 + 2);
}

#[test]
fn the_sample_that_supervisord_prints_starts_the_same_processes() {
    let Ok(sample) = Command::new("echo_supervisord_conf").output() else {
        eprintln!("skipped: supervisord is not installed (supervisor)");
        return;
    };
    let sample = String::from_utf8(sample.stdout).unwrap();
    // Its programs are examples in comments; they get places of ours, and a program that lives
    // without an input.
    let (head, programs) = sample.split_once("\n;[program:").unwrap();
    let shown = programs.lines().filter_map(|line| {
        let line = line.strip_prefix(';').unwrap_or(line);
        (!line.starts_with([' ', ';']) && !line.starts_with("user=")).then_some(line)
    });
    let shown = shown.collect::<Vec<_>>().join("\n");
    let shown = shown.split("\n[include]").next().unwrap();
    let shown = shown.replace("/bin/cat", "/bin/sleep 86440").replace("/a/path", "%(here)s/out");
    let shown = shown.replace("=progname1,progname2", "=theprogramname");
    let file =
        format!("{head}\n[program:{shown}\n").replace("/tmp/supervisor", "%(here)s/supervisor");
    check(&[("supervisord.conf", &file)], 1);
}
