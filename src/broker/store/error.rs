//! What can go wrong with a store, in words for an operator.

use std::io;
use std::path::PathBuf;

/// Why the store cannot be used, or did not commit.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file cannot be reached.
    #[error("cannot open the job store {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another program's database, or none at all.
    #[error(
        "{} is not a job store of gear-supervisor; move it away, or set another [supervisor] \
         state_dir", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "{} has format {found}, and this version reads up to {known}; start the version that \
         wrote it, or set another [supervisor] state_dir", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Parts of it are damaged or missing.
    #[error(
        "the job store {} is damaged: {what}; restore a copy, or move the file away to start \
         without its jobs", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The file system cannot hold a write-ahead log.
    #[error(
        "the job store {} cannot use a write-ahead log here (SQLite chose '{mode}'); put \
         [supervisor] state_dir on a local disk", path.display()
    )]
    NoLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite fell back to.
        mode: String,
    },
    /// Another program holds the file.
    #[error("the job store {} is held by another program; end that one", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error(
        "no room is left on the disk of the job store {}; make some, it goes on by itself",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged, and the disk is too full to make a new one beside it.
    #[error(
        "the job store {} is damaged, and mending it needs up to {needed_mb} MB more on its disk; \
         make some room: a daemon that runs goes on by itself", path.display()
    )]
    NoRoomToMend {
        /// The file.
        path: PathBuf,
        /// Room for a copy and for the new file.
        needed_mb: u64,
    },
    /// It was damaged while it was open, and could not be mended a moment ago.
    #[error("{reason}")]
    NotMended {
        /// What was said then.
        reason: String,
    },
    /// SQLite refused.
    #[error("the job store {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether it tells of damage, when it is of a store that has been open: that was no foreign
    /// file, so it has lost its header.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Foreign { .. } => true,
            Self::Open { .. }
            | Self::Newer { .. }
            | Self::NoLog { .. }
            | Self::Busy { .. }
            | Self::Full { .. }
            | Self::NoRoomToMend { .. }
            | Self::NotMended { .. }
            | Self::Sqlite { .. } => false,
        }
    }
}
