//! The load as it comes, for whoever records it.

use serde::{Deserialize, Serialize};

/// `GET /v1/trace`: one of these per line, from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TraceRecord {
    /// A job has ended.
    Ended {
        /// Its function; bytes that are no UTF-8 are replaced.
        function: String,
        /// Seconds from the request until it came; below zero if it was there before.
        at: f64,
        /// Seconds that it waited, earlier attempts at it included.
        wait: f64,
        /// Seconds that its worker took; absent when it was given up because its workers died.
        service: Option<f64>,
    },
    /// The reader was too slow: so many jobs were dropped here.
    Missed {
        /// How many.
        missed: u64,
    },
}
