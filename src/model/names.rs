//! Names of pools and workers, and the patterns that pick several of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use wildmatch::WildMatch;

/// Longest pool name; it becomes part of file names.
const POOL_NAME_LEN_MAX: usize = 64;

/// The name of a pool: letters, digits, `_`, `-` and `.`, not starting with a dot or a dash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(Arc<str>);

/// A slot of a pool, `POOL:N` with N from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerName {
    /// The pool.
    pub pool: PoolName,
    /// The slot's number, from 1.
    pub index: u32,
}

/// What an operator types for NAME: `all`, a pool, a worker, or a pattern with `*` and `?`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern {
    text: String,
    pool: WildMatch,
    index: Option<WildMatch>,
}

/// A name that cannot name a pool or a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not a pool name.
    #[error(
        "'{0}' cannot name a pool; use letters, digits, '_', '-' and '.', at most 64, and begin \
         with a letter, a digit or '_'"
    )]
    Pool(String),
    /// `all` would mean every pool.
    #[error("'all' cannot name a pool: it stands for every pool")]
    Reserved,
    /// Not `POOL:N`.
    #[error("'{0}' is not a worker; write POOL:N with N from 1")]
    Worker(String),
}

impl PoolName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The worker with this number in the pool.
    #[must_use]
    pub fn worker(&self, index: u32) -> WorkerName {
        WorkerName { pool: self.clone(), index }
    }
}

impl FromStr for PoolName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if text == "all" {
            return Err(InvalidName::Reserved);
        }
        if !begins_well || !text.chars().all(plain) || text.len() > POOL_NAME_LEN_MAX {
            return Err(InvalidName::Pool(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for WorkerName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName::Worker(text.to_owned());
        let (pool, index) = text.rsplit_once(':').ok_or_else(wrong)?;
        let index = index.parse().ok().filter(|index| *index > 0).ok_or_else(wrong)?;
        Ok(Self { pool: pool.parse()?, index })
    }
}

impl NamePattern {
    /// Reads what an operator typed; every text is a pattern, though it may match nothing.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (pool, index) = match text.rsplit_once(':') {
            Some((pool, index)) => (pool, Some(WildMatch::new(index))),
            None => (if text == "all" { "*" } else { text }, None),
        };
        Self { text: text.to_owned(), pool: WildMatch::new(pool), index }
    }

    /// True when the pattern speaks of the pool as a whole, not of single workers.
    #[must_use]
    pub fn is_pool(&self) -> bool {
        self.index.is_none()
    }

    /// True when this pool, or workers of it, are meant.
    #[must_use]
    pub fn matches_pool(&self, pool: &PoolName) -> bool {
        self.pool.matches(pool.as_str())
    }

    /// True when this worker is meant, by itself or through its pool.
    #[must_use]
    pub fn matches_worker(&self, worker: &WorkerName) -> bool {
        let index = || worker.index.to_string();
        self.matches_pool(&worker.pool)
            && self.index.as_ref().is_none_or(|pattern| pattern.matches(&index()))
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolName({})", self.0)
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pool, self.index)
    }
}

impl fmt::Debug for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerName({self})")
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_names_become_file_names_safely() {
        for good in ["a", "thumbnails", "check_host.v2", "9-to-5"] {
            assert!(good.parse::<PoolName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-x", "a/b", "a:1", "a b", "all", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<PoolName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_worker_name_reads_back_as_written() {
        let worker: WorkerName = "thumbnails:3".parse().unwrap();
        assert_eq!((worker.pool.as_str(), worker.index), ("thumbnails", 3));
        assert_eq!(worker.to_string(), "thumbnails:3");
        for bad in ["thumbnails", "thumbnails:0", "thumbnails:x", ":1"] {
            assert!(bad.parse::<WorkerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_pick_pools_and_workers() {
        let worker: WorkerName = "thumbnails:1".parse().unwrap();
        for yes in ["all", "thumbnails", "thumb*", "*:1", "thumbnails:1", "t*:?"] {
            assert!(NamePattern::new(yes).matches_worker(&worker), "{yes}");
        }
        for no in ["thumb", "*:2", "thumbnails:10", "all:1"] {
            assert!(!NamePattern::new(no).matches_worker(&worker), "{no}");
        }
    }
}
