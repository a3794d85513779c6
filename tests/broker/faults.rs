//! A disk that is full, and one that fails.

use gear_supervisor::protocol::{Request, Response, SubmitMode};

use crate::disk::Disk;
use crate::rig::{ChildBroker, Client, job};

fn refusal(client: &mut Client) -> Option<String> {
    match client.ask(&Request::Submit(job("f", &"x".repeat(5000), SubmitMode::Background))) {
        Response::JobCreated(_) => None,
        Response::Error { text, .. } => Some(String::from_utf8_lossy(&text).into_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_refuses_new_jobs_and_records_the_end_of_others() {
    let Some(disk) = Disk::new() else { return };
    let broker = ChildBroker::with(&disk.state(), disk.env());
    let mut client = broker.connect();
    let kept: Vec<_> =
        (0..3).map(|n| client.submit(job("g", &n.to_string(), SubmitMode::Background))).collect();
    disk.fail("full");
    // The log is overwritten from its front as long as it may be.
    let mut tries = 0;
    let refused = loop {
        tries += 1;
        assert!(tries < 5000, "the disk did not fill");
        if let Some(refused) = refusal(&mut client) {
            break refused;
        }
    };
    assert!(refused.contains("no room is left on the disk"), "{refused}");
    assert!(!disk.state().join("ballast").exists(), "the ballast was not given away");
    // Foreground jobs go on, and stored ones are given out and end.
    client.submit(job("g", "fg", SubmitMode::Foreground));
    let mut worker = broker.connect();
    worker.can_do("g");
    for wanted in &kept {
        let (handle, _) = worker.grab();
        assert_eq!(handle, *wanted);
        worker.complete(&handle, "");
    }
    let (handle, payload) = worker.grab();
    assert_eq!(payload, "fg");
    worker.complete(&handle, "done");
    assert!(matches!(client.recv(), Response::Work { .. }));
    assert!(refusal(&mut client).is_some(), "there is still no room");
    disk.fail("");
    let mut tries = 0;
    while refusal(&mut client).is_some() {
        tries += 1;
        assert!(tries < 1_000_000, "it does not go on");
    }
    assert!(disk.state().join("ballast").exists());
}
