//! The journal of systemd, by its native protocol (systemd's `JOURNAL_NATIVE_PROTOCOL`).

use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::syslog::connect;
use super::{Parcel, is_disconnected};

/// Sends an entry for each line, or for each record of several lines.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, socket: None }
    }

    pub(super) fn send(&mut self, parcel: &Parcel) -> io::Result<()> {
        let head = head(parcel);
        for message in parcel.messages() {
            let mut entry = head.clone();
            append_field(&mut entry, "MESSAGE", message);
            self.send_entry(&entry)?;
        }
        Ok(())
    }

    fn send_entry(&mut self, entry: &[u8]) -> io::Result<()> {
        let mut retry = self.socket.is_some();
        loop {
            let socket = match self.socket.take() {
                Some(socket) => socket,
                None => connect(&self.path)?,
            };
            let sent = match socket.send(entry) {
                Err(error) if is_too_long(&error) => send_as_file(&socket, entry),
                sent => sent.map(drop),
            };
            match sent {
                Ok(()) => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                // The journal was started again since the last entry.
                Err(error) if retry && is_disconnected(&error) => retry = false,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The fields that all entries of a parcel have.
fn head(parcel: &Parcel) -> Vec<u8> {
    let mut fields = vec![
        ("PRIORITY", parcel.severity().to_string()),
        ("SYSLOG_IDENTIFIER", parcel.worker.to_string()),
        ("GEAR_POOL", parcel.worker.pool.to_string()),
        ("GEAR_WORKER", parcel.worker.to_string()),
        ("GEAR_STREAM", parcel.stream.as_str().to_owned()),
    ];
    fields.extend(parcel.pid.map(|pid| ("SYSLOG_PID", pid.to_string())));
    let mut head = Vec::new();
    for (name, value) in fields {
        append_field(&mut head, name, value.as_bytes());
    }
    head
}

/// A value with a line end in it is told with its length.
fn append_field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

fn is_too_long(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMSGSIZE | Errno::ENOBUFS))
}

/// What is longer than a datagram goes as a file in memory that nobody can change any more.
fn send_as_file(socket: &UnixDatagram, entry: &[u8]) -> io::Result<()> {
    let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
    let mut file = File::from(memfd_create("journal-entry", flags)?);
    file.write_all(entry)?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    let files = [file.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&files)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&[])], &control, MsgFlags::empty(), None)?;
    Ok(())
}
