//! What a worker is granted and denied, as it sees it itself.

use std::collections::BTreeSet;
use std::path::PathBuf;

use gear_supervisor::config::{CgroupLimits, IoPriority, Limits, Rlimit, RlimitKind};
use gear_supervisor::model::{Exit, WorkerId};
use gear_supervisor::pool::process::{Child, Ended, Launch, mark};
use ioprio::{BePriorityLevel, Class, Target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{CGROUPS, IDS, nobody, processes, read_all, read_line, run, sh, start};

/// What a script says that runs under these limits.
fn says(limits: Limits, script: &str) -> String {
    output(&Launch { limits, ..sh(script) })
}

fn output(launch: &Launch) -> String {
    run(async {
        let (_, child) = start(launch).unwrap();
        let text = read_all(child.stdout);
        let errors = read_all(child.stderr);
        let ended = child.end.wait().await;
        assert!(matches!(ended, Ended::Exited(exit) if exit.is_success()), "{ended:?} {errors}");
        text
    })
}

#[test]
fn it_is_as_nice_as_asked() {
    let own = says(Limits::default(), "nice");
    let own: i32 = own.trim().parse().unwrap();
    let asked = (own + 3).min(19);
    assert_eq!(
        says(Limits { nice: Some(asked), ..Limits::default() }, "nice"),
        format!("{asked}\n")
    );
}

#[test]
fn its_disks_serve_it_as_asked() {
    for (asked, class) in [
        (IoPriority::Idle, Class::Idle),
        (IoPriority::BestEffort(6), Class::BestEffort(BePriorityLevel::from_level(6).unwrap())),
    ] {
        run(async {
            let limits = Limits { io_priority: Some(asked), ..Limits::default() };
            let launch = Launch { limits, ..sh("echo; exec sleep 1000") };
            let (worker, child) = start(&launch).unwrap();
            assert_eq!(read_line(&child.stdout), "");
            let process = Target::Process(ioprio::Pid::from_raw(child.pid));
            let seen = ioprio::get_priority(process).unwrap().class();
            assert_eq!(seen, Some(class), "{asked}");
            assert!(processes().kill_group(worker));
            child.end.wait().await;
        });
    }
}

#[test]
fn the_kernel_kills_it_as_gladly_as_asked() {
    let limits = Limits { oom_score_adj: Some(711), ..Limits::default() };
    assert_eq!(says(limits, "cat /proc/self/oom_score_adj"), "711\n");
}

#[test]
fn it_has_the_limits_asked_for_and_its_children_too() {
    let both = |soft, hard| Rlimit { soft, hard };
    let rlimits = [
        (RlimitKind::Nofile, both(64, 128)),
        (RlimitKind::Core, both(0, 0)),
        (RlimitKind::Stack, both(4 << 20, 8 << 20)),
    ];
    let limits = Limits { rlimits: rlimits.into(), ..Limits::default() };
    let text = says(limits, "sh -c 'cat /proc/self/limits'");
    for (name, soft, hard) in [
        ("Max open files", "64", "128"),
        ("Max core file size", "0", "0"),
        ("Max stack size", "4194304", "8388608"),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let words: Vec<_> = line.split_ascii_whitespace().take(2).collect();
        assert_eq!(words, [soft, hard], "{name}");
    }
}

#[test]
fn it_can_gain_no_rights_if_so_asked() {
    let script = "grep NoNewPrivs /proc/self/status";
    assert_eq!(says(Limits::default(), script), "NoNewPrivs:\t0\n");
    let limits = Limits { no_new_privileges: true, ..Limits::default() };
    assert_eq!(says(limits, script), "NoNewPrivs:\t1\n");
}

#[test]
fn it_runs_on_the_processors_asked_for() {
    let script = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    let own = says(Limits::default(), script);
    let first = own.trim().split(['-', ',']).next().unwrap();
    let cpus = Some(BTreeSet::from([first.parse().unwrap()]));
    assert_eq!(says(Limits { cpus, ..Limits::default() }, script), format!("{first}\n"));
}

#[test]
fn another_user_has_what_only_root_could_grant() {
    let Some(account) = nobody() else {
        return eprintln!("skipped: only root can become another user");
    };
    let rlimits = [(RlimitKind::Nproc, Rlimit { soft: 50_000, hard: 50_000 })].into();
    let limits = Limits { nice: Some(-5), no_new_privileges: true, rlimits, ..Limits::default() };
    let script = "id -u; nice; ulimit -Hu 2>/dev/null || grep processes /proc/self/limits; \
                  grep NoNewPrivs /proc/self/status";
    let uid = account.uid;
    let text = output(&Launch { account: Some(account), limits, ..sh(script) });
    assert!(text.starts_with(&format!("{uid}\n-5\n")), "{text}");
    assert!(text.contains("50000") && text.ends_with("NoNewPrivs:\t1\n"), "{text}");
}

#[test]
fn what_is_refused_is_named_with_its_reason_and_a_remedy() {
    let above = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap();
    let above = above.trim().parse::<u64>().unwrap() + 1;
    let limit = Rlimit { soft: 10, hard: above };
    let cpus = Some(BTreeSet::from([1023]));
    for (limits, expected) in [
        (
            Limits { rlimits: [(RlimitKind::Nofile, limit)].into(), ..Limits::default() },
            format!(
                "cannot start 'sh': rlimit.nofile = 10:{above} is refused: Operation not permitted \
                 (os error 1); write no more than the daemon has itself, or give it \
                 CAP_SYS_RESOURCE"
            ),
        ),
        (
            Limits { cpus, ..Limits::default() },
            "cannot start 'sh': cpu_affinity = 1023 is refused: Invalid argument (os error 22); \
             leave the key out, or have the control group of the daemon grant them"
                .to_owned(),
        ),
    ] {
        run(async {
            let (_, child) = start(&Launch { limits, ..sh("true") }).unwrap();
            assert_eq!(child.end.wait().await, Ended::NotStarted(expected));
        });
    }
}

/// A process with a control group below the one that stands for the daemon's, and its folder.
fn grouped(mut launch: Launch, cgroup: CgroupLimits) -> (WorkerId, Child, PathBuf) {
    let worker = IDS.next();
    launch.limits.cgroup = Some(cgroup);
    let name = "test:1".parse().unwrap();
    let child = processes().spawn(worker, &name, &launch).unwrap();
    (worker, child, CGROUPS.path().join(format!("test:1@{}", mark(worker))))
}

#[test]
fn its_control_group_has_its_limits_and_ends_with_it() {
    run(async {
        let limits =
            CgroupLimits { memory: Some(64 << 20), pids: Some(20), ..CgroupLimits::default() };
        let (_, child, folder) = grouped(sh("echo; exec sleep 1000"), limits);
        assert_eq!(read_line(&child.stdout), "");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("cgroup.procs"), child.pid.to_string(), "it has entered it");
        assert_eq!((read("memory.max").as_str(), read("pids.max").as_str()), ("67108864", "20"));
        assert!(!folder.join("cpu.max").exists() && !folder.join("cgroup.kill").exists());
        // As the kernel does it.
        std::fs::write(folder.join("memory.events"), "low 0\nmax 3\noom 1\noom_kill 1\n").unwrap();
        kill(Pid::from_raw(child.pid), Signal::SIGKILL).unwrap();
        assert_eq!(child.end.wait().await, Ended::Exited(Exit::OutOfMemory));
        assert_eq!(read("cgroup.kill"), "1", "whatever it has left goes too");
    });
}

#[test]
fn a_kill_that_was_not_for_memory_is_told_as_that() {
    run(async {
        let (worker, child, folder) = grouped(sh("exec sleep 1000"), CgroupLimits::default());
        std::fs::write(folder.join("memory.events"), "oom 0\noom_kill 0\n").unwrap();
        assert!(processes().kill_group(worker));
        let exit = Exit::Signal { signal: Signal::SIGKILL, core: false };
        assert_eq!(child.end.wait().await, Ended::Exited(exit));
    });
}

#[test]
fn a_group_that_cannot_be_entered_is_told() {
    run(async {
        let cgroup = Some(CgroupLimits::default());
        let launch = Launch { limits: Limits { cgroup, ..Limits::default() }, ..sh("true") };
        let worker = IDS.next();
        let group = CGROUPS.path().join(format!("test:1@{}", mark(worker)));
        std::fs::create_dir(&group).unwrap();
        let name = "test:1".parse().unwrap();
        let error = processes().spawn(worker, &name, &launch).unwrap_err().to_string();
        assert!(error.starts_with("cannot start 'sh': cgroup is refused: File exists"), "{error}");
    });
}
