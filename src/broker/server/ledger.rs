//! Changes on their way to the disk.

use std::collections::VecDeque;

use crate::broker::record::{Change, ChangeSeq};
use crate::broker::store::{StoreStopped, StoreThread};

/// Bytes of changes under way at which no further packets are read.
const OPEN_BYTES_MAX: usize = 64 << 20;
/// What a change counts beside its payload.
const CHANGE_BYTES: usize = 256;

/// Hands changes to the store's thread and knows how much of them is not durable yet.
#[derive(Debug)]
pub(super) struct Ledger {
    /// `None` once it is closed.
    store: Option<StoreThread>,
    /// The last change of each handed-over batch, and the batch's bytes.
    open: VecDeque<(ChangeSeq, usize)>,
    bytes: usize,
}

impl Ledger {
    pub(super) fn new(store: StoreThread) -> Self {
        Self { store: Some(store), open: VecDeque::new(), bytes: 0 }
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
        let sent = self.store.as_ref().map_or(Err(StoreStopped), |store| store.send(changes));
        sent.map_err(|stopped| (last, stopped))?;
        self.open.push_back((last, bytes));
        self.bytes += bytes;
        Ok(())
    }

    /// Forgets what has been decided up to this change.
    pub(super) fn settle(&mut self, through: ChangeSeq) {
        while let Some((last, bytes)) = self.open.front()
            && *last <= through
        {
            self.bytes -= bytes;
            self.open.pop_front();
        }
    }

    /// The last change that is not decided.
    pub(super) fn last_open(&self) -> Option<ChangeSeq> {
        self.open.back().map(|(last, _)| *last)
    }

    /// True when more is under way than should wait for one disk.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > OPEN_BYTES_MAX
    }

    /// True when every change is decided.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Commits what is under way and ends the store's thread.
    pub(super) fn close(&mut self) -> Result<(), StoreStopped> {
        self.store.take().map_or(Ok(()), StoreThread::close)
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
