//! What was seen of pools, for the next start of the daemon: what was learned need not be learned
//! again, and what came of the last time can be told. Nothing breaks without it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::book::Kept;

/// What is known of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// What its workers registered, where the file does not say it.
    pub serves: Option<Served>,
    /// What came of its last time.
    pub last: Option<LastTime>,
}

/// What a pool's workers registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Tells their program from others.
    pub program: u64,
    /// The functions.
    pub functions: Vec<String>,
}

/// What came of a time of a pool's timetable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTime {
    /// When, in seconds of the Unix epoch.
    pub at: u64,
    /// `exit 0`, `submitted job H:x:3`
    pub said: String,
    /// The handle of the last job; empty when none was submitted.
    pub handle: String,
}

impl Kept for Memory {
    const FILE: &'static str = "memory";
    const WHAT: &'static str = "what was known of pools";
}

impl LastTime {
    /// What came of this moment.
    #[must_use]
    pub fn now(said: String, handle: String) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { at: since.as_secs(), said, handle }
    }

    /// When.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.at));
        at.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
