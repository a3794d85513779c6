//! The socket of sd_notify(3) that a worker talks to.
//!
//! An abstract name needs no folder that every worker's user may enter; who may talk there is told
//! by the kernel: the worker's user and root.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt,
};
use tokio::io::Interest;

use crate::model::WorkerId;

/// Longest message; systemd's own limit is 4 KiB.
const MESSAGE_LEN_MAX: usize = 4096;

/// The socket before its process runs.
#[derive(Debug)]
pub(in crate::pool) struct NotifySocket {
    socket: UnixDatagram,
    name: String,
    /// Whose messages are heard beside root's.
    user: u32,
}

/// The socket while its process runs.
#[derive(Debug)]
pub(super) struct NotifyReader {
    socket: tokio::net::UnixDatagram,
    user: u32,
}

impl NotifySocket {
    /// Binds it; `user` is the worker's.
    pub(in crate::pool) fn bind(worker: WorkerId, user: u32) -> io::Result<Self> {
        let name = format!("gear-supervisor/{}/{}", std::process::id(), worker.0);
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, name, user })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(in crate::pool) fn address(&self) -> String {
        format!("@{}", self.name)
    }

    pub(super) fn reader(self) -> io::Result<NotifyReader> {
        let socket = tokio::net::UnixDatagram::from_std(self.socket)?;
        Ok(NotifyReader { socket, user: self.user })
    }
}

impl NotifyReader {
    /// The next message: its `KEY=VALUE` lines.
    pub(super) async fn next(&self) -> io::Result<Vec<(String, String)>> {
        loop {
            self.socket.readable().await?;
            let received = self.socket.try_io(Interest::READABLE, || receive(&self.socket));
            match received {
                Ok((text, user)) if user == Some(self.user) || user == Some(0) => {
                    return Ok(lines(&text));
                }
                Ok(_) => tracing::debug!("a notification of somebody else's was passed over"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn receive(socket: &impl AsRawFd) -> io::Result<(String, Option<u32>)> {
    let mut bytes = [0; MESSAGE_LEN_MAX];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    // Descriptors that come with it are closed by the kernel, as there is no room for them.
    let mut space = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let user = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.uid()),
        _ => None,
    });
    let len = message.bytes;
    let text = String::from_utf8_lossy(bytes.get(..len).unwrap_or_default()).into_owned();
    Ok((text, user))
}

fn lines(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
