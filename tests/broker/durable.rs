//! What a restart and a kill leave.

use std::collections::HashSet;

use bytes::Bytes;
use gear_supervisor::broker::{Command, JobsQuery};
use gear_supervisor::config::StoreKind;
use gear_supervisor::protocol::{Request, SubmitMode};

use crate::rig::{ChildBroker, Rig, job, loopback, start};

#[test]
fn a_restart_keeps_background_jobs_their_handles_and_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    let sent: Vec<(Bytes, Bytes)> = (0..100)
        .map(|number| {
            let payload = number.to_string();
            let handle = client.submit(job("f", &payload, SubmitMode::Background));
            (handle, Bytes::from(payload))
        })
        .collect();
    let mut worker = rig.connect();
    worker.can_do("f");
    let done = worker.grab();
    worker.complete(&done.0, "");
    worker.sync();
    assert_eq!(done, sent[0]);
    rig.stop();

    let rig = Rig::new(folder.path());
    let mut worker = rig.connect();
    worker.can_do("f");
    for wanted in &sent[1..] {
        let got = worker.grab();
        assert_eq!(got, *wanted);
        worker.complete(&got.0, "");
    }
    let fresh = rig.connect().submit(job("f", "", SubmitMode::Background));
    assert!(sent.iter().all(|(handle, _)| *handle != fresh), "{fresh:?} was given out before");
    rig.stop();
}

#[test]
fn handles_never_repeat_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = HashSet::new();
    for store in [StoreKind::Disk, StoreKind::Disk, StoreKind::Memory, StoreKind::Memory] {
        let rig = start(folder.path(), store, vec![loopback()]).unwrap();
        let mut client = rig.connect();
        for mode in [SubmitMode::Foreground, SubmitMode::Background] {
            let handle = client.submit(job("f", "", mode));
            assert!(seen.insert(handle.clone()), "{handle:?} came twice");
        }
        rig.stop();
    }
}

#[test]
fn a_killed_broker_loses_no_job_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let broker = ChildBroker::new(folder.path(), None);
    let mut client = broker.connect();
    let mut bytes = bytes::BytesMut::new();
    for number in 0..2000 {
        let job = job("f", &number.to_string(), SubmitMode::Background);
        Request::Submit(job).encode(&mut bytes);
    }
    client.send_raw(&bytes);
    let acknowledged: HashSet<Bytes> = (0..1000).map(|_| client.created()).collect();
    drop(broker);

    let rig = Rig::new(folder.path());
    let query = JobsQuery { limit: 10_000, ..JobsQuery::default() };
    let jobs = rig.ask(|reply| Command::Jobs { query, reply }).unwrap();
    let kept: HashSet<Bytes> = jobs.into_iter().map(|job| job.handle.into()).collect();
    assert!(kept.is_superset(&acknowledged), "{:?}", acknowledged.difference(&kept).next());
}

/// No client is left in doubt: what the shutdown kept was acknowledged, and the other way round.
#[test]
fn a_shutdown_answers_for_every_job_that_it_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    let mut bytes = bytes::BytesMut::new();
    for number in 0..1000 {
        let job = job("f", &number.to_string(), SubmitMode::Background);
        Request::Submit(job).encode(&mut bytes);
    }
    client.send_raw(&bytes);
    let mut acknowledged = HashSet::from([client.created()]);
    rig.stop();
    while !client.is_closed() {
        acknowledged.insert(client.created());
    }

    let rig = Rig::new(folder.path());
    let query = JobsQuery { limit: 10_000, ..JobsQuery::default() };
    let jobs = rig.ask(|reply| Command::Jobs { query, reply }).unwrap();
    let kept: HashSet<Bytes> = jobs.into_iter().map(|job| job.handle.into()).collect();
    assert_eq!(kept, acknowledged);
}

#[test]
fn a_second_broker_does_not_start_on_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _broker = ChildBroker::new(folder.path(), None);
    let error = gear_supervisor::broker::store::StateDir::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("is in use by"), "{error}");
}
