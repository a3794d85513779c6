//! All connections as /proc/net/tcp and tcp6 list them: proc_pid_net(5).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The inode of the TCP socket whose own address is `own` and whose far end is `far`.
pub(super) fn inode(own: SocketAddr, far: SocketAddr) -> io::Result<Option<u64>> {
    if own.is_ipv4()
        && let Some(inode) = find(&fs::read_to_string("/proc/net/tcp")?, own, far)
    {
        return Ok(Some(inode));
    }
    // IPv4 connections of IPv6 sockets stand here; hosts without IPv6 have no such file.
    Ok(fs::read_to_string("/proc/net/tcp6").ok().and_then(|table| find(&table, own, far)))
}

/// `SLOT: OWN FAR STATE QUEUES TIMER RETRANSMITS UID TIMEOUT INODE …`
fn find(table: &str, own: SocketAddr, far: SocketAddr) -> Option<u64> {
    let wanted = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut next = || fields.next().and_then(parse_address);
        next().is_some_and(|found| same(found, own)) && next().is_some_and(|found| same(found, far))
    };
    table.lines().skip(1).find(wanted)?.split_ascii_whitespace().nth(9)?.parse().ok()
}

fn same(found: SocketAddr, asked: SocketAddr) -> bool {
    found.port() == asked.port() && found.ip().to_canonical() == asked.ip()
}

/// Hexadecimal: the address in words of 32 bits as the host's memory has them, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.as_flattened()).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn both_tables_are_read_by_both_addresses() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:127A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0 100 0 0 10 0\n\
            \x20  1: 0100007F:C350 0100007F:127A 01 00000000:00000000 02:00000B14 00000000 65534        0 4711 2 0 20 4 30 10 -1\n";
        let tcp6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 00000000000000000000000001000000:C351 00000000000000000000000001000000:127A 01 00000000:00000000 00:00000000 00000000 33 0 4712 1 0 20 4 30 10 -1\n\
            \x20  1: 0000000000000000FFFF00000100007F:C352 0000000000000000FFFF00000100007F:127A 01 00000000:00000000 00:00000000 00000000 33 0 4713 1 0 20 4 30 10 -1\n";
        let find =
            |table, own: &str, far: &str| find(table, own.parse().unwrap(), far.parse().unwrap());
        assert_eq!(find(tcp, "127.0.0.1:50000", "127.0.0.1:4730"), Some(4711));
        assert_eq!(find(tcp, "127.0.0.1:4730", "127.0.0.1:50000"), None);
        assert_eq!(find(tcp6, "[::1]:50001", "[::1]:4730"), Some(4712));
        assert_eq!(find(tcp6, "127.0.0.1:50002", "127.0.0.1:4730"), Some(4713));
        assert_eq!(find("", "127.0.0.1:50002", "127.0.0.1:4730"), None);
    }
}
