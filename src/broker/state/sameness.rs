//! What makes two submissions the same job, kept as keyed 128-bit hashes.
//!
//! The texts themselves may be long, and those of jobs far down a queue are on disk only. The key
//! is drawn at the start, so nobody outside can make two uniques collide; by chance it takes 10^19
//! jobs. The table is split in 256, so that growing a part of it stalls nobody.

use bytes::Bytes;
use hashbrown::HashTable;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::fmt;
use std::hash::Hasher;

use crate::model::{JobId, Unique};

const SHARDS: usize = 256;
/// Room for so many entries is never given back.
const SPARE_LEN: usize = 16;

/// The hash of what makes two submissions to one function the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sameness {
    high: u64,
    low: u64,
}

/// Makes hashes that only this process can make.
#[derive(Clone, Copy)]
pub(super) struct Hashing {
    key: [u8; 16],
}

/// The jobs that a submission can join.
#[derive(Debug)]
pub(super) struct Uniques {
    shards: Box<[HashTable<Entry>]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    same: Sameness,
    job: JobId,
}

impl Sameness {
    /// The part of it that a job keeps, to be taken out of the table by.
    pub(super) fn high(self) -> u64 {
        self.high
    }
}

impl Hashing {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// Nothing for an empty unique, and for `-` with an empty workload: those never coalesce. The
    /// unique `-` means that the workload counts.
    pub(super) fn of(self, unique: &Unique, payload: &Bytes) -> Option<Sameness> {
        match unique.0.as_ref() {
            b"" => None,
            b"-" if payload.is_empty() => None,
            b"-" => Some(self.hash(1, payload)),
            text => Some(self.hash(0, text)),
        }
    }

    fn hash(self, kind: u8, text: &[u8]) -> Sameness {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u8(kind);
        hasher.write(text);
        let hash = hasher.finish128();
        Sameness { high: hash.h1, low: hash.h2 }
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashing")
    }
}

impl Uniques {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }

    /// The jobs of any function that are the same.
    pub(super) fn find(&self, same: Sameness) -> impl Iterator<Item = JobId> {
        let entries = self.shards.get(shard_of(same.high)).into_iter();
        let entries = entries.flat_map(move |shard| shard.iter_hash(same.high));
        entries.filter(move |entry| entry.same == same).map(|entry| entry.job)
    }

    pub(super) fn insert(&mut self, same: Sameness, job: JobId) {
        if let Some(shard) = self.shards.get_mut(shard_of(same.high)) {
            shard.insert_unique(same.high, Entry { same, job }, |entry| entry.same.high);
        }
    }

    /// Takes out the entry of a job, if it has one.
    pub(super) fn remove(&mut self, high: u64, job: JobId) {
        let Some(shard) = self.shards.get_mut(shard_of(high)) else { return };
        if let Ok(entry) = shard.find_entry(high, |entry| entry.job == job) {
            entry.remove();
        }
        if shard.len() * 8 < shard.capacity() && shard.capacity() > SPARE_LEN {
            shard.shrink_to(shard.len() * 2, |entry| entry.same.high);
        }
    }
}

/// Bits that the table inside does not look at first.
fn shard_of(high: u64) -> usize {
    usize::from((high >> 48).to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(unique: &str, payload: &str) -> Option<Sameness> {
        Hashing::new([7; 16]).of(&unique.into(), &Bytes::copy_from_slice(payload.as_bytes()))
    }

    #[test]
    fn uniques_and_workloads_are_never_the_same() {
        assert_eq!(same("", "x"), None);
        assert_eq!(same("-", ""), None);
        assert_eq!(same("a", "x"), same("a", "y"));
        assert_eq!(same("-", "x"), same("-", "x"));
        assert_ne!(same("-", "x"), same("-", "y"));
        assert_ne!(same("-", "x"), same("x", ""), "a workload is no unique");
        let other = Hashing::new([8; 16]).of(&"a".into(), &Bytes::new());
        assert_ne!(same("a", ""), other, "the key counts");
    }

    #[test]
    fn a_table_that_was_large_gives_its_room_back() {
        let mut uniques = Uniques::new();
        let all: Vec<Sameness> = (0..20_000).filter_map(|n| same(&n.to_string(), "")).collect();
        for (n, same) in all.iter().enumerate() {
            uniques.insert(*same, JobId(n as u64));
        }
        for (n, same) in all.iter().enumerate() {
            assert_eq!(uniques.find(*same).collect::<Vec<_>>(), [JobId(n as u64)]);
            uniques.remove(same.high(), JobId(n as u64));
            assert_eq!(uniques.find(*same).next(), None);
        }
        let room: usize = uniques.shards.iter().map(HashTable::capacity).sum();
        assert!(room <= SHARDS * SPARE_LEN, "{room}");
    }
}
