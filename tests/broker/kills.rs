//! `kill -9` in the middle of the work.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gear_supervisor::protocol::{GrabStyle, Request, Response, SubmitMode};

use crate::disk::rounds;
use crate::rig::{ChildBroker, Client, job};

/// A completion that the broker has heard of so long before the kill has been recorded.
const RECORDED_AFTER: Duration = Duration::from_millis(50);
/// Where it is slow, so many times what it took from one acknowledgement to the next at most: a
/// completion waits for the commit under way, and for its own.
const COMMITS_MAX: u32 = 3;

/// What one life of the broker is known to have done.
#[derive(Default)]
struct Known {
    /// Payloads by handle, of jobs that were acknowledged.
    acknowledged: BTreeMap<Bytes, Bytes>,
    /// When the broker answered what was sent behind its completion.
    completed: Vec<(Bytes, Instant)>,
    /// The longest time from one acknowledgement to the next.
    slowest: Duration,
}

/// Submits until `acknowledged` handles have come, with a worker that ends every third job.
fn live(broker: &ChildBroker, jobs: usize, until: usize, known: &mut Known) -> Instant {
    let (mut client, mut worker) = (broker.connect(), broker.connect());
    let mut bytes = BytesMut::new();
    let payloads: Vec<Bytes> = (0..jobs).map(|n| Bytes::from(format!("{n}"))).collect();
    for payload in &payloads {
        let text = std::str::from_utf8(payload).unwrap();
        Request::Submit(job("f", text, SubmitMode::Background)).encode(&mut bytes);
    }
    let mut stream = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        // It ends with the broker, as a rule in the middle.
        stream.write_all(&bytes).unwrap_or_default();
    });
    worker.can_do("f");
    let (mut sent, mut last) = (None, Instant::now());
    for (n, payload) in payloads.into_iter().take(until).enumerate() {
        let handle = client.created();
        let now = Instant::now();
        known.slowest = known.slowest.max(now.duration_since(std::mem::replace(&mut last, now)));
        known.acknowledged.insert(handle, payload);
        if n % 3 == 0 {
            let (handle, _) = worker.grab();
            known
                .completed
                .extend(sent.replace(handle.clone()).map(|before| (before, Instant::now())));
            worker.complete(&handle, "");
        }
    }
    let end = Instant::now();
    known.completed.extend(sent.map(|last| (last, end)));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    drop(worker);
    drop_joined(writer, client);
    end
}

fn drop_joined(writer: JoinHandle<()>, client: Client) {
    drop(client);
    writer.join().unwrap();
}

/// Grabs and ends everything that is there.
fn drain(broker: &ChildBroker) -> BTreeMap<Bytes, Bytes> {
    let mut worker = broker.connect();
    worker.can_do("f");
    let mut found = BTreeMap::new();
    // A text command that needs all stored jobs is answered when they have come.
    let mut text = broker.connect();
    text.send_raw(b"show unique jobs\n");
    text.recv_text();
    loop {
        match worker.ask(&Request::Grab(GrabStyle::Plain)) {
            Response::JobAssign { handle, payload, .. } => {
                worker.complete(&handle, "");
                assert!(found.insert(handle, payload).is_none(), "a job came twice");
            }
            Response::NoJob => break,
            other => panic!("{other:?}"),
        }
    }
    worker.sync();
    found
}

#[test]
fn kills_in_the_middle_lose_and_repeat_nothing() {
    let (rounds, jobs) = (rounds(3, 50), rounds(2000, 10_000));
    for round in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let broker = ChildBroker::new(folder.path(), None);
        let mut known = Known::default();
        // Spread over the whole run.
        let until = 1 + (round * 7919) % (jobs - 1);
        let end = live(&broker, jobs, until, &mut known);
        drop(broker);
        let recorded_after = RECORDED_AFTER.max(known.slowest * COMMITS_MAX);
        let broker = ChildBroker::new(folder.path(), None);
        let found = drain(&broker);
        let completed: BTreeSet<&Bytes> = known.completed.iter().map(|(job, _)| job).collect();
        for (handle, payload) in &known.acknowledged {
            let kept = found.get(handle);
            assert!(kept == Some(payload) || completed.contains(handle), "{handle:?}: {kept:?}");
        }
        for (handle, at) in &known.completed {
            let long_ago = *at + recorded_after < end;
            assert!(!long_ago || !found.contains_key(handle), "{handle:?} came again");
        }
    }
}
