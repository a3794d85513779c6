//! What the settings depend on besides the file: who runs the daemon, and its environment.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use nix::unistd::{self, User};

use super::powers::Powers;

/// Where a file is read; a value of its own, so that a test can be anybody anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// User id of the daemon.
    pub uid: u32,
    /// Group id of the daemon.
    pub gid: u32,
    /// Name of the daemon's user, when the id has one.
    pub user: Option<String>,
    /// Working directory: relative names of files start here.
    pub directory: PathBuf,
    /// Environment variables that are UTF-8.
    pub variables: BTreeMap<String, String>,
    /// What it can grant its workers.
    pub powers: Powers,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let account = User::from_uid(unistd::geteuid()).ok().flatten();
        let named = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut variables: BTreeMap<String, String> = named.collect();
        if let Some(home) = account.as_ref().and_then(|account| account.dir.to_str()) {
            variables.entry("HOME".to_owned()).or_insert_with(|| home.to_owned());
        }
        Self {
            uid: unistd::geteuid().as_raw(),
            gid: unistd::getegid().as_raw(),
            user: account.map(|account| account.name),
            directory: env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            variables,
            powers: Powers::of_process(),
        }
    }

    /// Those of a daemon that somebody at a shell is going to start.
    #[must_use]
    pub fn of_shell() -> Self {
        Self { powers: Powers::of_shell(), ..Self::of_process() }
    }

    /// Whether the daemon may become anybody.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// An environment variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What `${NAME}` stands for. USER is who runs the daemon: `su` and containers leave it wrong
    /// or unset, and `user = "${USER}"` must be the truth.
    pub(super) fn expansions(&self) -> BTreeMap<String, String> {
        let mut expansions = self.variables.clone();
        let user = self.user.clone().unwrap_or_else(|| self.uid.to_string());
        expansions.insert("USER".to_owned(), user);
        expansions
    }
}
