//! Changes on their way to the disk.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::broker::record::{Change, ChangeSeq};
use crate::broker::store::{COMMIT_CHANGES_MAX, StoreReport, StoreStopped, StoreThread};

/// Changes under way, and their bytes, at which no further jobs are read: two commits' worth, so that
/// the disk is never idle, and the end of a job is recorded soon, also behind a flood of new ones.
const OPEN_CHANGES_MAX: usize = 2 * COMMIT_CHANGES_MAX;
const OPEN_BYTES_MAX: usize = 16 << 20;
/// How long ends of jobs wait for changes that somebody waits for, to share their commit: waking the
/// store's thread for each costs more than a commit of many.
const ENDS_WAIT: Duration = Duration::from_millis(10);
/// Ends of jobs that are worth a commit of their own: as many as one takes.
const ENDS_MAX: usize = COMMIT_CHANGES_MAX;
/// Changes that a store with nothing to do is given before the round is over, so that it works while
/// the rest of the round is read. With fewer a commit would cost more than it carries.
const EARLY_LEN: usize = 16;
/// What a change counts beside its payload.
const CHANGE_BYTES: usize = 256;

/// Gathers changes, hands them to the store's thread, and knows how much of them is not durable yet.
#[derive(Debug)]
pub(super) struct Ledger {
    /// `None` once it is closed.
    store: Option<StoreThread>,
    /// Not handed over yet.
    gathered: Vec<(ChangeSeq, Change)>,
    /// When they are to be.
    due: Option<Instant>,
    /// How long ends of jobs may wait.
    ends_wait: Duration,
    /// Of what was handed over, what the store may commit at once: the last change, how many there
    /// are, and their bytes.
    open: VecDeque<(ChangeSeq, usize, usize)>,
    /// Of both.
    count: usize,
    bytes: usize,
}

impl Ledger {
    pub(super) fn new(store: StoreThread) -> Self {
        Self {
            store: Some(store),
            gathered: Vec::new(),
            due: None,
            ends_wait: ENDS_WAIT,
            open: VecDeque::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// Takes the changes of a turn.
    pub(super) fn take(&mut self, changes: &mut Vec<(ChangeSeq, Change)>, now: Instant) {
        if changes.is_empty() {
            return;
        }
        let only_ends = changes.iter().all(|(_, change)| matches!(change, Change::Delete(_)));
        self.count += changes.len();
        self.bytes += bytes_of_all(changes);
        self.gathered.append(changes);
        // While no jobs are read there is nothing to wait for.
        if !only_ends || self.gathered.len() >= ENDS_MAX || self.is_full() {
            self.due = Some(now);
        } else if self.due.is_none() {
            self.due = Some(now + self.ends_wait);
        }
    }

    /// When what has been taken is to be handed over.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is to be handed over now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether the store waits for what is due now and is worth a commit.
    pub(super) fn keeps_the_store_waiting(&self, now: Instant) -> bool {
        self.is_due(now) && self.open.is_empty() && self.gathered.len() >= EARLY_LEN
    }

    /// Has the store's thread commit what has been taken.
    ///
    /// # Errors
    /// With the last change of it, when there is no store any more.
    pub(super) fn hand_over(&mut self) -> Result<(), (ChangeSeq, StoreStopped)> {
        self.due = None;
        let Some(last) = self.gathered.last().map(|(seq, _)| *seq) else { return Ok(()) };
        // The next ones are likely to be as many.
        let room = Vec::with_capacity(self.gathered.len());
        let changes = std::mem::replace(&mut self.gathered, room);
        for piece in changes.chunks(COMMIT_CHANGES_MAX) {
            let through = piece.last().map_or(last, |(seq, _)| *seq);
            self.open.push_back((through, piece.len(), bytes_of_all(piece)));
        }
        let sent = self.store.as_ref().map_or(Err(StoreStopped), |store| store.send(changes));
        sent.map_err(|stopped| {
            self.settle(last);
            (last, stopped)
        })
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
        let gathered = self.gathered.last().map(|(last, _)| *last);
        gathered.or_else(|| self.open.back().map(|(last, ..)| *last))
    }

    /// True when more is under way than should wait for one disk.
    pub(super) fn is_full(&self) -> bool {
        self.count > OPEN_CHANGES_MAX || self.bytes > OPEN_BYTES_MAX
    }

    /// True when every change is decided.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty() && self.gathered.is_empty()
    }

    /// Lets nothing wait from now on.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.ends_wait = Duration::ZERO;
        if let Some(due) = &mut self.due {
            *due = now;
        }
    }

    /// Commits what is under way and ends the store's thread.
    pub(super) fn close(
        &mut self,
        reports: mpsc::Receiver<StoreReport>,
    ) -> Result<(), StoreStopped> {
        self.hand_over().map_err(|(_, stopped)| stopped)?;
        self.store.take().map_or(Ok(()), |store| store.close(reports))
    }
}

fn bytes_of_all(changes: &[(ChangeSeq, Change)]) -> usize {
    changes.iter().map(|(_, change)| bytes_of(change)).sum()
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::broker::store::MemoryStore;
    use crate::model::JobId;

    fn ledger() -> (Ledger, mpsc::Receiver<StoreReport>) {
        let store = MemoryStore::new("H:x", SystemTime::UNIX_EPOCH);
        let (thread, reports) = StoreThread::start(Box::new(store)).unwrap();
        (Ledger::new(thread), reports)
    }

    fn ends(seqs: std::ops::RangeInclusive<u64>) -> Vec<(ChangeSeq, Change)> {
        seqs.map(|seq| (ChangeSeq(seq), Change::Delete(JobId(seq)))).collect()
    }

    #[test]
    fn ends_wait_for_what_somebody_waits_for() {
        let (mut ledger, mut reports) = ledger();
        let start = Instant::now();
        ledger.take(&mut ends(1..=1), start);
        assert_eq!(ledger.due(), Some(start + ENDS_WAIT));
        ledger.take(&mut ends(2..=2), start + ENDS_WAIT / 2);
        assert_eq!(ledger.due(), Some(start + ENDS_WAIT), "the first one waits no longer");
        assert_eq!((ledger.last_open(), ledger.is_settled()), (Some(ChangeSeq(2)), false));

        let now = start + ENDS_WAIT / 2;
        let reserve = Change::ReserveHandles { through: JobId(9) };
        ledger.take(&mut vec![(ChangeSeq(3), reserve)], now);
        assert_eq!(ledger.due(), Some(now));
        ledger.hand_over().unwrap();
        assert_eq!(ledger.due(), None);
        let Some(StoreReport::Committed(through)) = reports.blocking_recv() else { panic!() };
        assert_eq!(through, ChangeSeq(3), "all of them are in one commit");
        ledger.settle(through);
        assert!(ledger.is_settled());
    }

    #[test]
    fn many_ends_wait_for_nothing_and_none_does_once_it_hurries() {
        let (mut ledger, _reports) = ledger();
        let (start, many) = (Instant::now(), ENDS_MAX as u64);
        ledger.take(&mut ends(1..=many - 1), start);
        assert_eq!(ledger.due(), Some(start + ENDS_WAIT));
        ledger.take(&mut ends(many..=many), start);
        assert_eq!(ledger.due(), Some(start));
        ledger.hand_over().unwrap();

        ledger.take(&mut ends(many + 1..=many + 1), start);
        ledger.hurry(start);
        assert_eq!(ledger.due(), Some(start));
        ledger.hand_over().unwrap();
        ledger.take(&mut ends(many + 2..=many + 2), start);
        assert_eq!(ledger.due(), Some(start));
    }

    #[test]
    fn a_store_with_nothing_to_do_is_given_what_is_worth_a_commit() {
        let (mut ledger, _reports) = ledger();
        let (now, early) = (Instant::now(), EARLY_LEN as u64);
        ledger.take(&mut ends(1..=early), now);
        assert!(!ledger.keeps_the_store_waiting(now), "nobody waits for ends of jobs");
        let mut reserve =
            vec![(ChangeSeq(early + 1), Change::ReserveHandles { through: JobId(9) })];
        ledger.take(&mut reserve, now);
        assert!(ledger.keeps_the_store_waiting(now));
        ledger.hand_over().unwrap();
        ledger.take(&mut ends(early + 2..=2 * early + 2), now + ENDS_WAIT);
        assert!(!ledger.keeps_the_store_waiting(now + 2 * ENDS_WAIT), "it has something to do");
    }

    #[test]
    fn closing_commits_what_waited() {
        let (mut ledger, reports) = ledger();
        ledger.take(&mut ends(1..=1), Instant::now());
        ledger.close(reports).unwrap();
        assert_eq!(ledger.last_open(), Some(ChangeSeq(1)), "it was handed over");
        assert_eq!(ledger.due(), None);
    }
}
