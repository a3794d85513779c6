//! One exact question to the kernel over NETLINK_SOCK_DIAG: sock_diag(7), `linux/inet_diag.h`.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// State of a socket that listens: what the kernel names when no connection fits.
const TCP_LISTEN: u8 = 10;
/// `struct nlmsghdr`
const HEADER_LEN: usize = 16;
/// Where `struct inet_diag_msg` has its state, and its inode.
const STATE_AT: usize = HEADER_LEN + 1;
const INODE_AT: usize = HEADER_LEN + 68;
/// The answer about one socket is some 100 bytes.
const ANSWER_LEN_MAX: usize = 4096;

/// A socket to the kernel.
#[derive(Debug)]
pub(super) struct Diag {
    socket: OwnedFd,
}

impl Diag {
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?;
        Ok(Self { socket })
    }

    /// The inode of the TCP socket whose own address is `own` and whose far end is `far`.
    pub(super) fn inode(&self, own: SocketAddr, far: SocketAddr) -> io::Result<Option<u64>> {
        let fd = self.socket.as_raw_fd();
        sendto(fd, &request(own, far), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        // The kernel has answered when the sending returns, so there is nothing to wait for.
        let mut answer = [0; ANSWER_LEN_MAX];
        let len = recv(fd, &mut answer, MsgFlags::MSG_DONTWAIT)?;
        parse(answer.get(..len).unwrap_or_default())
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(own: SocketAddr, far: SocketAddr) -> Vec<u8> {
    let mut id = Vec::with_capacity(48);
    id.extend(own.port().to_be_bytes());
    id.extend(far.port().to_be_bytes());
    id.extend(sixteen_bytes(own.ip()));
    id.extend(sixteen_bytes(far.ip()));
    let interface = if let SocketAddr::V6(own) = own { own.scope_id() } else { 0 };
    id.extend(interface.to_ne_bytes());
    // No cookie: it would pin the question to a socket that is known already.
    id.extend([0xFF; 8]);

    let family = if own.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(id);

    let len = u32::try_from(HEADER_LEN + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER_LEN + body.len());
    message.extend(len.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn sixteen_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// `None` when there is no such connection: the kernel says so with an error message, or by naming
/// the listener that would take it.
fn parse(answer: &[u8]) -> io::Result<Option<u64>> {
    let cut_short = || io::Error::from(ErrorKind::UnexpectedEof);
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).ok_or_else(cut_short)?;
    if u16::from_ne_bytes(kind) != SOCK_DIAG_BY_FAMILY
        || answer.get(STATE_AT).ok_or_else(cut_short)? == &TCP_LISTEN
    {
        return Ok(None);
    }
    let inode = answer.get(INODE_AT..INODE_AT + 4).and_then(|bytes| bytes.try_into().ok());
    Ok(Some(u32::from_ne_bytes(inode.ok_or_else(cut_short)?).into()))
}
