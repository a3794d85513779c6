//! What a daemon cannot grant is a mistake in the file, where that can be known.

use std::collections::BTreeSet;

use gear_supervisor::config::{
    CgroupLimits, CgroupSight, IoPriority, Powers, RlimitKind, Surroundings,
};

use crate::{dev, lines, pool};

#[test]
fn priorities_and_limits_are_read() {
    let limits = pool(
        "nice = -5\nionice = \"best-effort:6\"\noom_score_adj = \"500\"\ncpu_affinity = \"0-2,7\"\n\
         cgroup = { memory = \"1GiB\", cpu = 1.5, pids = \"100\" }\n\
         no_new_privileges = true\nrlimit = { nofile = \"1024:4096\", core = \"unlimited\" }",
    )
    .program
    .limits;
    assert_eq!(limits.nice, Some(-5));
    assert_eq!(limits.io_priority, Some(IoPriority::BestEffort(6)));
    assert_eq!(limits.oom_score_adj, Some(500));
    assert_eq!(limits.cpus, Some(BTreeSet::from([0, 1, 2, 7])));
    let memory = Some(1 << 30);
    let cgroup = CgroupLimits { memory, cpu_micros: Some(150_000), pids: Some(100) };
    assert_eq!(limits.cgroup, Some(cgroup));
    assert!(limits.no_new_privileges);
    let files = limits.rlimits[&RlimitKind::Nofile];
    assert_eq!((files.soft, files.hard), (1024, 4096));
    assert_eq!(limits.rlimits[&RlimitKind::Core].to_string(), "unlimited");
    assert_eq!(pool("cpu_affinity = [3]").program.limits.cpus, Some(BTreeSet::from([3])));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    check(
        &dev(),
        &[
            ("nice = 20", "3:8: pool.p.nice: 20 is not within -20 and 19; write one that is"),
            (
                "oom_score_adj = -1001",
                "3:17: pool.p.oom_score_adj: -1001 is not within -1000 and 1000; write one that is",
            ),
            (
                "ionice = \"high\"",
                "3:10: pool.p.ionice: 'high' is not a priority of disks; write \"idle\", or as in \"best-effort:4\" with a level from 0 to 7",
            ),
            (
                "rlimit = { nofiles = 1 }",
                "3:12: pool.p.rlimit.nofiles: unknown key; did you mean nofile?",
            ),
            (
                "rlimit = { core = \"big\" }",
                "3:19: pool.p.rlimit.core: 'big' is not a limit of core; write as in \"64MiB\", \"unlimited\", or two of them as in \"SOFT:HARD\"",
            ),
            (
                "rlimit.nofile = \"9:8\"",
                "3:17: pool.p.rlimit.nofile: 9 is above 8; write \"SOFT:HARD\"",
            ),
            (
                "cpu_affinity = \"a\"",
                "3:16: pool.p.cpu_affinity: 'a' is not a list of processors; write as in \"0-3,6\"",
            ),
            (
                "cgroup = { memory = \"1MiB\" }",
                "3:21: pool.p.cgroup.memory: no worker could be started in so little; write 8MiB or more, as in \"512MiB\"",
            ),
            (
                "cgroup.cpu = 0",
                "3:14: pool.p.cgroup.cpu: 0 processors cannot be given; write as in 1.5 or 0.25",
            ),
            (
                "cgroup.pids = 1",
                "3:15: pool.p.cgroup.pids: no worker could be started among so few; write 2 or more",
            ),
            (
                "cpu_affinity = []",
                "3:16: pool.p.cpu_affinity: no processor is listed; write as in \"0-3,6\"",
            ),
        ],
    );
}

#[test]
fn what_the_daemon_has_no_right_to_grant_is_refused() {
    let powers = Powers {
        nice_min: Some(0),
        oom_score_adj_min: Some(0),
        lacks_realtime_io: true,
        rlimits_max: [(RlimitKind::Nofile, 4096)].into(),
        cpus: Some(BTreeSet::from([0, 1])),
        cgroup: CgroupSight::Controllers(vec!["cpu".to_owned(), "pids".to_owned()]),
    };
    check(
        &Surroundings { powers, ..dev() },
        &[
            (
                "nice = -1",
                "3:8: pool.p.nice: the daemon may give its workers no nice below 0; write a higher one, or start the daemon as root",
            ),
            (
                "oom_score_adj = -1",
                "3:17: pool.p.oom_score_adj: the daemon may give its workers no oom_score_adj below 0; write a higher one, or give the daemon CAP_SYS_RESOURCE",
            ),
            (
                "ionice = \"realtime\"",
                "3:10: pool.p.ionice: the daemon may give its workers no realtime priority; write \"best-effort:0\", or start the daemon as root",
            ),
            (
                "rlimit.nofile = \"unlimited\"",
                "3:17: pool.p.rlimit.nofile: unlimited is above 4096, the daemon's own limit; write no more, or raise the daemon's (systemd: Limit…= of its unit)",
            ),
            (
                "cpu_affinity = \"0-2\"",
                "3:16: pool.p.cpu_affinity: there is no processor 2; use those that are there: 0-1",
            ),
            (
                "cgroup = { memory = \"1GiB\", cpu = 1 }",
                "3:10: pool.p.cgroup: the daemon's control group cannot limit memory; remove it, or have the controller memory enabled there; it has cpu, pids",
            ),
        ],
    );
    let missing = CgroupSight::Missing("there is none".to_owned());
    let powers = Powers { cgroup: missing, ..Powers::default() };
    check(
        &Surroundings { powers, ..dev() },
        &[(
            "cgroup = {}",
            "3:10: pool.p.cgroup: there is none; remove the key, or run the daemon where one is delegated to it (systemd: Delegate=yes in its unit)",
        )],
    );
}

/// A pool with one more line → the one mistake.
fn check(surroundings: &Surroundings, cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        let text = format!("[pool.p]\ncommand = \"x\"\n{keys}\n");
        let expected = format!("workers.toml:{expected}");
        assert_eq!(lines(&text, surroundings), [expected], "{keys}");
    }
}
