//! Other supervisors' files → a `workers.toml`: supervisord's and GearmanManager's.
//!
//! `files` reads a file with what it names, `ini` knows the two dialects, `supervisord` and
//! `gearman_manager` say what each key becomes, and `draft` writes the result. What has no equal is
//! a comment where it stood and a [`Note`]. Nothing here knows our own settings: whether the result
//! is right is for `check` to say. A file that its own program would refuse is an [`ImportError`].

mod draft;
mod files;
mod gearman_manager;
mod ini;
mod supervisord;

use std::fmt;
use std::path::PathBuf;

pub use draft::{Note, Translation};
pub use files::import;

/// Why a file cannot be translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
pub struct ImportError {
    /// Where, when it is at a place.
    pub place: Option<Place>,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

/// `supervisord.conf:12`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl Place {
    /// A mistake here.
    fn wrong(&self, problem: impl Into<String>) -> ImportError {
        ImportError { place: Some(self.clone()), problem: problem.into() }
    }
}
