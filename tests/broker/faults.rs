//! A disk that is full, and a file that is damaged.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use gear_supervisor::protocol::{GrabStyle, Request, Response, SubmitMode};

use crate::disk::Disk;
use crate::rig::{ChildBroker, Client, Rig, job, wait_for};

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

/// A disk of its own that is small, as long as it lives; nothing where that is not allowed.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(megabytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: a small disk cannot be mounted here; that needs root");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().unwrap();
    }
}

#[test]
fn a_disk_that_ended_jobs_had_filled_takes_jobs_again() {
    let Some(disk) = SmallDisk::new(48) else { return };
    let broker = ChildBroker::new(&disk.0.path().join("state"), None);
    let mut client = broker.connect();
    let payload = "x".repeat(900_000);
    let mut stored = 0;
    loop {
        match client.ask(&Request::Submit(job("f", &payload, SubmitMode::Background))) {
            Response::JobCreated(_) => stored += 1,
            refused => {
                assert!(matches!(refused, Response::Error { .. }), "{refused:?}");
                break;
            }
        }
        assert!(stored < 60, "the disk did not fill");
    }
    let mut worker = broker.connect();
    worker.can_do("f");
    for _ in 0..stored {
        let (handle, _) = worker.grab();
        worker.complete(&handle, "");
    }
    let mut tries = 0;
    while refusal(&mut client).is_some() {
        tries += 1;
        assert!(tries < 1_000_000, "it does not go on");
    }
}

/// Jobs are spread over many pages, and those in the middle are overwritten.
#[test]
fn of_a_damaged_store_what_can_be_read_is_served_and_the_file_is_kept() {
    const JOBS: usize = 2000;
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    let handles: Vec<_> = (0..JOBS)
        .map(|n| job("f", &format!("{n} {}", "x".repeat(500)), SubmitMode::Background))
        .map(|job| client.submit(job))
        .collect();
    rig.stop();
    let path = folder.path().join("jobs.db");
    let mut file = fs::read(&path).unwrap();
    let middle = file.len() / 4096 / 2 * 4096;
    file[middle..middle + 3 * 4096].fill(0xa5);
    fs::write(&path, file).unwrap();

    let rig = Rig::new(folder.path());
    // Of a unique, so that it is answered when all is read.
    let mut last = job("g", "", SubmitMode::Background);
    last.unique = "u".into();
    let fresh = rig.connect().submit(last);
    assert!(!handles.contains(&fresh), "a handle came twice");
    let mut worker = rig.connect();
    worker.can_do("f");
    let mut found = BTreeSet::new();
    let (mut first, mut end) = (None, false);
    while !end {
        match worker.ask(&Request::Grab(GrabStyle::Plain)) {
            Response::JobAssign { handle, payload, .. } => {
                let n = handles.iter().position(|known| *known == handle).unwrap();
                assert!(payload.starts_with(format!("{n} ").as_bytes()), "{n}");
                first = first.or(Some(n));
                found.insert(n);
                worker.complete(&handle, "");
            }
            Response::NoJob => {
                let overview = wait_for(rig.handle.overview()).unwrap();
                let left: usize = overview.functions[&"f".into()].queued.iter().sum();
                end = left == 0;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(found.len() > JOBS * 8 / 10 && found.len() < JOBS, "{} were read", found.len());
    assert_eq!(first, Some(0));
    assert!(folder.path().join("jobs.db.damaged-1").exists());
    rig.stop();
}
