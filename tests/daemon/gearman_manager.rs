//! GearmanManager's worker files, served by the runner that the program carries.

use std::fs;
use std::path::Path;

use crate::php::{has_php_gearman, performers};
use crate::rig::{Daemon, until};

/// The three shapes of worker files: a function, a class, and one that may be left out.
const FILES: [(&str, &str); 4] = [
    (
        "old/resize.php",
        "<?php function resize($job, &$log) { $log[] = 'seen ' . $job->workload();
         return strrev($job->workload()); }",
    ),
    (
        "new/Sum.php",
        "<?php class Sum { private $calls = 0;
         public function run($job, &$log) { $this->calls++; $log[] = ['calls' => $this->calls];
         return array_sum(explode(',', $job->workload())); } }",
    ),
    // The other folder comes first.
    ("new/resize.php", "<?php function resize($job) { return 'the wrong one'; }"),
    ("new/legacy.php", "<?php function something_else() {}"),
];

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

/// What `ps` shows of a process.
fn command_line(pid: i64) -> String {
    let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn worker_files_are_served_by_do_all_and_dedicated_workers() {
    if !has_php_gearman() {
        return;
    }
    let pools = "[defaults]\nuser = \"${USER}\"\nrunner = \"gearman-manager\"\n\
                 worker_dir = [\"old\", \"new\"]\nworker_exclude = [\"legacy\"]\n\
                 [pool.do-all]\ncount = 2\n[pool.sum]\nfunctions = [\"Sum\"]\n\
                 [pool.prefixed]\nworker_dir = \"prefixed\"\nworker_prefix = \"Job_\"\n\
                 command = \"php -d memory_limit=64M\"\n";
    let mut files = FILES.to_vec();
    files.push((
        "prefixed/limit.php",
        "<?php function Job_limit($job) { return ini_get('memory_limit'); }",
    ));
    let daemon = Daemon::with_pools_in(folder_with(&files), pools);
    until("all serve", || performers(&daemon, "Sum") == 3 && performers(&daemon, "resize") == 2);
    assert_eq!(performers(&daemon, "legacy"), 0);
    for (function, payload, result) in
        [("resize", "abc", "cba"), ("Sum", "1,2,39", "42"), ("limit", "", "64M")]
    {
        let said = daemon.says(&["submit", function, payload, "--timeout", "30s"]);
        assert_eq!(said.trim(), result, "{function}");
    }
    let logs = daemon.says(&["logs", "do-all"]);
    assert!(logs.contains("seen abc"), "{logs}");
    let (_, pid) = daemon.running("sum").pop().unwrap();
    assert_eq!(command_line(pid).trim_end_matches('\0'), "gearman-manager Sum");
    // An idle one leaves when it is told to, and not by KILL.
    daemon.says(&["stop", "all", "--timeout", "30s"]);
    assert!(!daemon.log().contains("KILL"), "{}", daemon.log());
}

#[test]
fn a_worker_file_without_its_function_is_a_failed_start_with_the_reason() {
    if !has_php_gearman() {
        return;
    }
    let pools = "[defaults]\nuser = \"${USER}\"\n[pool.legacy]\nrunner = \"gearman-manager\"\n\
                 worker_dir = \"new\"\nfunctions = [\"legacy\"]\n";
    let daemon = Daemon::begin_in(folder_with(&FILES), pools);
    until("the reason is told", || {
        let told = daemon.ask(&["logs", "legacy"]).stdout;
        String::from_utf8_lossy(&told).contains("has neither a function legacy nor a class legacy")
    });
}

#[test]
fn a_changed_worker_file_replaces_the_workers_of_the_pools_that_serve_it() {
    if !has_php_gearman() {
        return;
    }
    let pools = "[defaults]\nuser = \"${USER}\"\nrunner = \"gearman-manager\"\nwatch = true\n\
                 worker_dir = \"dir\"\ncanary = { alive = \"10ms\" }\nready = \"registered\"\n\
                 [pool.do-all]\nworker_exclude = [\"Sum\"]\n\
                 [pool.sum]\nfunctions = [\"Sum\"]\n\
                 [pool.apart]\nwatch = false\n";
    let file = |value| format!("<?php function say($job) {{ return '{value}'; }}");
    let sum = |value| format!("<?php function Sum($job) {{ return '{value}'; }}");
    let folder = folder_with(&[("dir/say.php", &file("old")), ("dir/Sum.php", &sum("old"))]);
    let daemon = Daemon::with_pools_in(folder, pools);
    let all = || ["do-all", "sum", "apart"].map(|pool| daemon.running(pool));
    let write = |name: &str, text: String| {
        fs::write(daemon.folder.path().join("dir").join(name), text).unwrap();
    };
    let rolled = |pool: &str| daemon.log().contains(&format!("{pool}: its workers are replaced\n"));
    let [_, sum_before, apart_before] = all();
    write("say.php", file("new"));
    until("do-all is replaced", || rolled("do-all"));
    let [do_all, sum_after, apart] = all();
    assert_eq!((sum_after, &apart), (sum_before, &apart_before));
    write("Sum.php", sum("new"));
    until("sum is replaced", || rolled("sum"));
    assert_eq!(daemon.log().matches("do-all: its workers are replaced\n").count(), 1);
    let [do_all_after, _, _] = all();
    assert_eq!(do_all_after, do_all, "{}", daemon.log());
    assert_eq!(apart, apart_before);
}
