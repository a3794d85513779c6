//! Power cuts: the disk as it would be at random instants, opened and read.

use std::collections::BTreeSet;
use std::path::Path;

use gear_supervisor::broker::store::{DiskStore, ScanPlace, StateDir, Store};
use gear_supervisor::model::JobId;
use gear_supervisor::protocol::SubmitMode;

use crate::disk::{Cut, Disk, Op, cut, rounds};
use crate::rig::{ChildBroker, Client, job};

const JOBS: usize = 3000;
/// Submissions under way at once.
const WINDOW: usize = 64;
const CUTS: [Cut; 3] = [Cut::Nothing, Cut::Prefix, Cut::Torn];

/// A job's number, and the length of the disk's log when it was acknowledged.
type Acknowledged = Vec<(JobId, u64)>;

fn number(handle: &[u8]) -> JobId {
    let handle = std::str::from_utf8(handle).unwrap();
    JobId(handle.rsplit(':').next().unwrap().parse().unwrap())
}

/// Submits jobs of several sizes, for several trips of the log back to the file.
fn submit_all(disk: &Disk, client: &mut Client, jobs: usize) -> Acknowledged {
    let mut acknowledged = Vec::new();
    for first in (0..jobs).step_by(WINDOW) {
        for n in first..(first + WINDOW).min(jobs) {
            let payload = "x".repeat(n * 7 % 5000);
            client.send(&gear_supervisor::protocol::Request::Submit(job(
                "f",
                &payload,
                SubmitMode::Background,
            )));
        }
        for _ in first..(first + WINDOW).min(jobs) {
            let id = number(&client.created());
            acknowledged.push((id, disk.log_len()));
        }
    }
    acknowledged
}

fn recovered(folder: &Path) -> Result<BTreeSet<JobId>, String> {
    let dir = StateDir::open(folder).unwrap();
    let store = DiskStore::open(&dir, "H:x").map_err(|error| error.to_string())?;
    let mut reader = store.reader().unwrap();
    let mut place = Some(ScanPlace::start(JobId(i64::MAX.cast_unsigned())));
    let mut ids = BTreeSet::new();
    while let Some(from) = place {
        let (records, next) = reader.scan(from, 1000).map_err(|error| error.to_string())?;
        ids.extend(records.iter().map(|record| record.id));
        place = next;
    }
    Ok(ids)
}

/// How many of so many power cuts lose an acknowledged job.
fn losses(ops: &[(u64, Op)], acknowledged: &Acknowledged, rounds: usize, seed: u64) -> usize {
    let mut state = seed;
    let mut dice = move |sides: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % sides
    };
    // Before the first acknowledgement there may be no store at all.
    let first = ops.iter().position(|(end, _)| *end >= acknowledged[0].1).unwrap();
    let mut lost = 0;
    for round in 0..rounds {
        let count = first + dice(ops.len() - first);
        let position = ops[count].0;
        let folder = tempfile::tempdir().unwrap();
        let done = ops[..=count].iter().map(|(_, op)| op);
        cut(done, CUTS[round % CUTS.len()], &mut dice, folder.path());
        let found = recovered(folder.path());
        let told = acknowledged.iter().filter(|(_, at)| *at <= position);
        let missing = |ids: &BTreeSet<JobId>| told.clone().any(|(id, _)| !ids.contains(id));
        if found.as_ref().map_or(true, missing) {
            eprintln!("round {round}, seed {seed}: {:?}", found.map(|ids| ids.len()));
            lost += 1;
        }
    }
    lost
}

#[test]
fn a_power_cut_loses_no_job_that_was_acknowledged() {
    let Some(disk) = Disk::new() else { return };
    let broker = ChildBroker::with(&disk.state(), disk.env());
    let acknowledged = submit_all(&disk, &mut broker.connect(), JOBS);
    drop(broker);
    let ops = disk.ops();
    assert_eq!(losses(&ops, &acknowledged, rounds(15, 200), 1), 0);

    // The control: where syncs do nothing, as with synchronous=OFF, the same look finds losses.
    let unsynced: Vec<(u64, Op)> = ops
        .into_iter()
        .filter(|(_, op)| !matches!(op, Op::Sync(file) if file.ends_with("-wal")))
        .collect();
    let lost = losses(&unsynced, &acknowledged, 15, 2);
    assert!(lost > 5, "{lost} of 15 power cuts without syncs lost a job");
}

#[test]
fn a_power_cut_after_failed_syncs_loses_no_job_that_was_acknowledged() {
    let Some(disk) = Disk::new() else { return };
    let broker = ChildBroker::with(&disk.state(), disk.env());
    let mut client = broker.connect();
    let mut acknowledged = submit_all(&disk, &mut client, 300);
    disk.fail("sync");
    let refused = client.ask(&gear_supervisor::protocol::Request::Submit(job(
        "f",
        "x",
        SubmitMode::Background,
    )));
    let refused = format!("{refused:?}");
    assert!(refused.contains("QUEUE_ERROR") && refused.contains("disk I/O error"), "{refused}");
    disk.fail("");
    acknowledged.append(&mut submit_all(&disk, &mut client, 1000));
    drop(broker);
    let ops = disk.ops();
    assert!(ops.iter().any(|(_, op)| matches!(op, Op::SyncFailed(_))));
    assert_eq!(losses(&ops, &acknowledged, rounds(15, 200), 3), 0);
}
