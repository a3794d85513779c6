//! Queues that are deeper than memory.

use gear_supervisor::protocol::{Request, Response, SubmitMode};

use crate::rig::{ChildBroker, SERVE_MEMORY, job};

#[test]
fn a_queue_far_above_the_memory_budget_is_served_in_order_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let little = || [(SERVE_MEMORY, "10000".to_owned())];
    let broker = ChildBroker::with(folder.path(), little());
    let mut client = broker.connect();
    let mut bytes = bytes::BytesMut::new();
    for n in 0..2000 {
        let mut job = job("f", &format!("{n} {}", "x".repeat(n % 100)), SubmitMode::Background);
        job.unique = format!("u{n}").as_str().into();
        Request::Submit(job).encode(&mut bytes);
    }
    client.send_raw(&bytes);
    let handles: Vec<_> = (0..2000).map(|_| client.created()).collect();
    let serve = |broker: &ChildBroker, from: usize, to: usize| {
        let mut worker = broker.connect();
        worker.can_do("f");
        for (n, wanted) in handles.iter().enumerate().take(to).skip(from) {
            let (handle, payload) = worker.grab();
            let text = format!("{n} {}", "x".repeat(n % 100));
            assert_eq!((&handle, &payload[..]), (wanted, text.as_bytes()));
            worker.complete(&handle, "");
        }
        worker.sync();
    };
    serve(&broker, 0, 700);
    // A second submission finds the first although its unique is on disk alone.
    let mut again = job("f", "other", SubmitMode::Background);
    again.unique = "u1999".into();
    assert_eq!(client.submit(again.clone()), handles[1999]);
    serve(&broker, 700, 701);
    drop(broker);

    let broker = ChildBroker::with(folder.path(), little());
    assert_eq!(broker.connect().submit(again), handles[1999]);
    let mut text = broker.connect();
    // Its answer tells that all stored jobs have come.
    text.send_raw(b"show unique jobs\n");
    while !text.recv_text().ends_with(".\n") {}
    text.send_raw(b"status\n");
    // The kill may have come before the last completion was recorded.
    let status = text.recv_text();
    let waiting: usize = status.split('\t').nth(1).unwrap().parse().unwrap();
    let from = 2000 - waiting;
    assert!(from <= 701, "{status}");
    serve(&broker, from, 2000);
}

#[test]
fn a_listing_of_many_jobs_comes_whole_and_others_are_served_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let broker = ChildBroker::with(folder.path(), [(SERVE_MEMORY, "10000".to_owned())]);
    let mut client = broker.connect();
    let mut bytes = bytes::BytesMut::new();
    for n in 0..20_000 {
        let mut job = job("f", "x", SubmitMode::Background);
        job.unique = format!("{n:064}").as_str().into();
        Request::Submit(job).encode(&mut bytes);
    }
    let mut sender = client.try_clone();
    let sending = std::thread::spawn(move || sender.send_raw(&bytes));
    let handles: Vec<_> = (0..20_000).map(|_| client.created()).collect();
    sending.join().unwrap();

    // More than the kernel holds for a reader that takes its time.
    let mut slow = broker.connect();
    slow.send_raw(b"show unique jobs\nshow jobs\nversion\n");
    for _ in 0..100 {
        assert!(
            client.ask(&Request::Echo("still here".into())) == Response::Echo("still here".into())
        );
    }
    let mut text = String::new();
    while !text.contains("\nOK ") {
        text += &slow.recv_text();
    }
    let mut lines = text.lines();
    for n in 0..20_000 {
        assert_eq!(lines.next(), Some(format!("{n:064}").as_str()));
    }
    assert_eq!(lines.next(), Some("."));
    for handle in handles {
        let line = lines.next().unwrap();
        assert!(line.starts_with(std::str::from_utf8(&handle).unwrap()), "{line}");
    }
    assert_eq!(lines.next(), Some("."));
}
