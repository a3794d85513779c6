//! GearmanManager's files.

use std::time::Duration;

use crate::{counts, folder, pool, refusal, remarks, settings, translate};

/// The numbers of its advanced sample: 21 workers.
const ADVANCED: &str = "; 10 do all but Sum, 5 Sum, 5 fetch_url, 1 reverse_string
[GearmanManager]
worker_dir=./workers,./classes
include=*
count=10
dedicated_count=1
max_worker_lifetime=3600
auto_update=1
timeout = 300
graceful_shutdown_wait_time = 90
max_runs_per_worker=50
prefix=\"Job_\"
host=localhost

[reverse_string]
count = 3

[Sum]
dedicated_count=5
dedicated_only=1

[fetch_url]
count=15
timeout = 30
priority = -2

[gone]
count=1
";
const WORKERS: [(&str, &str); 4] = [
    ("workers/reverse_string.php", ""),
    ("workers/fetch_url.php", ""),
    ("workers/README", ""),
    ("classes/Sum.php", ""),
];

#[test]
fn the_advanced_sample_has_its_21_workers() {
    let folder = folder(&[&[("gm.ini", ADVANCED)], &WORKERS[..]].concat());
    let translation = translate(&folder.path().join("gm.ini")).unwrap();
    let settings = settings(&translation);
    let expected = [("Sum", 5), ("do-all", 10), ("fetch_url", 5), ("reverse_string", 1)];
    assert_eq!(counts(&settings), expected.map(|(name, count)| (name.to_owned(), count)));
    assert_eq!((translation.pools, translation.workers), (4, 21));
    assert_eq!(settings.supervisor.shutdown_grace, Duration::from_secs(90));

    let words = |name| pool(&settings, name).program.command[3..].join(" ");
    let whole = folder.path().canonicalize().unwrap();
    let dirs = format!("--dir={0}/workers --dir={0}/classes", whole.display());
    let servers = "-- --servers={servers}";
    assert_eq!(words("do-all"), format!("{servers} {dirs} --not=Sum --prefix=Job_"));
    assert_eq!(words("Sum"), format!("{servers} {dirs} --only=Sum --prefix=Job_"));
    let timeout = |name| pool(&settings, name).upkeep.job_timeout.map(|timeout| timeout.as_secs());
    assert_eq!((timeout("do-all"), timeout("fetch_url")), (Some(300), Some(30)));
    let recycling = &pool(&settings, "do-all").upkeep.recycling;
    let age = recycling.age_max.unwrap();
    assert_eq!((age.age.as_secs(), age.variance.as_secs()), (3600, 600));
    assert_eq!(recycling.jobs_max, Some(50));
    let watches = |name| pool(&settings, name).deploys.watch.is_some();
    assert!(watches("do-all") && watches("Sum"), "auto_update");

    let told = remarks(&translation);
    for expected in [
        "gm.ini:13: this is the server now: stop gearmand here, it has its port",
        "gm.ini:24: in the workers of do-all the general timeout holds",
        "gm.ini:25: priority = -2 has no equal: a worker takes its functions in turn",
        "gm.ini:27: [gone] is no function of the folders",
    ] {
        assert!(told.iter().any(|remark| remark == expected), "{expected} in {told:#?}");
    }
}

#[test]
fn the_smallest_sample_has_a_worker_for_each_function() {
    let text = "[GearmanManager]\nworker_dir=workers\nauto_update=1\n";
    let folder = folder(&[&[("etc/gm.ini", text)], &WORKERS[..]].concat());
    // The folder is beside the one of the file, from where GearmanManager is started.
    let settings = settings(&translate(&folder.path().join("etc/gm.ini")).unwrap());
    let expected = [("fetch_url", 1), ("reverse_string", 1)];
    assert_eq!(counts(&settings), expected.map(|(name, count)| (name.to_owned(), count)));
}

#[test]
fn include_and_exclude_choose_and_other_servers_stay_where_they_are() {
    let text = "[GearmanManager]\nworker_dir=workers\ncount=2\ndedicated_count=1\n\
                include=fetch_url,reverse_string\nexclude=reverse_string\n\
                host=10.0.0.1:4731, job-server\nmax_worker_lifetime=0\n";
    let folder = folder(&[&[("gm.ini", text)], &WORKERS[..]].concat());
    let settings = settings(&translate(&folder.path().join("gm.ini")).unwrap());
    assert_eq!(pool(&settings, "do-all").deploys.watch, None);
    let expected = [("do-all", 2), ("fetch_url", 1)];
    assert_eq!(counts(&settings), expected.map(|(name, count)| (name.to_owned(), count)));
    assert_eq!(pool(&settings, "do-all").program.functions, ["fetch_url"]);
    assert_eq!(settings.broker.servers, ["10.0.0.1:4731", "job-server:4730"]);
    assert_eq!(pool(&settings, "do-all").upkeep.recycling.age_max, None);
}

#[test]
fn folders_that_cannot_be_listed_leave_the_sections() {
    let text = "[GearmanManager]\nworker_dir=/nowhere/at/all\n[resize]\ncount=2\n";
    let folder = folder(&[("gm.ini", text)]);
    let translation = translate(&folder.path().join("gm.ini")).unwrap();
    assert_eq!(counts(&settings(&translation)), [("resize".to_owned(), 2)]);
    assert!(remarks(&translation)[0].contains("/nowhere/at/all cannot be listed"));
}

#[test]
fn what_gearman_manager_refuses_is_refused() {
    let text = "[GearmanManager]\n[resize]\ndedicated_only=1\n";
    for (name, text, expected) in [
        ("gm.ini", text, "gm.ini:3: dedicated_only needs a dedicated_count"),
        (
            "gm.ini",
            "[GearmanManager]\ncount=many\n",
            "gm.ini:2: count = many is not a whole number from 0",
        ),
        (
            "gm.php",
            "<?php $gearman_config = [];",
            "gm.php is a PHP program; write its settings as an ini file with [GearmanManager]",
        ),
    ] {
        assert_eq!(refusal(&[(name, text)]), expected);
    }
}

#[test]
fn sections_of_this_host_go_before_the_others_and_those_of_other_hosts_are_left_out() {
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let text = format!(
        "[GearmanManager]\nworker_dir=workers\ncount=10\nexclude=fetch_url\n\
         [{host}:GearmanManager]\ncount=2\nexclude=\n\
         [{host}:reverse_string]\ncount=3\n[other.example:fetch_url]\ncount=15\n"
    );
    let folder = folder(&[&[("gm.ini", &*text)], &WORKERS[..]].concat());
    let translation = translate(&folder.path().join("gm.ini")).unwrap();
    let expected = [("do-all", 2), ("reverse_string", 1)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counts(&settings(&translation)), expected);
    let told = "gm.ini:10: [other.example:fetch_url] is for the host other.example, and left out on \
                this one";
    assert_eq!(remarks(&translation), [told]);
}
