//! What a file says, as far as the command line needs it: the one way to `config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{self, Settings, Surroundings};

/// The file that is run when none is named.
pub(super) const DEFAULT_FILE: &str = "/etc/gear-supervisor/workers.toml";

/// Reads and checks a file; every mistake is one line.
pub(super) fn load(file: &Path) -> Result<Settings, Vec<String>> {
    config::load(file, &Surroundings::of_shell()).map_err(|errors| errors.lines())
}

/// The control socket of the daemon that runs this file, even while the file is broken.
pub(super) fn socket_of(file: &Path) -> PathBuf {
    config::socket_of(file, &Surroundings::of_process())
}

/// Checks a text that is to be a file.
pub(super) fn check(file: &Path, text: &str) -> Result<(), Vec<String>> {
    let checked = config::load_text(file, text, &Surroundings::of_shell());
    checked.map(drop).map_err(|errors| errors.lines())
}

/// The environment, as far as it is text.
pub(super) fn variables() -> BTreeMap<String, String> {
    Surroundings::of_process().variables
}
