//! The jobs in one session's hands, by the handles that its worker knows them by.
//!
//! Servers number their jobs each for itself, so two jobs may come with one handle. The second one
//! is then known to the worker by another, and reports are told by the server's own.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use crate::model::{FunctionName, Unique};
use crate::protocol::HANDLE_LEN_MAX;

/// A job in hand.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) server: usize,
    /// Its handle there.
    pub(super) handle: Bytes,
    pub(super) function: FunctionName,
    pub(super) unique: Unique,
    pub(super) since: Instant,
    pub(super) progress: Option<(u32, u32)>,
    pub(super) payload_len: usize,
    /// Its server was lost and gives it to somebody else; what comes of it is for nobody.
    pub(super) is_orphan: bool,
}

/// All of a session.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_handle: BTreeMap<Bytes, Held>,
}

impl Jobs {
    /// Takes a job in; tells by what handle the worker is to know it.
    pub(super) fn insert(&mut self, held: Held) -> Bytes {
        let mut handle = held.handle.clone();
        let mut number = 1;
        while self.by_handle.contains_key(&handle) {
            number += 1;
            handle = renamed(&held.handle, number);
        }
        self.by_handle.insert(handle.clone(), held);
        handle
    }

    pub(super) fn get_mut(&mut self, handle: &[u8]) -> Option<&mut Held> {
        self.by_handle.get_mut(handle)
    }

    pub(super) fn remove(&mut self, handle: &[u8]) -> Option<Held> {
        self.by_handle.remove(handle)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.by_handle.values()
    }

    pub(super) fn any_at(&self, server: usize) -> bool {
        self.by_handle.values().any(|held| held.server == server && !held.is_orphan)
    }

    /// Marks the jobs of a lost server, and gives their handles.
    pub(super) fn orphan(&mut self, server: usize) -> Vec<Bytes> {
        let lost = |held: &&mut Held| held.server == server && !held.is_orphan;
        let lost = self.by_handle.values_mut().filter(lost);
        let orphan = |held: &mut Held| {
            held.is_orphan = true;
            held.handle.clone()
        };
        lost.map(orphan).collect()
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Held> + use<> {
        std::mem::take(&mut self.by_handle).into_values()
    }
}

/// The handle with a number behind it, cut at its front where there is no room for both.
fn renamed(handle: &[u8], number: u32) -> Bytes {
    let suffix = format!("+{number}");
    let excess = (handle.len() + suffix.len()).saturating_sub(HANDLE_LEN_MAX);
    let kept = handle.get(excess..).unwrap_or_default();
    [kept, suffix.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_handle_of_two_servers_is_two_to_the_worker() {
        let now = Instant::now();
        let held = |server, handle: &str| Held {
            server,
            handle: Bytes::copy_from_slice(handle.as_bytes()),
            function: "f".into(),
            unique: "".into(),
            since: now,
            progress: None,
            payload_len: 0,
            is_orphan: false,
        };
        let mut jobs = Jobs::default();
        assert_eq!(jobs.insert(held(0, "H:x:1")), "H:x:1");
        assert_eq!(jobs.insert(held(1, "H:x:1")), "H:x:1+2");
        assert_eq!(jobs.get_mut(b"H:x:1+2").unwrap().server, 1);
        let long = format!("H:{}:1", "x".repeat(59));
        assert_eq!(jobs.insert(held(0, &long)), long);
        let other = jobs.insert(held(1, &long));
        assert_eq!(other.len(), HANDLE_LEN_MAX);
        assert_eq!(jobs.remove(&other).unwrap().handle, long);
    }
}
