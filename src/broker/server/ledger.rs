//! Changes on their way to the disk.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::broker::record::{Change, ChangeSeq};
use crate::broker::store::{StoreReport, StoreStopped, StoreThread};

/// Changes under way, and their bytes, at which no further jobs are read: some commits' worth, so
/// that the disk is never idle, and the end of a job is recorded soon, also behind a flood of new
/// ones.
const OPEN_CHANGES_MAX: usize = 2048;
const OPEN_BYTES_MAX: usize = 16 << 20;
/// What a change counts beside its payload.
const CHANGE_BYTES: usize = 256;

/// Hands changes to the store's thread and knows how much of them is not durable yet.
#[derive(Debug)]
pub(super) struct Ledger {
    /// `None` once it is closed.
    store: Option<StoreThread>,
    /// The last change of each handed-over batch, how many it has, and their bytes.
    open: VecDeque<(ChangeSeq, usize, usize)>,
    count: usize,
    bytes: usize,
}

impl Ledger {
    pub(super) fn new(store: StoreThread) -> Self {
        Self { store: Some(store), open: VecDeque::new(), count: 0, bytes: 0 }
    }

    /// Hands a batch over.
    ///
    /// # Errors
    /// With the batch's last change, when there is no store any more.
    pub(super) fn hand_over(
        &mut self,
        changes: Vec<(ChangeSeq, Change)>,
    ) -> Result<(), (ChangeSeq, StoreStopped)> {
        let Some(last) = changes.last().map(|(seq, _)| *seq) else { return Ok(()) };
        let bytes = changes.iter().map(|(_, change)| bytes_of(change)).sum();
        let count = changes.len();
        let sent = self.store.as_ref().map_or(Err(StoreStopped), |store| store.send(changes));
        sent.map_err(|stopped| (last, stopped))?;
        self.open.push_back((last, count, bytes));
        self.count += count;
        self.bytes += bytes;
        Ok(())
    }

    /// Forgets what has been decided up to this change.
    pub(super) fn settle(&mut self, through: ChangeSeq) {
        while let Some((last, count, bytes)) = self.open.front()
            && *last <= through
        {
            self.count -= count;
            self.bytes -= bytes;
            self.open.pop_front();
        }
    }

    /// The last change that is not decided.
    pub(super) fn last_open(&self) -> Option<ChangeSeq> {
        self.open.back().map(|(last, ..)| *last)
    }

    /// True when more is under way than should wait for one disk.
    pub(super) fn is_full(&self) -> bool {
        self.count > OPEN_CHANGES_MAX || self.bytes > OPEN_BYTES_MAX
    }

    /// True when every change is decided.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Commits what is under way and ends the store's thread.
    pub(super) fn close(
        &mut self,
        reports: mpsc::Receiver<StoreReport>,
    ) -> Result<(), StoreStopped> {
        self.store.take().map_or(Ok(()), |store| store.close(reports))
    }
}

fn bytes_of(change: &Change) -> usize {
    CHANGE_BYTES
        + match change {
            Change::Put(record) => record.payload.len(),
            Change::PutSchedule(record) => record.payload.len(),
            Change::Update(_)
            | Change::Delete(_)
            | Change::Purge(_)
            | Change::DeleteSchedule(_)
            | Change::Pause(_)
            | Change::Resume(_)
            | Change::ReserveHandles { .. } => 0,
        }
}
