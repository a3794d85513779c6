//! What operators asked of pools: what was stopped stays stopped when the daemon starts anew.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::book::Kept;

/// What is wanted of a pool beside the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Intents {
    /// It was stopped.
    pub stopped: bool,
    /// Numbers of workers that were stopped.
    pub held: BTreeSet<u32>,
    /// Its count was set.
    pub hold: Option<HoldIntent>,
}

/// A hold of a pool's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenHold")]
pub struct HoldIntent {
    /// At least so many.
    pub min: u32,
    /// At most so many; not less than `min`.
    pub max: u32,
    /// Seconds of the Unix epoch at which it ends by itself.
    pub until: Option<u64>,
}

/// A hold as it is read, by whoever it was written.
#[derive(Deserialize)]
struct WrittenHold {
    min: u32,
    max: u32,
    until: Option<u64>,
}

impl Kept for Intents {
    const FILE: &'static str = "intents";
    const WHAT: &'static str = "what operators asked for";
}

impl TryFrom<WrittenHold> for HoldIntent {
    type Error = String;

    fn try_from(WrittenHold { min, max, until }: WrittenHold) -> Result<Self, String> {
        if min > max {
            return Err(format!("min {min} is above max {max}"));
        }
        Ok(Self { min, max, until })
    }
}
