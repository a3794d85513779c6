//! Who holds a TCP port, from procfs.
//!
//! Links of other users' processes are readable to root only, so the answer may stay open.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The state that `/proc/net/tcp` prints for listening sockets.
const LISTEN: &str = "0A";

/// `gearmand (pid 812)`: the process that listens where `address` would; `None` when it cannot be
/// seen.
pub(super) fn holder_of(address: SocketAddr) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address))
        .collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| has_link(*pid, &links)).map(describe).next()
}

/// `gearmand (pid 812)`
pub(super) fn describe(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(program) => format!("{} (pid {pid})", program.trim_end()),
        Err(_) => format!("pid {pid}"),
    }
}

/// The socket inodes in a `/proc/net/tcp` table that keep `address` from being bound.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<String> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let same_port = u16::from_str_radix(port, 16).ok()? == address.port();
        let clashes = *state == LISTEN && same_port && covers(ip_of(ip)?, address.ip());
        clashes.then(|| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn covers(held: IpAddr, wanted: IpAddr) -> bool {
    held == wanted || held.is_unspecified() || wanted.is_unspecified()
}

/// The kernel prints addresses as native-endian words in hexadecimal.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok();
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes()))),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at * 8)?.to_ne_bytes());
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

fn has_link(pid: u32, links: &[String]) -> bool {
    let folder = format!("/proc/{pid}/fd");
    let Ok(descriptors) = fs::read_dir(Path::new(&folder)) else { return false };
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| links.iter().any(|wanted| wanted == link)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_that_listens_is_found_by_port_on_either_family() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let held = listener.local_addr().unwrap();
            let wanted = describe(std::process::id());
            assert_eq!(holder_of(held).as_ref(), Some(&wanted), "{host}");
            drop(listener);
            assert_eq!(holder_of(held), None, "{host}");
        }
    }

    #[test]
    fn a_wildcard_holds_the_port_of_every_address() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(holder_of(SocketAddr::from(([127, 0, 0, 1], port))).is_some());
    }
}
