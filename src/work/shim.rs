//! The instant between an adapter's spawn and its program.
//!
//! A program must die with its adapter, and only a process itself can ask the kernel for that. So
//! the adapter spawns this same binary, which asks, and then becomes the program. Should that fail,
//! it says why through a pipe that closes by itself when it succeeds.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{close, getppid};

use super::{tell, with_causes};

/// First argument of the shim; the adapter's pid, the program and its arguments follow.
pub(super) const CHILD_OF: &str = "--child-of";
/// Where the shim finds the pipe for its failure.
pub(super) const LAUNCH_FD: RawFd = 4;
/// Exit code of a program that could not be started, as in the shell.
const EXIT_NOT_STARTED: u8 = 127;

/// Becomes a program of an adapter, when the arguments (argv\[0\] first) are those of the shim.
///
/// To be called before anything else in `main`. Comes back with `None` when the arguments are
/// somebody else's, and with an exit code when the program cannot be started.
pub fn child_shim(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != CHILD_OF {
        return None;
    }
    let adapter = args.next().unwrap_or_default();
    let program = args.next().unwrap_or_default();
    let launch = open_launch();
    let error = become_program(&adapter, &program, args);
    report(launch, &program, &error);
    Some(ExitCode::from(EXIT_NOT_STARTED))
}

/// Returns only with an error.
fn become_program(
    adapter: &OsStr,
    program: &OsStr,
    args: impl Iterator<Item = OsString>,
) -> io::Error {
    if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
        return errno.into();
    }
    // Looked at afterwards: an adapter that died before the call above sends no signal.
    if adapter.to_str() != Some(&getppid().to_string()) {
        return io::Error::other("the adapter that started it is gone");
    }
    Command::new(program).args(args).exec()
}

/// The pipe, as a descriptor that the program does not inherit. The one we were given would be
/// inherited, and cannot be marked without `unsafe`; opening it anew through /proc can.
fn open_launch() -> Option<File> {
    let launch = OpenOptions::new().write(true).open(format!("/proc/self/fd/{LAUNCH_FD}")).ok();
    // Fails only when it was not open.
    close(LAUNCH_FD).unwrap_or_default();
    launch
}

fn report(launch: Option<File>, program: &OsStr, error: &io::Error) {
    let sent = match (launch, error.raw_os_error()) {
        (Some(mut pipe), Some(errno)) => pipe.write_all(errno.to_string().as_bytes()).is_ok(),
        (_, _) => false,
    };
    if !sent {
        tell(format_args!("cannot run {}: {}", program.display(), with_causes(error)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_arguments_are_left_alone() {
        for args in [&["gear-supervisor"][..], &["gear-supervisor", "work", "--child-of"]] {
            assert_eq!(child_shim(args.iter().map(OsString::from)), None);
        }
    }
}
