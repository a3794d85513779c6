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
