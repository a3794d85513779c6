//! What the tests share: the one table of processes, launches, and waiting under a deadline.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use gear_supervisor::config::{Account, Limits, Strays};
use gear_supervisor::model::{WorkerId, WorkerName};
use gear_supervisor::pool::WorkerIds;
use gear_supervisor::pool::process::{Child, Launch, Processes, ProcessesOptions, StartError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::kill;
use nix::unistd::{Pid, User};
use rustix::process::PidfdFlags;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Nothing here takes that long unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) static IDS: LazyLock<WorkerIds> = LazyLock::new(WorkerIds::default);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Stands for the control group of the daemon.
pub(crate) static CGROUPS: LazyLock<TempDir> = LazyLock::new(|| {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("cgroup.subtree_control"), "cpu memory pids").unwrap();
    root
});

/// Runs a test on the shared runtime, under the deadline.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("in time") })
}

/// The one table of processes.
pub(crate) fn processes() -> Processes {
    static PROCESSES: OnceLock<Processes> = OnceLock::new();
    let open = || {
        let _guard = RUNTIME.enter();
        let options = ProcessesOptions {
            own_binary: PathBuf::from(env!("CARGO_BIN_EXE_gear-supervisor")),
            ledger: None,
            file_limit: None,
            cgroup: Some(CGROUPS.path().to_owned()),
        };
        Processes::open(options, &TaskTracker::new(), CancellationToken::new()).unwrap()
    };
    PROCESSES.get_or_init(open).clone()
}

pub(crate) fn sh(script: &str) -> Launch {
    command(&["sh", "-c", script])
}

pub(crate) fn command(argv: &[&str]) -> Launch {
    let env = [("PATH", "/usr/bin:/bin"), ("GEAR_WORKER", "test:1")];
    Launch {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect::<BTreeMap<_, _>>(),
        directory: PathBuf::from("/"),
        account: None,
        umask: None,
        limits: Limits::default(),
        strays: Strays::Kill,
    }
}

/// Starts a process under a new id.
pub(crate) fn start(launch: &Launch) -> Result<(WorkerId, Child), StartError> {
    let name: WorkerName = "test:1".parse().unwrap();
    let worker = IDS.next();
    Ok((worker, processes().spawn(worker, &name, launch)?))
}

/// Everything that the pipe brings until all its writers are gone.
pub(crate) fn read_all(pipe: OwnedFd) -> String {
    read(pipe, |_| false)
}

/// The first line that the pipe brings.
pub(crate) fn read_line(pipe: &OwnedFd) -> String {
    read(pipe.try_clone().unwrap(), |text| text.contains('\n')).trim_end().to_owned()
}

/// What the pipe brings until that is enough or all its writers are gone.
pub(crate) fn read(pipe: OwnedFd, enough: impl Fn(&str) -> bool) -> String {
    let mut file = File::from(pipe);
    let mut text = String::new();
    while !enough(&text) {
        assert!(until_readable(&file), "no more output after {text:?}");
        let mut bytes = [0; 4096];
        match file.read(&mut bytes).unwrap() {
            0 => break,
            count => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
        }
    }
    text
}

fn until_readable(fd: &impl AsFd) -> bool {
    let until = Instant::now() + DEADLINE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap();
        match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            ready => return ready.unwrap() > 0,
        }
    }
}

/// True while the process exists, dead or not.
pub(crate) fn exists(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Waits until the process has ended. Another process may be its parent, so it is no child that
/// could be waited for.
pub(crate) async fn until_gone(pid: i32) {
    let raw = rustix::process::Pid::from_raw(pid).unwrap();
    let Ok(pidfd) = rustix::process::pidfd_open(raw, PidfdFlags::empty()) else { return };
    let ended = tokio::task::spawn_blocking(move || until_readable(&pidfd));
    assert!(ended.await.unwrap(), "process {pid} goes on");
}

/// Waits until the process has no zombie either.
pub(crate) async fn until_reaped(pid: i32) {
    until_gone(pid).await;
    while exists(pid) {
        tokio::task::yield_now().await;
    }
}

/// Our children that are dead and not reaped.
pub(crate) fn zombies() -> Vec<i32> {
    let own = std::process::id().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
        (fields.next()? == "Z" && fields.next()? == own).then_some(pid)
    });
    stats.collect()
}

/// An unprivileged account, when we may become it.
pub(crate) fn nobody() -> Option<Account> {
    let nobody = User::from_name("nobody").unwrap()?;
    nix::unistd::geteuid().is_root().then(|| Account {
        uid: nobody.uid.as_raw(),
        gid: nobody.gid.as_raw(),
        groups: vec![nobody.gid.as_raw()],
    })
}
