//! Our own program as the step between the daemon and a worker that runs as somebody else.
//!
//! `gear-supervisor __exec SPEC PROGRAM ARGS…` sets groups, user and mask in its own process, then
//! becomes the program. What fails is written to stderr, which is the worker's log, and ends with
//! exit code 127 as a shell does.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use crate::config::Account;

/// The first argument that makes our program the shim.
pub const WORD: &str = "__exec";

/// What to set before the program begins.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShimSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Ids>,
    #[serde(skip_serializing_if = "Option::is_none")]
    umask: Option<u32>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ids {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl ShimSpec {
    pub(super) fn new(account: Option<&Account>, umask: Option<u32>) -> Self {
        let ids = account.map(|account| Ids {
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
        });
        Self { ids, umask }
    }

    pub(super) fn to_argument(&self) -> String {
        // Numbers and lists of numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The groups go first: after the user has changed there is no right to set them.
    fn apply(&self) -> nix::Result<()> {
        if let Some(Ids { uid, gid, groups }) = &self.ids {
            let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
            let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            setgroups(&groups)?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
        }
        if let Some(mask) = self.umask {
            umask(Mode::from_bits_truncate(mask));
        }
        Ok(())
    }
}

/// Becomes the program; returns only when that fails.
#[must_use]
pub fn run(arguments: &[OsString]) -> ExitCode {
    let [spec, program, arguments @ ..] = arguments else {
        eprintln!("gear-supervisor: {WORD} is for the daemon's own use");
        return ExitCode::from(2);
    };
    let name = program.to_string_lossy();
    let spec = serde_json::from_str::<ShimSpec>(&spec.to_string_lossy());
    let error = match spec.map(|spec| spec.apply()) {
        Ok(Ok(())) => Command::new(program).args(arguments).exec().to_string(),
        Ok(Err(error)) => format!("user, groups or umask could not be set: {error}"),
        Err(error) => format!("{WORD} was called wrongly: {error}"),
    };
    eprintln!("gear-supervisor: cannot start '{name}': {error}");
    ExitCode::from(127)
}
