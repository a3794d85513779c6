use std::sync::mpsc::Sender as StdSender;
use std::time::SystemTime;

use bytes::Bytes;

use super::*;
use crate::broker::record::{Extras, JobRecord};
use crate::broker::store::{Meta, Reader};
use crate::model::{JobId, Priority};

/// Passes each commit on and does what it is told.
struct Scripted {
    commits: StdSender<Vec<Change>>,
    verdicts: Receiver<bool>,
    full: bool,
}

impl Store for Scripted {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.full && changes.iter().any(Change::adds) {
            return Err(StoreError::Full { path: "x".into() });
        }
        self.commits.send(changes.to_vec()).unwrap();
        if self.verdicts.recv().unwrap() {
            Ok(())
        } else {
            Err(StoreError::Foreign { path: "x".into() })
        }
    }

    fn has_room(&self) -> bool {
        !self.full
    }

    fn meta(&mut self) -> Result<Meta, StoreError> {
        unreachable!("the thread does not read")
    }

    fn reader(&self) -> Option<Box<dyn Reader>> {
        unreachable!("the thread does not read")
    }

    fn extras(&mut self) -> Result<Extras, StoreError> {
        unreachable!("the thread does not read")
    }
}

struct Rig {
    thread: StoreThread,
    reports: mpsc::Receiver<StoreReport>,
    commits: Receiver<Vec<Change>>,
    verdicts: StdSender<bool>,
    next: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with_room(true)
    }

    fn with_room(has_room: bool) -> Self {
        let (commits, seen) = channel();
        let (verdicts, told) = channel();
        let store = Scripted { commits, verdicts: told, full: !has_room };
        let (thread, reports) = StoreThread::start(Box::new(store)).unwrap();
        Self { thread, reports, commits: seen, verdicts, next: 1 }
    }

    fn send(&mut self, changes: Vec<Change>) {
        let numbered = changes.into_iter().map(|change| {
            self.next += 1;
            (ChangeSeq(self.next - 1), change)
        });
        self.thread.send(numbered.collect()).unwrap();
    }

    fn committed(&mut self) -> u64 {
        match self.reports.blocking_recv() {
            Some(StoreReport::Committed(seq)) => seq.0,
            other => panic!("{other:?}"),
        }
    }

    fn recorded(&mut self) -> u64 {
        match self.reports.blocking_recv() {
            Some(StoreReport::Recorded(seq)) => seq.0,
            other => panic!("{other:?}"),
        }
    }

    fn failed(&mut self) -> u64 {
        match self.reports.blocking_recv() {
            Some(StoreReport::NotCommitted { through, .. }) => through.0,
            other => panic!("{other:?}"),
        }
    }
}

fn put(id: u64, payload_len: usize) -> Change {
    Change::Put(JobRecord {
        run_at: None,
        reducer: None,
        id: JobId(id),
        function: "f".into(),
        unique: "".into(),
        priority: Priority::Normal,
        attempts: 0,
        enqueued_at: SystemTime::UNIX_EPOCH,
        payload: Bytes::from(vec![0; payload_len]),
    })
}

#[test]
fn the_end_of_a_job_is_in_the_next_commit_however_many_new_ones_are_before_it() {
    let mut rig = Rig::new();
    let many = COMMIT_CHANGES_MAX as u64;
    let end = Change::Delete(JobId(1));
    rig.send((2..=many + 2).map(|id| put(id, 1)).chain([end.clone()]).collect());
    let first = rig.commits.recv().unwrap();
    assert_eq!((first.len(), first.last()), (COMMIT_CHANGES_MAX + 1, Some(&end)));
    rig.verdicts.send(true).unwrap();
    assert_eq!(rig.committed(), many, "its own number comes in its turn");
    assert_eq!(rig.commits.recv().unwrap(), [put(many + 2, 1), end]);
    rig.verdicts.send(true).unwrap();
    assert_eq!(rig.committed(), many + 2);
}

#[test]
fn what_comes_during_a_commit_shares_the_next_one() {
    let mut rig = Rig::new();
    rig.send(vec![put(1, 1)]);
    assert_eq!(rig.commits.recv().unwrap(), [put(1, 1)]);
    rig.send(vec![put(2, 1), put(3, 1)]);
    rig.send(vec![Change::Delete(JobId(1))]);
    rig.verdicts.send(true).unwrap();
    assert_eq!(rig.committed(), 1);
    let wanted = [put(2, 1), put(3, 1), Change::Delete(JobId(1))];
    assert_eq!(rig.commits.recv().unwrap(), wanted);
    rig.verdicts.send(true).unwrap();
    assert_eq!(rig.committed(), 4);
}

#[test]
fn a_commit_is_bounded_in_changes_and_bytes() {
    let mut rig = Rig::new();
    rig.send((0..600).map(|id| put(id, 1)).collect());
    rig.verdicts.send(true).unwrap();
    assert_eq!(rig.commits.recv().unwrap().len(), COMMIT_CHANGES_MAX);
    rig.verdicts.send(true).unwrap();
    assert_eq!(rig.commits.recv().unwrap().len(), 600 - COMMIT_CHANGES_MAX);
    rig.send((0..5).map(|id| put(id, COMMIT_BYTES_MAX / 2)).collect());
    for wanted in [2, 2, 1] {
        rig.verdicts.send(true).unwrap();
        assert_eq!(rig.commits.recv().unwrap().len(), wanted);
    }
}

#[test]
fn a_failed_commit_is_told_and_the_next_one_is_tried() {
    let mut rig = Rig::new();
    rig.send(vec![put(2, 1), Change::Delete(JobId(1))]);
    rig.verdicts.send(false).unwrap();
    assert_eq!(rig.commits.recv().unwrap().len(), 2);
    assert_eq!(rig.failed(), 2);
    rig.verdicts.send(true).unwrap();
    rig.send(vec![put(3, 1)]);
    assert_eq!(rig.commits.recv().unwrap(), [put(3, 1)]);
    assert_eq!(rig.committed(), 3);
}

#[test]
fn on_a_full_disk_what_adds_nothing_is_kept_and_each_change_has_its_fate() {
    let mut rig = Rig::with_room(false);
    let delete = |id| Change::Delete(JobId(id));
    rig.send(vec![delete(1), put(5, 1), put(6, 1), delete(2), delete(3)]);
    rig.verdicts.send(true).unwrap();
    assert_eq!(rig.commits.recv().unwrap(), [delete(1), delete(2), delete(3)]);
    assert_eq!((rig.recorded(), rig.failed(), rig.recorded()), (1, 3, 5));
}

#[test]
fn closing_commits_what_was_handed_over() {
    let mut rig = Rig::new();
    rig.send(vec![put(1, 1)]);
    rig.send(vec![Change::Delete(JobId(1))]);
    rig.verdicts.send(true).unwrap();
    rig.verdicts.send(true).unwrap();
    rig.thread.close(rig.reports).unwrap();
    let all: Vec<_> = rig.commits.try_iter().flatten().collect();
    assert_eq!(all, [put(1, 1), Change::Delete(JobId(1))]);
}

#[test]
fn a_store_whose_reports_nobody_reads_any_more_can_be_closed() {
    let mut rig = Rig::with_room(false);
    rig.verdicts.send(true).unwrap();
    let refused_and_recorded = |n| [put(n, 1), Change::Delete(JobId(n))];
    rig.send((0..REPORTS_MAX as u64).flat_map(refused_and_recorded).collect());
    rig.commits.recv().unwrap();
    rig.thread.close(rig.reports).unwrap();
}
