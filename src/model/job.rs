//! What clients name a job by: its function, its unique and its priority.

use std::fmt;

use bytes::Bytes;

/// A Gearman function name: any bytes without NUL, as clients send it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionName(pub Bytes);

/// The key that makes two submissions of one function the same job; empty when there is none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unique(pub Bytes);

/// A job's priority; the order of the variants is the order of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before everything else.
    High,
    /// What a client gets that asks for nothing.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// All priorities in the order of service.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

impl From<&str> for FunctionName {
    fn from(name: &str) -> Self {
        Self(Bytes::copy_from_slice(name.as_bytes()))
    }
}

impl From<&str> for Unique {
    fn from(unique: &str) -> Self {
        Self(Bytes::copy_from_slice(unique.as_bytes()))
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FunctionName({})", self.0.escape_ascii())
    }
}

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unique({})", self.0.escape_ascii())
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        })
    }
}
