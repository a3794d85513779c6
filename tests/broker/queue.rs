//! Later jobs, reducers, schedules, dead letters and pauses, over real sockets and restarts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gear_supervisor::broker::state::{Sweep, SweepAction};
use gear_supervisor::broker::{Command, JobsOf, JobsQuery};
use gear_supervisor::config::{BrokerRules, FunctionRule, FunctionRules, StoreKind};
use gear_supervisor::model::JobId;
use gear_supervisor::protocol::{GrabStyle, Request, Response, Schedule, SubmitMode, WorkReport};

use tokio::sync::oneshot;

use crate::rig::{ChildBroker, Rig, job, wait_for};

fn in_seconds(seconds: u64) -> SubmitMode {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SubmitMode::At(now.as_secs() + seconds)
}

fn list(rig: &Rig, of: JobsOf) -> Vec<gear_supervisor::broker::JobView> {
    let query = JobsQuery { function: None, limit: 100, of };
    rig.ask(|reply| Command::Jobs { query, reply }).unwrap()
}

fn sweep(action: SweepAction) -> Sweep {
    let functions = Some("*".to_owned());
    Sweep { action, handle: None, functions, older_than: None, dry_run: false }
}

#[test]
fn a_sleeping_worker_is_woken_for_a_job_at_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let (mut client, mut worker) = (rig.connect(), rig.connect());
    worker.can_do("f");
    let mode = in_seconds(2);
    let SubmitMode::At(epoch) = mode else { unreachable!() };
    let handle = client.submit(job("f", "later", mode));
    let now_job = client.submit(job("f", "now", SubmitMode::Background));
    assert_eq!(worker.grab(), (now_job, Bytes::from_static(b"now")));
    assert_eq!(worker.grab(), (handle, Bytes::from_static(b"later")));
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(clock >= Duration::from_secs(epoch), "{clock:?} is before {epoch}");
}

#[test]
fn what_is_kept_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let broker = ChildBroker::new(folder.path(), None);
    let (mut client, mut worker) = (broker.connect(), broker.connect());
    let later = client.submit(job("later", "p", in_seconds(3600)));
    client.send(&Request::Schedule(Schedule {
        function: "report".into(),
        unique: "daily".into(),
        times: Box::new(["0", "3", "*", "*", "*"].map(Bytes::from)),
        payload: "p".into(),
    }));
    let schedule = client.created();
    let reduced = job("reduced", "p", SubmitMode::Background);
    client.send(&Request::SubmitReduce { job: reduced, reducer: "sum".into() });
    let reduced = client.created();
    let dead = client.submit(job("bad", "p", SubmitMode::Background));
    worker.can_do("bad");
    assert_eq!(worker.grab().0, dead);
    worker.send(&Request::Work {
        handle: dead.clone(),
        report: WorkReport::Exception("boom".into()),
    });
    worker.sync();
    // A submission that is acknowledged was committed after all that came before it.
    client.submit(job("last", "p", SubmitMode::Background));
    drop(broker);

    let rig = Rig::new(folder.path());
    let text = |handle: &Bytes| String::from_utf8(handle.to_vec()).unwrap();
    let jobs = list(&rig, JobsOf::Oldest);
    let find = |handle| jobs.iter().find(|job| job.handle == text(handle)).unwrap();
    assert!(find(&later).due.unwrap() > Duration::from_mins(50));
    assert_eq!(find(&schedule).times.as_deref(), Some("0 3 * * *"));
    let [letter] = &list(&rig, JobsOf::Dead)[..] else { panic!("not one dead letter") };
    assert_eq!(letter.handle, text(&dead));
    assert_eq!(letter.death.as_ref().unwrap().output, "boom");

    let mut worker = rig.connect();
    worker.can_do("reduced");
    match worker.ask(&Request::Grab(GrabStyle::All)) {
        Response::JobAssign { handle, reducer, .. } => {
            assert_eq!((handle, reducer), (reduced, Some("sum".into())));
        }
        other => panic!("{other:?}"),
    }
    let sweep = sweep(SweepAction::Retry);
    let retried = rig.ask(|reply| Command::Sweep { sweep, reply }).unwrap();
    assert_eq!(retried, [text(&dead)]);
    worker.can_do("bad");
    assert_eq!(worker.grab().0, dead);
    rig.stop();
}

#[test]
fn a_pause_holds_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    rig.ask(|reply| Command::Pause { pattern: "mail*".to_owned(), reply }).unwrap();
    let handle = rig.connect().submit(job("mail", "p", SubmitMode::Background));
    rig.stop();
    let rig = Rig::new(folder.path());
    let mut worker = rig.connect();
    worker.can_do("mail");
    assert_eq!(worker.ask(&Request::Grab(GrabStyle::Plain)), Response::NoJob);
    worker.send(&Request::PreSleep);
    worker.sync();
    let ended = rig.ask(|reply| Command::Resume { pattern: "*".to_owned(), reply }).unwrap();
    assert_eq!(ended, ["mail*"]);
    assert_eq!(worker.recv(), Response::Noop);
    assert_eq!(worker.grab().0, handle);
    rig.stop();
}

#[test]
fn jobs_in_memory_are_gone_after_a_restart_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let rule = FunctionRule { store: Some(StoreKind::Memory), ..FunctionRule::default() };
    let functions = FunctionRules::new(vec![("check_*".to_owned(), rule)]);
    let rules = Arc::new(BrokerRules { functions, ..BrokerRules::default() });
    let rig = Rig::new(folder.path());
    rig.tell(Command::Configure(rules));
    let mut client = rig.connect();
    client.submit(job("check_disk", "p", SubmitMode::Background));
    let kept = client.submit(job("mail", "p", SubmitMode::Background));
    assert_eq!(list(&rig, JobsOf::Newest)[0].handle.as_bytes(), &kept[..]);
    assert_eq!(list(&rig, JobsOf::Newest).len(), 2);
    rig.stop();
    let rig = Rig::new(folder.path());
    let handles: Vec<_> = list(&rig, JobsOf::Oldest).into_iter().map(|job| job.handle).collect();
    assert_eq!(handles, [String::from_utf8(kept.to_vec()).unwrap()]);
    rig.stop();
}

#[test]
fn many_jobs_are_cancelled_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    for _ in 0..1500 {
        client.send(&Request::Submit(job("f", "p", SubmitMode::Background)));
    }
    for _ in 0..1500 {
        client.created();
    }
    let sweep = sweep(SweepAction::Cancel);
    let cancelled = rig.ask(|reply| Command::Sweep { sweep, reply }).unwrap();
    assert_eq!(cancelled.len(), 1500);
    assert_eq!(list(&rig, JobsOf::Oldest), []);
    rig.stop();
    assert!(list(&Rig::new(Path::new(folder.path())), JobsOf::Oldest).is_empty());
}

#[test]
fn payloads_that_are_on_disk_only_are_exported_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let (mut client, mut worker) = (rig.connect(), rig.connect());
    let dead = client.submit(job("bad", "why", SubmitMode::Background));
    worker.can_do("bad");
    assert_eq!(worker.grab().0, dead);
    worker.send(&Request::Work { handle: dead.clone(), report: WorkReport::Fail });
    worker.sync();
    let large = "x".repeat(3 << 20);
    let wanted: Vec<(String, usize)> = [&large, &large, "small"]
        .map(|payload| (client.submit(job("f", payload, SubmitMode::Background)), payload.len()))
        .map(|(handle, len)| (String::from_utf8(handle.to_vec()).unwrap(), len))
        .into();
    rig.stop();

    let rig = Rig::new(folder.path());
    let mut found = Vec::new();
    let mut pieces = 0;
    let mut after = Some(JobId(0));
    while let Some(from) = after {
        let piece = rig.ask(|reply| Command::Export { after: from, reply }).unwrap().unwrap();
        found.extend(piece.jobs.into_iter().map(|(handle, job)| (handle, job.payload.len())));
        (pieces, after) = (pieces + 1, piece.next);
    }
    assert_eq!((found, pieces), (wanted, 2), "a piece holds only so many bytes");
    let handle = String::from_utf8(dead.to_vec()).unwrap();
    let payload = rig.ask(|reply| Command::Payload { handle, reply }).unwrap().unwrap();
    assert_eq!(payload.unwrap(), "why");
    let [letter] = &list(&rig, JobsOf::Dead)[..] else { panic!("not one dead letter") };
    assert_eq!(letter.payload_len, 3);
    rig.stop();
}

#[test]
fn an_order_about_many_jobs_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let rule = FunctionRule { store: Some(StoreKind::Memory), ..FunctionRule::default() };
    let functions = FunctionRules::new(vec![("*".to_owned(), rule)]);
    rig.tell(Command::Configure(Arc::new(BrokerRules { functions, ..BrokerRules::default() })));
    let mut client = rig.connect();
    for _ in 0..20 {
        (0..1000).for_each(|_| {
            client.send(&Request::Submit(job("f", "p", SubmitMode::Background)));
        });
        (0..1000).for_each(|_| drop(client.created()));
    }
    let (reply, swept) = oneshot::channel();
    let order = Command::Sweep { sweep: sweep(SweepAction::Cancel), reply };
    let overview = wait_for(async {
        rig.handle.tell(order).await.unwrap();
        rig.handle.overview().await.unwrap()
    });
    let queued: usize = overview.functions.values().flat_map(|f| f.queued).sum();
    assert!(queued > 0, "the answer came after the sweep");
    assert_eq!(wait_for(swept).unwrap().len(), 20_000);
    rig.stop();
}
