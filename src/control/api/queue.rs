//! Functions, many jobs at once, and jobs that move.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// `POST /v1/pause`, `/v1/resume`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Functions {
    /// Names or patterns.
    pub functions: Vec<String>,
}

/// `POST /v1/queue/cancel`, `/v1/queue/retry`, `/v1/queue/purge`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueRequest {
    /// Only these jobs.
    pub handles: Vec<String>,
    /// Only jobs of functions of this name or pattern.
    pub function: Option<String>,
    /// Only jobs that were submitted, or died, at least so many seconds ago.
    pub older_than: Option<f64>,
    /// Whether to tell only what would be done.
    pub dry_run: bool,
}

/// What such an order did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDone {
    /// How many jobs.
    pub count: usize,
    /// The first of their handles.
    pub handles: Vec<String>,
}

/// `GET /v1/queue/export`: one of these per line, for each background job that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedJob {
    /// Its handle.
    pub handle: String,
    /// Its function.
    pub function: Text,
    /// Its unique; may be empty.
    pub unique: Text,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// Not to be run before this second since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<u64>,
    /// The function that puts the parts of its result together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reducer: Option<Text>,
    /// The workload.
    pub payload: Text,
}

/// Bytes: a string when they are UTF-8, else `{"base64": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// They are UTF-8.
    Plain(String),
    /// They are not.
    Encoded {
        /// The bytes.
        #[serde(with = "encoded")]
        base64: Vec<u8>,
    },
}

impl Text {
    /// These bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text.to_owned()),
            Err(_) => Self::Encoded { base64: bytes.to_vec() },
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Plain(text) => Bytes::copy_from_slice(text.as_bytes()),
            Self::Encoded { base64 } => Bytes::copy_from_slice(base64),
        }
    }
}

/// Base64 in JSON.
mod encoded {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
