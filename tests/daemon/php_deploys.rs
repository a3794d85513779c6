//! A pool of PHP workers under load, deployed again and again: no job fails, none runs twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::php::has_php_gearman;
use crate::rig::{Daemon, until};

/// Deploys by turns: a file of the program, and an edit.
const DEPLOYS: usize = 6;
const WORKERS: usize = 16;
const CLIENTS: usize = 4;

const WORKER: &str = r"<?php
$worker = new GearmanWorker();
$worker->addServer(getenv('GEARMAN_HOST'), (int) getenv('GEARMAN_PORT'));
$worker->addFunction('work', function ($job) {
    usleep(5000);
    file_put_contents('ran', $job->workload() . PHP_EOL, FILE_APPEND);
    return 'release 0';
});
while (@$worker->work());
";

/// Submits jobs by turns in the foreground and in the background, until a file is there.
const CLIENT: &str = r"<?php
[, $port, $name] = $argv;
$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $port);
for ($n = 0, $failed = 0; !file_exists('stop'); $n++) {
    if ($n % 2) @$client->doNormal('work', $name . $n); else @$client->doBackground('work', $name . $n);
    $failed += $client->returnCode() !== GEARMAN_SUCCESS;
}
file_put_contents('client' . $name, $n . ' ' . $failed);
";

fn client(folder: &Path, port: u16, name: usize) -> Child {
    let mut php = Command::new("php");
    php.arg("client.php").arg(port.to_string()).arg(format!("c{name}-")).current_dir(folder);
    php.stdin(Stdio::null()).spawn().unwrap()
}

/// How many jobs the clients submitted, and how many of those failed.
fn submitted(folder: &Path) -> (usize, usize) {
    (0..CLIENTS).fold((0, 0), |(jobs, failed), name| {
        let told = fs::read_to_string(folder.join(format!("clientc{name}-"))).unwrap();
        let (n, bad) = told.split_once(' ').unwrap();
        (jobs + n.parse::<usize>().unwrap(), failed + bad.parse::<usize>().unwrap())
    })
}

/// How often each job ran.
fn ran(folder: &Path) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(folder.join("ran")).unwrap_or_default();
    text.lines().fold(BTreeMap::new(), |mut ran, job| {
        *ran.entry(job.to_owned()).or_default() += 1;
        ran
    })
}

#[test]
fn deploys_under_load_lose_and_repeat_no_job_and_a_broken_one_harms_none() {
    if !has_php_gearman() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    fs::write(root.join("worker.php"), WORKER).unwrap();
    fs::write(root.join("client.php"), CLIENT).unwrap();
    let pools = format!(
        "[pool.work]\nuser = \"${{USER}}\"\ncommand = \"php worker.php\"\nfunctions = [\"work\"]\n\
         count = {WORKERS}\nsurge = 4\nwatch = true\nready = \"registered\"\n\
         env = {{ RELEASE = \"0\" }}\n"
    );
    let daemon = Daemon::with_pools_in(folder, &pools);
    let mut clients: Vec<_> = (0..CLIENTS).map(|name| client(&root, daemon.port, name)).collect();
    let all_new = |old: &[(String, i64)]| {
        let now = daemon.running("work");
        now.len() == WORKERS && now.iter().all(|worker| !old.contains(worker))
    };
    for deploy in 1..=DEPLOYS {
        let old = daemon.running("work");
        if deploy % 2 == 0 {
            daemon.edit(&format!("\"{}\"", deploy - 2), &format!("\"{deploy}\""));
        } else {
            fs::write(root.join("worker.php"), format!("{WORKER}// {deploy}")).unwrap();
        }
        until("all workers are new", || all_new(&old));
    }
    until("nothing moves", || {
        daemon.running("work").len() == WORKERS && daemon.status()["pools"][0]["canary"].is_null()
    });
    let old = daemon.running("work");
    fs::write(root.join("worker.php"), "<?php exit(9);").unwrap();
    until("it is told", || daemon.ask(&["status"]).status.code() == Some(3));
    assert_eq!(daemon.running("work"), old);
    fs::write(root.join("worker.php"), WORKER).unwrap();
    until("it is mended", || all_new(&old) && daemon.ask(&["status"]).status.success());
    fs::write(root.join("stop"), "").unwrap();
    assert!(clients.iter_mut().all(|client| client.wait().unwrap().success()));
    let (jobs, failed) = submitted(&root);
    until("every job has run", || ran(&root).values().sum::<usize>() >= jobs);
    let ran = ran(&root);
    println!("{jobs} jobs, {failed} failed, {} ran", ran.len());
    assert_eq!((failed, ran.len()), (0, jobs), "each ran");
    assert!(ran.values().all(|times| *times == 1), "and once");
}
