use super::*;
use crate::cli::status::{scene, verdict};
use crate::control::api::{LogLossStatus, ServerStatus};

fn picture(status: &Status) -> String {
    let view = View { colours: Colours::Off, today: "2026-11-24".to_owned() };
    view.render(status, &verdict::troubles(status, &[]))
}

#[test]
fn a_daemon_with_a_dead_worker_and_a_bad_edit_reads_as_one_picture() {
    let want = "\
workers is running for 3h 12m · pid 812 · version 0.1.0 · load 0.40 on 2 cores · 12 GB of 16 GB free
still running the file of 14:02:11: /etc/gear-supervisor/workers.toml
the edit of 14:05:03 was not applied:
  workers.toml:9:1: pool.slow.cout: unknown key; did you mean count?
broker on 127.0.0.1:4730 · 12 connections · 1 performer from elsewhere

NAME           STATE     PID  UPTIME   DONE  JOB                   CPU     RSS  RESTARTS  LAST EXIT
slow · 1 of 2 running · gearman slow · count = 2 in the file
  slow:1       BACKOFF                    0  next try in 1.2 s                         2  killed by KILL; job H:x:3 moved to slow:2, attempt 2 of 3 (4.0 s ago)
  slow:2       RUNNING  4712  3m 12s  1,234  slow H:x:3 4.0 s 30%  12%   84 MB         0
wordcount · 1 of 1 running · exec wordcount · count = 1 in the file
  wordcount:1  RUNNING  4713  3h 12m     17                         0%  3.1 MB         0

14 jobs wait for slow (2 high) · the oldest for 42 s · 1 running

not as wanted: the last edit of the file is not applied
not as wanted: slow:1 is BACKOFF: next try in 1.2 s
";
    assert_eq!(picture(&scene::status()), want);
}

#[test]
fn what_is_as_wanted_has_no_verdict() {
    let status = scene::healthy();
    assert!(verdict::troubles(&status, &[]).is_empty());
    let picture = picture(&status);
    assert!(!picture.contains("not as wanted") && !picture.contains("still"), "{picture}");
}

#[test]
fn oddities_are_told() {
    let mut status = scene::healthy();
    let worker = &mut status.pools[0].workers[1];
    worker.tied = Some(false);
    (worker.state, worker.detail) = ("STOPPING".to_owned(), "draining".to_owned());
    let broker = status.broker.as_mut().unwrap();
    broker.store_error = Some("no space left".to_owned());
    broker.functions[0].performers = 0;
    let at = "2026-11-24T14:05:01.000+01:00".to_owned();
    status.pools[0].log_loss = Some(LogLossStatus { bytes: 1_200_000, at });
    let picture = picture(&status);
    for line in [
        "draining: slow H:x:3 4.0 s 30%",
        "slow:2 is untied: its connections are not known",
        "not as wanted: background jobs cannot be stored: no space left",
        "· no worker performs it",
        "· 1.2 MB of its log lost, the last at 14:05:01",
    ] {
        assert!(picture.contains(line), "{line} in {picture}");
    }
}

#[test]
fn a_pool_without_enough_workers_is_not_as_wanted_unless_it_is_stopped() {
    let mut status = scene::healthy();
    status.pools[0].workers[0].state = "STOPPED".to_owned();
    assert_eq!(verdict::troubles(&status, &[]), ["slow has 1 of 2 workers"]);
    status.pools[0].intent = crate::control::api::Intent::Stopped;
    assert!(verdict::troubles(&status, &[]).is_empty());
}

#[test]
fn of_a_worker_that_is_named_only_its_own_state_is_judged() {
    let names = ["slow:2".to_owned()];
    let mut status = crate::cli::status::select(&scene::status(), &names).unwrap();
    status.config.rejected = None;
    assert!(verdict::troubles(&status, &names).is_empty());
}

#[test]
fn many_queues_are_counted_after_the_longest() {
    let mut status = scene::healthy();
    let broker = status.broker.as_mut().unwrap();
    let one = broker.functions[0].clone();
    broker.functions = (0..25)
        .map(|n| FunctionStatus { name: format!("f{n}"), queued: [0, n, 0], ..one.clone() })
        .collect();
    let picture = picture(&status);
    assert!(picture.contains("24 jobs wait for f24"), "{picture}");
    assert!(picture.contains("1 job waits for f1") != picture.contains("more functions too"));
    assert!(picture.contains("jobs wait for 4 more functions too"), "{picture}");
}

#[test]
fn servers_outside_are_told_with_their_troubles_and_what_is_lost() {
    let mut status = scene::healthy();
    let broker = status.broker.as_mut().unwrap();
    let server = |address: &str, trouble: Option<&str>| ServerStatus {
        address: address.to_owned(),
        up: trouble.is_none(),
        trouble: trouble.map(str::to_owned),
        since: 61.0,
    };
    broker.servers = vec![server("gm1:4730", None), server("gm2:4730", Some("refused"))];
    let told = "jobs from gm1:4730 up for 1m 1s · gm2:4730 down for 1m 1s: refused\n";
    let text = picture(&status);
    assert!(text.contains(told) && !text.contains("broker on"), "{text}");
    assert!(!text.contains("unknown"), "{text}");
    status.broker.as_mut().unwrap().direct = true;
    assert!(picture(&status).contains("jobs in hand unknown: workers connect by themselves"));
}

#[test]
fn a_worker_that_registered_nothing_for_half_a_minute_is_told() {
    let mut status = scene::healthy();
    let worker = &mut status.pools[0].workers[1];
    (worker.tied, worker.registered, worker.uptime) = (Some(false), Some(false), Some(29.0));
    assert!(!picture(&status).contains("registered nothing here"));
    status.pools[0].workers[1].uptime = Some(30.0);
    let text = picture(&status);
    assert!(text.contains("slow:2 up 30 s, registered nothing here"), "{text}");
    assert!(!text.contains("untied"), "{text}");
}
