//! Many workers that are killed at random: nothing is lost, nothing is left.
//!
//! `GEAR_LONG=1` kills among 1,000 workers for a minute, otherwise among 50 three hundred times.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::rig::{Daemon, lives, until};
use crate::upkeep::plain;

/// Each has a child in a session of its own.
const WORKER: &str = "setsid sleep 1000 & exec sleep 1000";
/// Workers are killed while no more than this part of them is missing.
const MISSING_PART: usize = 10;

/// How much is done.
struct Storm {
    workers: usize,
    kills: usize,
    lasts: Duration,
}

/// What a daemon holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    rss_kib: u64,
}

#[test]
fn workers_killed_at_random_leave_no_zombie_no_orphan_and_no_descriptor() {
    let storm = if std::env::var_os("GEAR_LONG").is_some() {
        Storm { workers: 1000, kills: usize::MAX, lasts: Duration::from_mins(1) }
    } else {
        Storm { workers: 50, kills: 300, lasts: Duration::MAX }
    };
    let keys = format!(
        "count = {}\nlog = false\nready = {{ after = \"1ms\" }}\n\
         backoff = {{ initial = \"1ms\", max = \"50ms\", limit = 1000000 }}",
        storm.workers
    );
    let mut daemon = Daemon::with_pools(&plain("w", WORKER, &keys));
    let pid = i64::from(daemon.child.id());
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    // What only the first deaths need is there after a third of them.
    let third = Storm { kills: storm.kills / 3, lasts: storm.lasts / 3, ..storm };
    let mut killed = rage(&daemon, &third, &mut seed);
    let before = calm(&daemon, storm.workers);
    killed += rage(&daemon, &Storm { kills: storm.kills - third.kills, ..storm }, &mut seed);
    let after = calm(&daemon, storm.workers);
    println!("{} workers, {killed} kills: {before:?}, then {after:?}", storm.workers);
    assert_eq!(after.descriptors, before.descriptors);
    assert!(after.rss_kib < before.rss_kib * 5 / 4 + 4096, "{before:?} {after:?}");

    daemon.signal("-TERM");
    assert!(daemon.child.wait().unwrap().success());
    // What was killed takes a moment to die.
    until("nothing outlives its daemon", || !pids().into_iter().any(|of| is_of(of, pid)));
}

/// Kills workers at random; returns how many.
fn rage(daemon: &Daemon, storm: &Storm, seed: &mut u64) -> usize {
    let begun = Instant::now();
    let parent = i64::from(daemon.child.id());
    let mut killed = 0;
    while killed < storm.kills && begun.elapsed() < storm.lasts {
        let workers = children(parent);
        if workers.len() < storm.workers - storm.workers / MISSING_PART {
            std::thread::yield_now();
            continue;
        }
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(*seed >> 33).unwrap() % workers.len();
        if kill_child(workers[at], parent) {
            killed += 1;
        }
    }
    killed
}

/// Waits until every worker runs and every dead one is reaped.
fn calm(daemon: &Daemon, workers: usize) -> Held {
    let pid = i64::from(daemon.child.id());
    until("all of them run", || daemon.running("w").len() == workers);
    let is_zombie = |pid: &i64| stat(*pid).is_some_and(|(state, _)| state == 'Z');
    until("nothing is a zombie", || !children(pid).iter().any(is_zombie));
    let begun = Instant::now();
    until("no stray is left", || {
        let left = children(pid);
        let late = begun.elapsed() > Duration::from_secs(30);
        assert!(!late, "{} of {workers}: {:?}", left.len(), named(&left));
        left.len() == workers
    });
    // Asking opened a connection; it ends a moment after its answer.
    let descriptors = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let mut last = descriptors();
    let begun = Instant::now();
    until("its connections have ended", || {
        let now = descriptors();
        let is_same = now == last;
        last = now;
        is_same && begun.elapsed() > Duration::from_millis(200)
    });
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let rss_kib = rss.trim().trim_end_matches(" kB").parse().unwrap();
    Held { descriptors: last, rss_kib }
}

/// Only if it still is a child of the daemon: its number may be somebody else's by now.
fn kill_child(pid: i64, parent: i64) -> bool {
    let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(held) = pidfd_open(raw, PidfdFlags::empty()) else { return false };
    let is_its = stat(pid).is_some_and(|(state, of)| of == parent && state != 'Z');
    is_its && pidfd_send_signal(&held, Signal::KILL).is_ok()
}

/// What they run.
fn named(pids: &[i64]) -> Vec<String> {
    let line = |pid: &i64| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.iter().map(|pid| format!("{pid} {}", line(pid).replace('\0', " "))).collect()
}

fn children(parent: i64) -> Vec<i64> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids =
        |list: String| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>();
    lists.flat_map(pids).collect()
}

/// State and parent.
fn stat(pid: i64) -> Option<(char, i64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn pids() -> Vec<i64> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a worker of the daemon started it.
fn is_of(pid: i64, daemon: i64) -> bool {
    let mark = format!("GEAR_ID={daemon}.");
    let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    lives(pid) && env.split(|byte| *byte == 0).any(|entry| entry.starts_with(mark.as_bytes()))
}

#[test]
fn a_worker_that_forks_resessions_and_ignores_term_is_gone_within_the_grace_all_of_it() {
    let script = r#"
        trap "" TERM HUP
        setsid sh -c "trap \"\" TERM HUP; echo \$\$ > a.pid; sleep 1000 & echo \$! > b.pid; wait; wait" &
        (trap "" TERM; sleep 1000; sleep 1000) &
        echo $! > c.pid; echo $$$$ > d.pid
        while :; do sleep 1000; done
    "#;
    let daemon = Daemon::with_pools(&plain("w", script, "stop = [\"TERM 300ms\", \"KILL\"]"));
    let pid = |name: &str| -> Option<i64> {
        let file = daemon.folder.path().join(format!("{name}.pid"));
        fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    let names = ["a", "b", "c", "d"];
    until("all of it runs", || names.iter().all(|name| pid(name).is_some()));
    let all = names.map(|name| pid(name).unwrap());
    assert!(all.iter().all(|pid| lives(*pid)), "{all:?}");
    let begun = Instant::now();
    daemon.says(&["stop", "w"]);
    until("all of it is gone", || !all.iter().any(|pid| lives(*pid)));
    let took = begun.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&took), "{took:?}");
    until("all of it is reaped", || children(i64::from(daemon.child.id())).is_empty());
}
