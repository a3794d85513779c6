//! The inode of a connection's far end, when that is on this host.
//!
//! [`diag`] asks the kernel about exactly one connection (some 10 µs, however many there are).
//! Kernels and sandboxes without it leave [`table`]: reading every connection.

mod diag;
mod table;

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use tracing::debug;

use diag::Diag;

/// Looks inodes up.
#[derive(Debug)]
pub(super) struct Sockets {
    diag: Option<Diag>,
}

impl Sockets {
    /// Tries the quick way on a connection of our own, and uses it when it works.
    pub(super) fn open() -> Self {
        let diag = Diag::open().inspect_err(|error| {
            debug!(%error, "the kernel cannot be asked about single connections");
        });
        Self { diag: diag.ok().filter(|diag| tells_own_connection(diag).unwrap_or(true)) }
    }

    /// The inode of the socket that sees `peer` as its own address and `local` as its far end.
    pub(super) fn inode(&self, peer: SocketAddr, local: SocketAddr) -> Option<u64> {
        let (peer, local) = (unmapped(peer), unmapped(local));
        let found = match &self.diag {
            Some(diag) => diag.inode(peer, local),
            None => table::inode(peer, local),
        };
        // A socket that no process holds any more has inode 0.
        found
            .inspect_err(|error| debug!(%peer, %error, "the peer's socket was not looked up"))
            .ok()
            .flatten()
            .filter(|inode| *inode != 0)
    }
}

/// `None` when there is no loopback to try it on.
fn tells_own_connection(diag: &Diag) -> Option<bool> {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let stream = TcpStream::connect(listener.local_addr().ok()?).ok()?;
    let (here, there) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    Some(matches!(diag.inode(here, there), Ok(Some(_))))
}

/// A dual-stack listener shows IPv4 peers as `::ffff:1.2.3.4`.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    /// A connection's two ends and the inode of the connecting one.
    fn check(listen: &str, connect: impl Fn(u16) -> SocketAddr) {
        // Some hosts have no IPv6.
        let Ok(listener) = TcpListener::bind(listen) else { return };
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(connect(port)).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let local = accepted.local_addr().unwrap();
        let inode = nix::sys::stat::fstat(stream.as_fd()).unwrap().st_ino;
        for sockets in [Sockets::open(), Sockets { diag: None }] {
            assert_eq!(sockets.inode(peer, local), Some(inode), "{listen} {sockets:?}");
            assert_eq!(sockets.inode(local, local), None, "a listener is no far end");
        }
        drop((stream, accepted));
    }

    #[test]
    fn the_far_end_is_found_over_ipv4_ipv6_and_both() {
        check("127.0.0.1:0", |port| ([127, 0, 0, 1], port).into());
        check("[::1]:0", |port| SocketAddr::new("::1".parse().unwrap(), port));
        check("[::]:0", |port| ([127, 0, 0, 1], port).into());
        check("0.0.0.0:0", |port| SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), port));
    }

    #[test]
    fn a_peer_on_another_host_is_nobody() {
        let address = |text: &str| text.parse().unwrap();
        for sockets in [Sockets::open(), Sockets { diag: None }] {
            assert_eq!(sockets.inode(address("192.0.2.1:4711"), address("192.0.2.2:4730")), None);
        }
    }
}
