//! Real control groups, where this host has them and lets us make one: as systemd would delegate it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gear_supervisor::host::{ControlGroup, LEAF};

use crate::rig::{Daemon, PROGRAM, command_of, kill, lives, until};
use crate::upkeep::plain;

/// A control group for a daemon; removed when the daemon has ended.
struct Group(PathBuf);

impl Group {
    /// One below our own, with the controllers that a test needs; says why there is none.
    fn make(name: &str, controllers: &[&str]) -> Option<Self> {
        let made = ControlGroup::of_process().map_err(|error| error.to_string()).and_then(|own| {
            let folder = own.folder.join(format!("gear-test-{name}-{}", std::process::id()));
            fs::create_dir(&folder).map_err(|error| error.to_string())?;
            let group = Self(folder);
            let known = fs::read_to_string(group.0.join("cgroup.controllers")).unwrap();
            match controllers
                .iter()
                .find(|name| !known.split(' ').any(|known| known.trim() == **name))
            {
                Some(missing) => Err(format!("its groups have no controller {missing}")),
                None => Ok(group),
            }
        });
        made.inspect_err(|why| println!("skipped: no control group for a daemon here: {why}")).ok()
    }

    /// The groups of workers in it.
    fn workers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir() && !path.ends_with(LEAF)).collect()
    }

    /// The command of a daemon that begins in it.
    fn command(&self, folder: &Path) -> Command {
        let inner = command_of(Path::new(PROGRAM), folder);
        let log =
            || fs::File::options().create(true).append(true).open(folder.join("out")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0);
        command.arg(inner.get_program()).args(inner.get_args());
        command.stdin(std::process::Stdio::null()).stdout(log()).stderr(log());
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let remove = |path: &Path| {
            if let Err(error) = fs::remove_dir(path)
                && path.exists()
            {
                println!("{} stays: {error}", path.display());
            }
        };
        remove(&self.0.join(LEAF));
        remove(&self.0);
    }
}

/// Leaves behind what knows nothing of its origin, and ignores TERM.
const HIDES: &str = r#"
setsid env -i /bin/sh -c "trap '' TERM HUP; echo \$\$ > $0.pid; exec /bin/sleep 1000" &
exec sleep 1000
"#;

#[test]
fn nothing_of_a_worker_outlives_it_where_it_has_a_control_group() {
    let Some(group) = Group::make("all", &[]) else { return };
    let pool = |name: &str, keys: &str| plain(name, &HIDES.replace("$0", name), keys);
    let pools = pool("own", "cgroup = {}") + &pool("none", "");
    let daemon =
        Daemon::started(tempfile::tempdir().unwrap(), &pools, |folder| group.command(folder));
    let pid = |name: &str| -> Option<i64> {
        let text = fs::read_to_string(daemon.folder.path().join(format!("{name}.pid"))).ok()?;
        text.trim().parse().ok()
    };
    until("both have left something", || pid("own").is_some() && pid("none").is_some());
    let (own, none) = (pid("own").unwrap(), pid("none").unwrap());
    let groups = group.workers();
    assert_eq!(groups.len(), 1, "{groups:?}");
    let name = groups[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("own:1@"), "{name}");
    let inside = fs::read_to_string(groups[0].join("cgroup.procs")).unwrap();
    assert!(inside.lines().any(|line| line == own.to_string()), "{inside}");

    daemon.says(&["stop", "all"]);
    until("it has gone with its worker", || !lives(own));
    until("its group is removed", || group.workers().is_empty());
    assert!(lives(none), "nobody knows whose it was");
    kill("-KILL", none);
    drop(daemon);
}

#[test]
fn a_worker_above_its_memory_is_killed_and_that_is_told() {
    let Some(group) = Group::make("memory", &["memory", "pids", "cpu"]) else { return };
    let keys = "cgroup = { memory = \"32MiB\", pids = 20, cpu = 0.5 }\nrestart = \"never\"";
    // It reads a line that never ends.
    let pools =
        plain("big", "exec tail /dev/zero", keys) + &plain("small", "exec sleep 1000", keys);
    let daemon =
        Daemon::begin_with(tempfile::tempdir().unwrap(), &pools, |folder| group.command(folder));
    until("it is told", || {
        daemon.log().contains("killed by the kernel: out of memory")
            && daemon.state("small:1") == "RUNNING"
    });
    let small = group.workers().pop().unwrap();
    let read = |name: &str| fs::read_to_string(small.join(name)).unwrap().trim().to_owned();
    let limits = [read("memory.max"), read("pids.max"), read("cpu.max")];
    assert_eq!(limits, ["33554432", "20", "50000 100000"]);
    drop(daemon);
}
