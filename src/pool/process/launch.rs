//! What is to be started, and why it could not be.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::{Account, Limits, Strays};

/// One process to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Who it runs as; `None`: as the daemon does.
    pub account: Option<Account>,
    /// File-mode mask; `None`: the daemon's.
    pub umask: Option<u32>,
    /// What it may use, and how urgent it is.
    pub limits: Limits,
    /// What becomes of what it leaves behind.
    pub strays: Strays,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no program to start.
    #[error("cannot start a command without a program")]
    Empty,
    /// No folder of PATH has it.
    #[error("cannot start '{program}': not found in PATH ({path})")]
    NotFound {
        /// As in the command.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// The file does not exist.
    #[error("cannot start '{program}': there is no file {}", .path.display())]
    NoFile {
        /// As in the command.
        program: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// The file exists but may not be executed.
    #[error("cannot start '{program}': {} is not executable for this user", .path.display())]
    NotExecutable {
        /// As in the command.
        program: String,
        /// The file.
        path: PathBuf,
    },
    /// Its working directory cannot be entered.
    #[error("cannot start '{program}' in {}: {source}", .directory.display())]
    Directory {
        /// As in the command.
        program: String,
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key of its pool cannot be granted.
    #[error("cannot start '{program}': {key} is refused: {source}; {hint}")]
    Refused {
        /// As in the command.
        program: String,
        /// The key and its value.
        key: String,
        /// Why.
        source: io::Error,
        /// How to mend it.
        hint: &'static str,
    },
    /// The kernel refused a step.
    #[error("cannot start '{program}': {step}: {source}")]
    Step {
        /// As in the command.
        program: String,
        /// What was tried.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Finds the file of a program as a shell would, with paths relative to `directory`.
pub(super) fn find_program(
    program: &str,
    path: Option<&OsStr>,
    directory: &Path,
) -> Result<PathBuf, StartError> {
    if program.is_empty() {
        return Err(StartError::Empty);
    }
    if program.contains('/') {
        return check_file(program, directory.join(program));
    }
    let path = path.unwrap_or_default();
    let mut found = None;
    for folder in std::env::split_paths(path) {
        match check_file(program, directory.join(folder).join(program)) {
            Ok(file) => return Ok(file),
            // Like a shell, go on: a later folder may have one that is executable.
            Err(error @ StartError::NotExecutable { .. }) => found = found.or(Some(error)),
            Err(_) => {}
        }
    }
    let program = program.to_owned();
    let path = path.to_string_lossy().into_owned();
    Err(found.unwrap_or(StartError::NotFound { program, path }))
}

fn check_file(program: &str, path: PathBuf) -> Result<PathBuf, StartError> {
    let program = || program.to_owned();
    if !path.is_file() {
        return Err(StartError::NoFile { program: program(), path });
    }
    match access(&path, AccessFlags::X_OK) {
        Ok(()) => Ok(path),
        Err(_) => Err(StartError::NotExecutable { program: program(), path }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_found_in_path_or_relative_to_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("tool"), "#!/bin/sh\n").unwrap();
        let find = |program: &str, path: &str| {
            find_program(program, Some(path.as_ref()), folder.path())
                .map_err(|error| error.to_string())
        };
        let plain = find("bin/tool", "").unwrap_err();
        assert!(plain.ends_with("bin/tool is not executable for this user"), "{plain}");
        fs::set_permissions(bin.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("bin/tool", ""), Ok(bin.join("tool")));
        assert_eq!(find("tool", "/nowhere:bin"), Ok(bin.join("tool")));
        let missing = find("php9", "/usr/bin:/bin");
        let expected = "cannot start 'php9': not found in PATH (/usr/bin:/bin)";
        assert_eq!(missing, Err(expected.to_owned()));
        let missing = find("./x", "").unwrap_err();
        assert!(missing.starts_with("cannot start './x': there is no file /"), "{missing}");
    }
}
