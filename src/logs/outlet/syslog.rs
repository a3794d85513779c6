//! The local syslog, in the form that syslog(3) writes (RFC 3164 without the host).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Parcel, is_disconnected};
use crate::logs::chunk::lines;

/// `LOG_DAEMON` in syslog(3), shifted.
const FACILITY: u8 = 3 << 3;
/// Longer messages come in pieces: rsyslog cuts them at 8 KiB.
const MESSAGE_LEN_MAX: usize = 7 * 1024;

/// Sends a message for each line.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    zone: TimeZone,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    pub(super) fn new(path: PathBuf, zone: TimeZone) -> Self {
        Self { path, zone, socket: None }
    }

    pub(super) fn send(&mut self, parcel: &Parcel) -> io::Result<()> {
        let time = Timestamp::try_from(parcel.at).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = time.to_zoned_datetime(self.zone.clone()).strftime("%b %e %H:%M:%S").to_string();
        // A colon would end the tag.
        let tag = parcel.worker.to_string().replace(':', "-");
        let pid = parcel.pid.map_or_else(String::new, |pid| format!("[{pid}]"));
        let head = format!("<{}>{time} {tag}{pid}: ", FACILITY | parcel.severity());
        let pieces = lines(&parcel.bytes).flat_map(|line| line.chunks(MESSAGE_LEN_MAX));
        for piece in pieces {
            self.send_message(&[head.as_bytes(), piece].concat())?;
        }
        Ok(())
    }

    fn send_message(&mut self, message: &[u8]) -> io::Result<()> {
        let mut retry = self.socket.is_some();
        loop {
            let socket = match self.socket.take() {
                Some(socket) => socket,
                None => connect(&self.path)?,
            };
            match socket.send(message) {
                Ok(_) => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                // syslog was started again since the last message.
                Err(error) if retry && is_disconnected(&error) => retry = false,
                Err(error) => return Err(error),
            }
        }
    }
}

/// A datagram socket whose other end is at `path`.
pub(super) fn connect(path: &std::path::Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}
