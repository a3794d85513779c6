//! The daemon's own standard output, as containers want it.

use std::io;

use jiff::tz::TimeZone;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;

use super::Parcel;
use crate::logs::chunk::Chunk;
use crate::logs::record::render;
use crate::logs::stamp::Stamp;

/// Writes records in the pool's format.
#[derive(Debug)]
pub(super) struct Stdout {
    stamp: Stamp,
    rendered: Vec<u8>,
}

impl Stdout {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { stamp: Stamp::new(zone), rendered: Vec::new() }
    }

    pub(super) fn send(&mut self, parcel: &Parcel) -> io::Result<()> {
        self.rendered.clear();
        let chunk = Chunk {
            at: parcel.at,
            worker: &parcel.worker,
            pid: parcel.pid,
            stream: parcel.stream,
            bytes: &parcel.bytes,
            part: parcel.part,
            rule: parcel.rule.as_ref(),
        };
        render(&mut self.rendered, &mut self.stamp, &chunk, parcel.format);
        write_all(&self.rendered)
    }
}

/// Past the buffer of the standard library; a terminal or pipe that does not block is waited for.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match nix::unistd::write(&stdout, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                poll(&mut ready, PollTimeout::NONE)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
