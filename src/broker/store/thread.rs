//! The thread that owns a store and groups what waits into one commit.
//!
//! Batches form by themselves: while one commit waits for the disk, the changes of the next
//! gather. The broker's thread hears of each commit, failed ones too; nothing is tried again here,
//! and nothing here knows what a change is for.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use super::{Store, StoreError};
use crate::broker::record::{Change, ChangeSeq};

/// Changes in one commit at most; more only add to the wait of the first.
pub const COMMIT_CHANGES_MAX: usize = 512;
/// Payload bytes at which a commit is closed.
const COMMIT_BYTES_MAX: usize = 1 << 20;
/// Reports on their way to the broker's thread; the store waits when there are more.
const REPORTS_MAX: usize = 64;

/// What became of a commit.
#[derive(Debug)]
pub enum StoreReport {
    /// All changes up to this one are durable.
    Committed(ChangeSeq),
    /// All changes up to this one are durable, and yet there is no room for jobs.
    Recorded(ChangeSeq),
    /// Those after the last committed one, up to this one, are not kept.
    NotCommitted {
        /// The last of them.
        through: ChangeSeq,
        /// Why.
        reason: String,
    },
}

/// The broker thread's end of the store.
///
/// Changes go through a channel without a bound of its own: the broker stops reading from its
/// connections while more than it wants is under way.
#[derive(Debug)]
pub struct StoreThread {
    changes: Sender<Vec<(ChangeSeq, Change)>>,
    join: JoinHandle<()>,
}

impl StoreThread {
    /// Starts the thread; reports come through the receiver.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(store: Box<dyn Store>) -> io::Result<(Self, mpsc::Receiver<StoreReport>)> {
        let (changes, inbox) = channel();
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        let mut writer = Writer { store, inbox, reports, open: Vec::new() };
        let join = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run())?;
        Ok((Self { changes, join }, receiver))
    }

    /// Hands over changes, in the order of their numbers.
    ///
    /// # Errors
    /// When the thread has ended, which it does only by a panic.
    pub fn send(&self, changes: Vec<(ChangeSeq, Change)>) -> Result<(), StoreStopped> {
        self.changes.send(changes).or(Err(StoreStopped))
    }

    /// Commits what was handed over, and ends the thread. Its reports come with it, since nobody
    /// reads them meanwhile and the thread would wait for room among them for ever.
    ///
    /// # Errors
    /// When the thread had panicked.
    pub fn close(self, reports: mpsc::Receiver<StoreReport>) -> Result<(), StoreStopped> {
        drop(reports);
        drop(self.changes);
        self.join.join().or(Err(StoreStopped))
    }
}

/// The store's thread is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's thread has stopped")]
pub struct StoreStopped;

struct Writer {
    store: Box<dyn Store>,
    inbox: Receiver<Vec<(ChangeSeq, Change)>>,
    reports: mpsc::Sender<StoreReport>,
    /// Received, not yet committed.
    open: Vec<(ChangeSeq, Change)>,
}

impl Writer {
    fn run(&mut self) {
        while self.gather() {
            while !self.open.is_empty() {
                self.commit_some();
            }
        }
    }

    /// Waits for changes; false when nothing more will come.
    fn gather(&mut self) -> bool {
        let Ok(changes) = self.inbox.recv() else { return false };
        self.open.extend(changes);
        true
    }

    fn take_what_waits(&mut self) {
        while let Ok(changes) = self.inbox.try_recv() {
            self.open.extend(changes);
        }
    }

    /// Commits the front of what is open and reports it.
    fn commit_some(&mut self) {
        self.take_what_waits();
        let count = commit_len(&self.open);
        let (seqs, mut changes): (Vec<_>, Vec<_>) = self.open.drain(..count).unzip();
        // A job that has run must not come again because many new ones are before its end. It is
        // deleted a second time at its place, should a change before that bring it back.
        let ends = self.open.iter().filter(|(_, change)| matches!(change, Change::Delete(_)));
        changes.extend(ends.map(|(_, end)| end.clone()));
        let Some(last) = seqs.last().copied() else { return };
        match self.store.commit(&changes) {
            Ok(()) if self.store.has_room() => self.report(StoreReport::Committed(last)),
            Ok(()) => self.report(StoreReport::Recorded(last)),
            Err(error @ StoreError::Full { .. }) => {
                self.record_the_rest(&seqs, &changes, &error.to_string());
            }
            Err(error) => {
                self.report(StoreReport::NotCommitted { through: last, reason: error.to_string() });
            }
        }
    }

    /// Commits what adds nothing, for a job that has run must not come back because the disk is
    /// full, and reports each run of changes that had one fate.
    fn record_the_rest(&mut self, seqs: &[ChangeSeq], changes: &[Change], reason: &str) {
        let rest: Vec<Change> = changes.iter().filter(|change| !change.adds()).cloned().collect();
        let recorded = rest.is_empty() || self.store.commit(&rest).is_ok();
        let mut fates = seqs.iter().zip(changes).peekable();
        while let Some((seq, change)) = fates.next() {
            let kept = recorded && !change.adds();
            let same_fate = |next: &&(&ChangeSeq, &Change)| kept == (recorded && !next.1.adds());
            if fates.peek().as_ref().is_some_and(same_fate) {
                continue;
            }
            self.report(if kept {
                StoreReport::Recorded(*seq)
            } else {
                StoreReport::NotCommitted { through: *seq, reason: reason.to_owned() }
            });
        }
    }

    fn report(&self, report: StoreReport) {
        // A broker that has gone needs no report, and what it sent is still committed.
        self.reports.blocking_send(report).unwrap_or_default();
    }
}

/// How many of the first changes make one commit.
fn commit_len(open: &[(ChangeSeq, Change)]) -> usize {
    let mut bytes = 0;
    open.iter()
        .take(COMMIT_CHANGES_MAX)
        .take_while(|(_, change)| {
            let room = bytes < COMMIT_BYTES_MAX;
            if let Change::Put(record) = change {
                bytes += record.payload.len();
            }
            room
        })
        .count()
}

#[cfg(test)]
mod tests;
