//! The daemon as a service manager sees it: word over `NOTIFY_SOCKET`, folders from its variables.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::rig::{DEADLINE, Daemon, PROGRAM, command_of, kill};

const POOL: &str =
    "[pool.env]\nuser = \"${USER}\"\nprotocol = \"exec\"\ncommand = \"env\"\ncount = 1\n";

/// The service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    /// The next word, as lines.
    fn hear(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let len = self.0.recv(&mut bytes).expect("the daemon says nothing");
        String::from_utf8_lossy(&bytes[..len]).lines().map(str::to_owned).collect()
    }

    /// The next word that is more than a sign of life.
    fn hear_news(&self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let heard = self.hear();
            if heard != ["WATCHDOG=1"] {
                return heard;
            }
            assert!(begun.elapsed() < DEADLINE, "the daemon only says that it lives");
        }
    }

    /// A reload from its beginning to its end: the status that it ends with.
    fn hear_reload(&self) -> String {
        let begun = self.hear_news();
        let [reloading, moment] = &begun[..] else { panic!("{begun:?}") };
        assert_eq!(reloading, "RELOADING=1");
        let moment: u64 = moment.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let now = Duration::from_secs_f64(seconds + 0.01);
        let moment = Duration::from_micros(moment);
        assert!(moment > Duration::ZERO && moment <= now, "{moment:?} is after {now:?}");
        status_of(&self.hear_news())
    }
}

/// The status that comes with READY.
fn status_of(heard: &[String]) -> String {
    let [ready, status] = heard else { panic!("{heard:?}") };
    assert_eq!(ready, "READY=1");
    status.strip_prefix("STATUS=").unwrap().to_owned()
}

#[test]
fn a_service_manager_hears_of_start_life_reloads_and_end() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notify");
    let manager = Manager::bind(&path);
    let mut daemon = Daemon::started(tempfile::tempdir().unwrap(), POOL, |folder| {
        let mut command = command_of(Path::new(PROGRAM), folder);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
        command
    });
    assert_eq!(status_of(&manager.hear_news()), "serving 1 pool");
    for _ in 0..3 {
        assert_eq!(manager.hear(), ["WATCHDOG=1"]);
    }
    let env = daemon.says(&["submit", "env", ""]);
    assert!(!env.contains("NOTIFY_SOCKET") && !env.contains("WATCHDOG"), "{env}");

    daemon.edit("count = 1", "count = 2");
    assert_eq!(manager.hear_reload(), "serving 1 pool");
    // `systemctl reload` waits for an answer, whatever the file is like.
    daemon.signal("-HUP");
    assert_eq!(manager.hear_reload(), "serving 1 pool");
    daemon.edit("count = 2", "cuont = 2");
    let status = manager.hear_reload();
    assert!(status.starts_with("the file was not applied; still running the file of"), "{status}");

    daemon.signal("-TERM");
    let heard = manager.hear_news();
    let grace_and_margin = "EXTEND_TIMEOUT_USEC=70000000";
    assert_eq!(heard, ["STOPPING=1", grace_and_margin, "STATUS=stopping"]);
    assert!(daemon.child.wait().unwrap().success());
}

#[test]
fn the_folders_of_a_service_manager_are_used_and_its_commands_find_the_socket() {
    let place = tempfile::tempdir().unwrap();
    let folder = |name: &str| place.path().join(name);
    for name in ["state", "run", "log"] {
        std::fs::create_dir(folder(name)).unwrap();
    }
    let file = folder("one.toml");
    std::fs::write(&file, format!("broker.listen = [\"127.0.0.1:0\"]\n{POOL}")).unwrap();
    let with_folders = || {
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&file);
        command.env("STATE_DIRECTORY", folder("state")).env("RUNTIME_DIRECTORY", folder("run"));
        command.env("LOGS_DIRECTORY", folder("log"));
        command
    };
    let mut daemon = with_folders().spawn().unwrap();
    let mut wait = with_folders();
    let waited = wait.args(["wait", "all", "--timeout", "60s"]).output().unwrap();
    kill("-TERM", daemon.id().into());
    assert!(daemon.wait().unwrap().success());
    assert!(waited.status.success(), "{waited:?}");
    assert!(folder("state/one").is_dir() && folder("log/one/env.log").is_file());
}
