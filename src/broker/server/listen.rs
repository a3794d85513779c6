//! Binding the sockets that clients and workers connect to.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::sockopt::{
    Ipv6V6Only, KeepAlive, PeerCredentials, ReuseAddr, TcpKeepCount, TcpKeepIdle, TcpKeepInterval,
    TcpNoDelay,
};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockopt, listen,
    setsockopt, socket,
};
use tokio::net::{TcpListener, UnixListener};

use super::holder::{describe, holder_of};
use crate::config::ListenAddress;

/// Everybody may connect, as to a loopback port; the folder's permissions can narrow it.
const SOCKET_FILE_MODE: u32 = 0o666;

/// How sockets are set up. By default a silent peer is asked after a minute, and given up a minute
/// later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Connections that wait to be accepted at most; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: i32,
    /// Silence after which a peer is asked whether it lives.
    pub keepalive_idle_seconds: u32,
    /// Time between two such questions.
    pub keepalive_interval_seconds: u32,
    /// Questions without an answer after which it is given up.
    pub keepalive_probes: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            keepalive_idle_seconds: 60,
            keepalive_interval_seconds: 10,
            keepalive_probes: 6,
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error(
        "{address} is held by {holder}; stop that one, or set another [broker] listen, or run \
         workers for it: name it in [broker] servers"
    )]
    Held {
        /// The address.
        address: ListenAddress,
        /// Program and pid, as far as they can be told.
        holder: String,
    },
    /// The path is something else than a socket.
    #[error("{} exists and is no socket; move it away, or set another [broker] listen", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen on {address}: {source}; set another [broker] listen")]
    Io {
        /// The address.
        address: ListenAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A bound socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket, to be removed when we stop listening.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listener {
    /// Binds a public address; needs a runtime.
    pub(super) fn bind(
        address: &ListenAddress,
        options: SocketOptions,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Io { address: address.clone(), source };
        match address {
            ListenAddress::Tcp(ip) => match listen_tcp(*ip, options.backlog) {
                Ok(listener) => Self::adopt(listener, options).map_err(failed),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    let unseen = || "another process (root can see which)".to_owned();
                    let holder = holder_of(*ip).unwrap_or_else(unseen);
                    Err(ListenError::Held { address: address.clone(), holder })
                }
                Err(error) => Err(failed(error)),
            },
            ListenAddress::Unix(path) => {
                clear_stale(address, path)?;
                let listener = listen_unix(path).map_err(failed)?;
                let file = SocketFile::new(path).map_err(failed)?;
                let listener = UnixListener::from_std(listener).map_err(failed)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Takes over a socket that somebody else bound, such as a worker's private one.
    pub(super) fn adopt(listener: StdTcpListener, options: SocketOptions) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        prepare(&listener, options)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    /// Where it listens: as asked for, with the port that the kernel chose for port 0.
    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        Ok(match self {
            Self::Tcp(tcp) => ListenAddress::Tcp(tcp.local_addr()?),
            Self::Unix(_, file) => ListenAddress::Unix(file.path.clone()),
        })
    }
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another socket there meanwhile.
        let ours = |found: &Metadata| found.dev() == self.device && found.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(|found| ours(&found)) {
            // What cannot be removed is cleared by the next start.
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

fn listen_tcp(address: SocketAddr, backlog: i32) -> io::Result<StdTcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    if address.is_ipv6() {
        // So that `[::]` and `0.0.0.0` may both be listed.
        setsockopt(&fd, Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(backlog)?)?;
    Ok(StdTcpListener::from(fd))
}

/// Accepted sockets inherit these, which spares four calls per connection.
fn prepare(listener: &impl AsFd, options: SocketOptions) -> io::Result<()> {
    setsockopt(listener, TcpNoDelay, &true)?;
    setsockopt(listener, KeepAlive, &true)?;
    setsockopt(listener, TcpKeepIdle, &options.keepalive_idle_seconds)?;
    setsockopt(listener, TcpKeepInterval, &options.keepalive_interval_seconds)?;
    setsockopt(listener, TcpKeepCount, &options.keepalive_probes)?;
    Ok(())
}

fn listen_unix(path: &Path) -> io::Result<StdUnixListener> {
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_FILE_MODE))?;
    Ok(listener)
}

/// Removes the socket file of a process that died; one that answers is held.
fn clear_stale(address: &ListenAddress, path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(answering) => {
            let pid = getsockopt(&answering, PeerCredentials).map(|peer| peer.pid()).ok();
            let pid = pid.and_then(|pid| u32::try_from(pid).ok());
            let holder = pid.map_or_else(|| "another process".to_owned(), describe);
            Err(ListenError::Held { address: address.clone(), holder })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let failed = |source| ListenError::Io { address: address.clone(), source };
            fs::remove_file(path).map_err(failed)
        }
        Err(source) => Err(ListenError::Io { address: address.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_held_port_is_refused_with_its_holder_and_both_ways_out() {
        let first = Listener::bind(
            &ListenAddress::Tcp(([127, 0, 0, 1], 0).into()),
            SocketOptions::default(),
        )
        .unwrap();
        let error = Listener::bind(&first.address().unwrap(), SocketOptions::default())
            .unwrap_err()
            .to_string();
        let pid = format!("(pid {}); stop that one, or set another", std::process::id());
        assert!(error.contains(" is held by ") && error.contains(&pid), "{error}");
    }

    #[tokio::test]
    async fn a_dead_owners_socket_file_is_replaced_and_a_live_owner_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gearman.sock");
        drop(StdUnixListener::bind(&path).unwrap());
        let address = ListenAddress::Unix(path.clone());
        let listener = Listener::bind(&address, SocketOptions::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_FILE_MODE);
        let error = Listener::bind(&address, SocketOptions::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(listener);
        assert!(!path.exists(), "the socket file stayed");
    }

    #[tokio::test]
    async fn a_plain_file_at_the_path_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        fs::write(&path, "keep me").unwrap();
        let error = Listener::bind(&ListenAddress::Unix(path.clone()), SocketOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("exists and is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
    }
}
