//! A daemon of one test: its files, its command line, and what is waited for.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_gear-supervisor");
/// Nothing that is waited for takes longer on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A daemon with files of its own; killed when the test is over.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

impl Daemon {
    /// Starts a daemon with the pools of the README's file.
    pub(crate) fn start() -> Self {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/workers.toml");
        Self::with_pools(&fs::read_to_string(sample).unwrap())
    }

    pub(crate) fn with_pools(pools: &str) -> Self {
        Self::with_pools_in(tempfile::tempdir().unwrap(), pools)
    }

    /// A daemon beside files that its workers use.
    pub(crate) fn with_pools_in(folder: TempDir, pools: &str) -> Self {
        Self::started(folder, pools, |folder| command_of(Path::new(PROGRAM), folder))
    }

    /// A daemon whose workers need not be ready.
    pub(crate) fn begin(pools: &str) -> Self {
        Self::begin_in(tempfile::tempdir().unwrap(), pools)
    }

    /// The same, beside files that they use.
    pub(crate) fn begin_in(folder: TempDir, pools: &str) -> Self {
        Self::begin_with(folder, pools, |folder| command_of(Path::new(PROGRAM), folder))
    }

    /// A daemon that is started in a way of its own.
    pub(crate) fn started(
        folder: TempDir,
        pools: &str,
        command: impl FnOnce(&Path) -> Command,
    ) -> Self {
        let daemon = Self::begin_with(folder, pools, command);
        daemon.until_up();
        daemon
    }

    pub(crate) fn begin_with(
        folder: TempDir,
        pools: &str,
        command: impl FnOnce(&Path) -> Command,
    ) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = folder.path().display();
        let head = format!(
            "[supervisor]\nstate_dir = \"{path}/state\"\nlog_dir = \"{path}/log\"\n\
             socket = \"{path}/s.sock\"\n[broker]\nlisten = [\"127.0.0.1:{port}\"]\n"
        );
        fs::write(folder.path().join("workers.toml"), format!("{head}{pools}")).unwrap();
        let child = command(folder.path()).spawn().unwrap();
        Self { child, folder, port }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("workers.toml")
    }

    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(from), "{from} is not in the file");
        fs::write(self.file(), text.replace(from, to)).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(self.file()).args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command prints that has to succeed.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.ask(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The workers of a pool as `status` shows them.
    fn workers(&self, pool: &str) -> Vec<serde_json::Value> {
        let status = self.status();
        let pools = status["pools"].as_array().cloned().unwrap_or_default();
        let pool = pools.iter().find(|found| found["name"] == pool);
        pool.and_then(|pool| pool["workers"].as_array()).cloned().unwrap_or_default()
    }

    /// The workers of a pool that run: name and pid.
    pub(crate) fn running(&self, pool: &str) -> Vec<(String, i64)> {
        let mut workers = self.workers(pool);
        workers.retain(|worker| worker["state"] == "RUNNING");
        let named = |worker: &serde_json::Value| {
            (worker["name"].to_string(), worker["pid"].as_i64().unwrap())
        };
        workers.iter().map(named).collect()
    }

    /// The state of a worker; empty when there is none.
    pub(crate) fn state(&self, worker: &str) -> String {
        self.worker(worker)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// A worker as `status` shows it.
    pub(crate) fn worker(&self, name: &str) -> serde_json::Value {
        let pool = name.split(':').next().unwrap();
        let mut workers = self.workers(pool);
        workers.retain(|worker| worker["name"] == name && worker["outgoing"] == false);
        workers.pop().unwrap_or_default()
    }

    /// The pids of a pool's workers that have a job in hand.
    pub(crate) fn busy(&self, pool: &str) -> Vec<i64> {
        let mut workers = self.workers(pool);
        workers.retain(|worker| worker["jobs"].as_array().is_some_and(|jobs| !jobs.is_empty()));
        workers.iter().filter_map(|worker| worker["pid"].as_i64()).collect()
    }

    pub(crate) fn until_up(&self) {
        self.says(&["wait", "all", "--timeout", "60s"]);
    }

    /// Waits until so many jobs of one function are in workers' hands; one that waits is in none.
    pub(crate) fn until_in_hand(&self, jobs: u64) {
        until("the jobs run", || {
            let status = self.status();
            let functions = status["broker"]["functions"].as_array().cloned().unwrap_or_default();
            functions.iter().any(|function| function["running"] == jobs)
        });
    }

    /// What the daemon has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.child.id().into());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log:\n{}", self.log());
        }
        // Killed, it would leave its workers behind; the second signal ends their jobs.
        if self.child.try_wait().unwrap().is_none() {
            self.signal("-TERM");
            self.signal("-QUIT");
            self.child.wait().unwrap();
        }
    }
}

pub(crate) fn spawn(folder: &Path) -> Child {
    spawn_program(Path::new(PROGRAM), folder)
}

pub(crate) fn spawn_program(program: &Path, folder: &Path) -> Child {
    command_of(program, folder).spawn().unwrap()
}

/// The command that runs the daemon of a folder, with its log in the file `out`.
pub(crate) fn command_of(program: &Path, folder: &Path) -> Command {
    let log = fs::File::options().create(true).append(true).open(folder.join("out")).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("workers.toml")).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

pub(crate) fn kill(signal: &str, pid: i64) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill {signal} {pid}");
}

/// A zombie whose new parent has not looked yet is dead.
pub(crate) fn lives(pid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn until(what: &str, seen: impl FnMut() -> bool) {
    until_within(DEADLINE, what, seen);
}

pub(crate) fn until_within(deadline: Duration, what: &str, mut seen: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !seen() {
        assert!(begun.elapsed() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
