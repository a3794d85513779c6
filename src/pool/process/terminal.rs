//! A terminal of a process's own: the pair of its two ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Uid, geteuid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::config::Account;
use crate::terminal::TerminalSize;

/// A new terminal of 80x24: our end, which does not block, and the program's.
pub(super) fn open(account: Option<&Account>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    // The daemon may have no terminal; this must not become it.
    let no_tty = OFlag::O_NOCTTY.bits();
    let theirs = OpenOptions::new().read(true).write(true).custom_flags(no_tty).open(path)?;
    prepare(&theirs, account)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    Ok((ours, theirs.into()))
}

fn prepare(theirs: &File, account: Option<&Account>) -> io::Result<()> {
    if let Some(account) = account.filter(|account| Uid::from_raw(account.uid) != geteuid()) {
        // As login(1) does, so that the program may open its terminal by name.
        fchown(theirs, Some(account.uid), None)?;
    }
    let mut modes = tcgetattr(theirs)?;
    // The erase key takes a character, not a byte.
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(theirs, OptionalActions::Now, &modes)?;
    let size = TerminalSize::default();
    let (ws_col, ws_row) = (size.columns(), size.rows());
    Ok(tcsetwinsize(theirs, Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 })?)
}
