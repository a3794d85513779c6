//! A connected socket of either family.

use std::io;

use bytes::{BufMut, BytesMut};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::broker::Peer;
use crate::protocol::READ_LEN_MAX;

/// Bytes that are looked at before they are taken, at most.
pub(super) const LOOK_LEN_MAX: usize = 1024;

/// A connected TCP or unix socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a read took from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// All that was there.
    All,
    /// As much as there was room for; more may be there.
    Much,
    /// The peer ended the connection.
    End,
}

impl Stream {
    /// Who is at the far end.
    pub(super) fn peer(&self) -> io::Result<Peer> {
        Ok(match self {
            Self::Tcp(tcp) => Peer::Tcp { peer: tcp.peer_addr()?, local: tcp.local_addr()? },
            Self::Unix(unix) => Peer::Unix { pid: unix.peer_cred()?.pid() },
        })
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.readable().await,
            Self::Unix(unix) => unix.readable().await,
        }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.writable().await,
            Self::Unix(unix) => unix.writable().await,
        }
    }

    /// Reads at most [`READ_LEN_MAX`] bytes into the room that `buffer` has.
    pub(super) fn read(&self, buffer: &mut BytesMut) -> io::Result<Got> {
        let room = (buffer.capacity() - buffer.len()).min(READ_LEN_MAX);
        let mut limited = buffer.limit(room);
        let len = match self {
            Self::Tcp(tcp) => tcp.try_read_buf(&mut limited),
            Self::Unix(unix) => unix.try_read_buf(&mut limited),
        }?;
        Ok(self.got(len, room))
    }

    /// Reads at most [`LOOK_LEN_MAX`] bytes, and leaves them in the socket for [`Stream::skip`].
    pub(super) fn look(&self, buffer: &mut BytesMut) -> io::Result<Got> {
        let Self::Tcp(tcp) = self else { return self.read(buffer) };
        let before = buffer.len();
        buffer.resize(before + LOOK_LEN_MAX, 0);
        let room = buffer.get_mut(before..).unwrap_or_default();
        let fd = tcp.as_raw_fd();
        let looked = tcp.try_io(Interest::READABLE, || Ok(recv(fd, room, MsgFlags::MSG_PEEK)?));
        buffer.truncate(before + looked.as_ref().map_or(0, |len| *len));
        Ok(self.got(looked?, LOOK_LEN_MAX))
    }

    /// Takes bytes from the socket that were looked at.
    pub(super) fn skip(&self, len: usize) {
        let Self::Tcp(tcp) = self else { return };
        let mut seen = [0; LOOK_LEN_MAX];
        if let Some(seen) = seen.get_mut(..len) {
            // They are there, so what fails is the connection, as the next read will tell.
            recv(tcp.as_raw_fd(), seen, MsgFlags::MSG_TRUNC).unwrap_or_default();
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Unix(unix) => unix.try_write(bytes),
        }
    }

    /// Tells the peer that nothing more will come.
    pub(super) fn end_writing(&self) {
        let fd = match self {
            Self::Tcp(tcp) => tcp.as_raw_fd(),
            Self::Unix(unix) => unix.as_raw_fd(),
        };
        // It fails when the peer has gone already, which is as good.
        shutdown(fd, Shutdown::Write).unwrap_or_default();
    }

    fn got(&self, len: usize, room: usize) -> Got {
        if len == 0 {
            return Got::End;
        }
        if len == room {
            return Got::Much;
        }
        self.forget_readiness();
        Got::All
    }

    /// A read that did not fill its room emptied the socket, and the next bytes raise a new edge:
    /// the read that would only say so is spared, as tokio does in its own `poll_read`.
    fn forget_readiness(&self) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let emptied = match self {
            Self::Tcp(tcp) => tcp.try_io(Interest::READABLE, nothing),
            Self::Unix(unix) => unix.try_io(Interest::READABLE, nothing),
        };
        debug_assert!(emptied.is_err(), "the closure always says that it would block");
    }
}
