//! What an outlet has not sent yet.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Parcel;

/// Bytes that wait; when it is full, the oldest parcels are dropped and counted.
const QUEUE_LEN_MAX: usize = 8 * 1024 * 1024;
/// What a parcel costs besides its bytes.
const PARCEL_LEN: usize = 2 * size_of::<Parcel>();

/// A queue between the logs' thread, which never waits, and that of an outlet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    parcels: VecDeque<Parcel>,
    len: usize,
    dropped: u64,
    closed: bool,
}

impl Queue {
    /// Adds a parcel, and shows `lose` those that are dropped for it; after the close that is it.
    pub(super) fn push(&self, parcel: Parcel, mut lose: impl FnMut(&Parcel)) {
        let mut state = self.lock();
        if state.closed {
            lose(&parcel);
            return;
        }
        state.len += parcel.bytes.len() + PARCEL_LEN;
        state.parcels.push_back(parcel);
        while state.len > QUEUE_LEN_MAX && state.parcels.len() > 1 {
            let Some(oldest) = state.parcels.pop_front() else { break };
            state.len -= oldest.bytes.len() + PARCEL_LEN;
            state.dropped += oldest.bytes.len() as u64;
            lose(&oldest);
        }
        self.filled.notify_one();
    }

    /// Waits for a parcel, and says how many bytes were dropped before it; `None` when the queue is
    /// closed and empty.
    pub(super) fn pop(&self) -> Option<(Parcel, u64)> {
        let mut state = self.lock();
        loop {
            if let Some(parcel) = state.parcels.pop_front() {
                state.len -= parcel.bytes.len() + PARCEL_LEN;
                return Some((parcel, std::mem::take(&mut state.dropped)));
            }
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the outlet end when it has sent what is there.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_from_the_oldest_and_counted() {
        let queue = Queue::default();
        let parcel =
            |n: u8| Parcel { bytes: vec![n; 1 << 20].into(), ..super::super::tests::parcel(b"") };
        let mut lost = Vec::new();
        (0..20).for_each(|n| queue.push(parcel(n), |parcel| lost.push(parcel.bytes[0])));
        queue.close();
        queue.push(parcel(99), |parcel| lost.push(parcel.bytes[0]));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let dropped: u64 = popped.iter().map(|(_, dropped)| dropped).sum();
        assert_eq!((popped.len() as u64) << 20, (20 << 20) - dropped);
        assert_eq!(lost.pop(), Some(99));
        assert_eq!((lost.len() as u64) << 20, dropped);
        assert!(dropped > 0 && popped.last().unwrap().0.bytes[0] == 19);
    }
}
