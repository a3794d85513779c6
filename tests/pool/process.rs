//! Starting, signalling and reaping.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use gear_supervisor::config::Strays;
use gear_supervisor::model::{Exit, WorkerId};
use gear_supervisor::pool::process::{Child, Ended, Launch, MARK, mark};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    IDS, command, exists, nobody, processes, read, read_all, read_line, run, sh, start, until_gone,
    until_reaped, zombies,
};

#[test]
fn an_exit_code_and_both_streams_arrive() {
    run(async {
        let (_, child) = start(&sh("echo out; echo err >&2; exit 3")).unwrap();
        assert_eq!(child.end.wait().await, Ended::Exited(Exit::Code(3)));
        assert_eq!(read_all(child.stdout), "out\n");
        assert_eq!(read_all(child.stderr), "err\n");
        assert!(!exists(child.pid), "it was reaped");
    });
}

#[test]
fn a_killed_process_tells_its_signal() {
    run(async {
        let (worker, child) = start(&command(&["sleep", "1000"])).unwrap();
        assert!(processes().signal(worker, Signal::SIGKILL));
        let exit = Exit::Signal { signal: Signal::SIGKILL, core: false };
        assert_eq!(child.end.wait().await, Ended::Exited(exit));
        assert!(
            !processes().signal(worker, Signal::SIGKILL),
            "a reaped process is never signalled"
        );
    });
}

#[test]
fn a_death_by_a_realtime_signal_is_reaped_too() {
    run(async {
        let (_, child) = start(&sh("kill -s RTMIN $$; kill -34 $$; kill -35 $$")).unwrap();
        let ended = child.end.wait().await;
        assert!(matches!(ended, Ended::Exited(Exit::Code(162 | 163))), "{ended:?}");
    });
}

#[test]
fn what_a_dead_leader_leaves_in_its_group_is_killed() {
    run(async {
        let script = "(trap '' TERM HUP; echo $$; exec sleep 1000) & sleep 0.05; exit 7";
        let script = script.replace("echo $$", "sh -c 'echo $PPID'");
        let (_, child) = start(&sh(&script)).unwrap();
        let grandchild: i32 = read_line(&child.stdout).parse().unwrap();
        assert_ne!(grandchild, child.pid);
        assert_eq!(child.end.wait().await, Ended::Exited(Exit::Code(7)));
        until_gone(grandchild).await;
    });
}

#[test]
fn a_group_is_killed_though_a_grandchild_ignores_term() {
    run(async {
        let script = "trap '' TERM; (sh -c 'echo $PPID'; exec sleep 1000) & wait; wait";
        let (worker, child) = start(&sh(script)).unwrap();
        let grandchild: i32 = read_line(&child.stdout).parse().unwrap();
        processes().signal(worker, Signal::SIGTERM);
        assert!(exists(child.pid) && exists(grandchild));
        assert!(processes().kill_group(worker));
        let exit = Exit::Signal { signal: Signal::SIGKILL, core: false };
        assert_eq!(child.end.wait().await, Ended::Exited(exit));
        until_gone(grandchild).await;
    });
}

/// A worker that starts a process with a session of its own, which starts one more, then ends.
/// Neither minds TERM. Returns both.
fn stray(strays: Strays) -> (i32, i32) {
    run(async {
        let mut launch = sh(
            "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & echo $$ $!; wait' & exec sleep 1000",
        );
        launch.strays = strays;
        let (worker, child) = start_marked(launch);
        let line = read_line(&child.stdout);
        assert!(processes().signal(worker, Signal::SIGTERM));
        let exit = Exit::Signal { signal: Signal::SIGTERM, core: false };
        assert_eq!(child.end.wait().await, Ended::Exited(exit));
        let (stray, below) = line.split_once(' ').unwrap();
        (stray.parse().unwrap(), below.parse().unwrap())
    })
}

/// Starts a process with the mark that a pool gives it.
fn start_marked(mut launch: Launch) -> (WorkerId, Child) {
    let worker = IDS.next();
    launch.env.insert(MARK.into(), mark(worker).into());
    let name = "test:1".parse().unwrap();
    (worker, processes().spawn(worker, &name, &launch).unwrap())
}

#[test]
fn what_a_worker_left_in_a_session_of_its_own_is_killed_with_all_below_it() {
    let (stray, below) = stray(Strays::Kill);
    run(async {
        until_reaped(stray).await;
        until_reaped(below).await;
    });
}

#[test]
fn what_may_be_left_behind_lives_on() {
    for strays in [Strays::Warn, Strays::Leave] {
        let (stray, below) = stray(strays);
        run(async {
            // The end of another worker does not matter to them.
            let (_, child) = start_marked(sh("exit 0"));
            child.end.wait().await;
            assert!(exists(stray) && exists(below), "{strays:?}");
            for pid in [stray, below] {
                kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
                until_reaped(pid).await;
            }
        });
    }
}

#[test]
fn an_orphan_that_left_the_group_comes_to_us_and_is_reaped() {
    run(async {
        let before = processes().orphan_count();
        let (_, child) = start(&sh("setsid sh -c 'echo $$; exec sleep 0.2' & sleep 0.1")).unwrap();
        let orphan: i32 = read_line(&child.stdout).parse().unwrap();
        assert_eq!(child.end.wait().await, Ended::Exited(Exit::Code(0)));
        until_reaped(orphan).await;
        assert!(processes().orphan_count() > before);
    });
}

#[test]
fn a_process_gets_exactly_its_environment_directory_and_null_input() {
    run(async {
        let mut launch = sh("env; pwd; cat; readlink /proc/self/fd/0; cut -d' ' -f5 /proc/$$/stat");
        launch.directory = PathBuf::from("/usr");
        let (_, child) = start(&launch).unwrap();
        let text = read_all(child.stdout);
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.split_off(lines.len() - 3), ["/usr", "/dev/null", &child.pid.to_string()]);
        lines.retain(|line| {
            !["PWD=", "OLDPWD=", "_=", "SHLVL="].iter().any(|of| line.starts_with(of))
        });
        lines.sort_unstable();
        assert_eq!(lines, ["GEAR_WORKER=test:1", "PATH=/usr/bin:/bin"]);
        child.end.wait().await;
    });
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut nowhere = sh("true");
    nowhere.directory = PathBuf::from("/no/such/place");
    let cases = [
        (command(&["php9"]), "cannot start 'php9': not found in PATH (/usr/bin:/bin)"),
        (command(&["bin/no"]), "cannot start 'bin/no': there is no file /bin/no"),
        (command(&["/etc/passwd"]), "'/etc/passwd': /etc/passwd is not executable for this user"),
        (nowhere, "cannot start 'sh' in /no/such/place: No such file or directory"),
    ];
    for (launch, expected) in cases {
        let error = start(&launch).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_mask_is_set_by_the_shim_which_leaves_no_trace() {
    run(async {
        // `exec`: while the shell starts a program it blocks every signal for a moment.
        let script =
            "umask; readlink /proc/$$/fd/0; ls /proc/$$/fd; exec grep Sig[^Q] /proc/self/status";
        let plain = start(&sh(script)).unwrap().1;
        let plain = read_all(plain.stdout);
        let mut launch = sh(script);
        launch.umask = Some(0o27);
        let (_, child) = start(&launch).unwrap();
        let text = read_all(child.stdout);
        assert!(text.starts_with("0027\n/dev/null\n"), "{text}");
        let rest = |text: &str| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(rest(&text), rest(&plain), "descriptors and signals as without it");
        assert_eq!(child.end.wait().await, Ended::Exited(Exit::Code(0)));
    });
}

#[test]
fn a_process_with_a_terminal_leads_a_session_there() {
    for account in [None, nobody()] {
        run(async {
            let script = "stty size; ps -o pid=,pgid=,sid=,tpgid= -p $$; id -u; stat -c %u $(tty);\
                test -t 0 && test -t 2 && read line </dev/tty && echo got $line; exit 3";
            let mut launch = sh(script);
            launch.account.clone_from(&account);
            let name = "test:1".parse().unwrap();
            let child = processes().spawn_on_terminal(IDS.next(), &name, &launch).unwrap();
            assert_eq!(nix::unistd::write(&child.terminal, b"hello\n").unwrap(), 6);
            let terminal = child.terminal.try_clone().unwrap();
            let text = read(terminal, |text| text.contains("got"));
            assert_eq!(child.end.wait().await, Ended::Exited(Exit::Code(3)));
            let words: Vec<_> = text.split_whitespace().filter(|word| *word != "hello").collect();
            let pid = child.pid.to_string();
            let pid = pid.as_str();
            let uid =
                account.as_ref().map_or(nix::unistd::getuid().as_raw(), |account| account.uid);
            let uid = uid.to_string();
            let want = ["24", "80", pid, pid, pid, pid, &uid, &uid, "got"];
            assert_eq!(words, want, "{text}");
        });
    }
}

#[test]
fn a_program_that_cannot_be_started_on_a_terminal_is_told() {
    run(async {
        let launch = command(&["php9"]);
        let name = "test:1".parse().unwrap();
        let child = processes().spawn_on_terminal(IDS.next(), &name, &launch).unwrap();
        let expected = "cannot start 'php9': not found in PATH (/usr/bin:/bin)";
        assert_eq!(child.end.wait().await, Ended::NotStarted(expected.to_owned()));
    });
}

#[test]
fn the_shim_tells_what_it_cannot_start() {
    run(async {
        let mut launch = command(&["php9"]);
        launch.umask = Some(0o22);
        let (_, child) = start(&launch).unwrap();
        let expected = "cannot start 'php9': not found in PATH (/usr/bin:/bin)";
        assert_eq!(child.end.wait().await, Ended::NotStarted(expected.to_owned()));
    });
}

#[test]
fn another_user_has_its_ids_and_can_open_its_outputs() {
    let Some(account) = nobody() else {
        return eprintln!("skipped: only root can become another user");
    };
    run(async {
        let mut launch = sh("id -u; id -g; id -G; echo hi >/dev/stdout; echo hi >/dev/stderr");
        launch.account = Some(account.clone());
        let (_, child) = start(&launch).unwrap();
        let text = read_all(child.stdout);
        let (uid, gid) = (account.uid, account.gid);
        assert_eq!(text, format!("{uid}\n{gid}\n{gid}\nhi\n"));
        assert_eq!(read_all(child.stderr), "hi\n");
        assert_eq!(child.end.wait().await, Ended::Exited(Exit::Code(0)));
    });
}

#[test]
fn what_another_user_may_not_execute_is_told() {
    let Some(account) = nobody() else {
        return eprintln!("skipped: only root can become another user");
    };
    run(async {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let mut launch = sh("true");
        launch.account = Some(account);
        launch.directory = folder.path().to_owned();
        let (_, child) = start(&launch).unwrap();
        match child.end.wait().await {
            Ended::NotStarted(reason) => {
                assert!(reason.contains("Permission denied"), "{reason}");
            }
            ended @ Ended::Exited(_) => panic!("{ended:?}"),
        }
    });
}

#[test]
fn many_short_lives_leave_no_zombie() {
    run(async {
        let mut ends = Vec::new();
        for code in 0..100 {
            let (_, child) = start(&sh(&format!("exit {code}"))).unwrap();
            ends.push((code, child));
        }
        let pids: Vec<i32> = ends.iter().map(|(_, child)| child.pid).collect();
        for (code, child) in ends {
            assert_eq!(child.end.wait().await, Ended::Exited(Exit::Code(code)));
        }
        assert!(zombies().iter().all(|pid| !pids.contains(pid)));
    });
}
