//! Who may connect: processes of this host, and the networks that the file allows.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::core::Core;
use super::seldom::Seldom;
use super::show::{ShowPeer, TARGET};
use super::stream::Stream;
use crate::broker::Peer;
use crate::model::Network;

/// Between two warnings of refused connections.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Looks at who has connected through a public listener.
#[derive(Debug)]
pub(super) struct Door {
    warned: RefCell<Seldom>,
}

impl Door {
    pub(super) fn new() -> Self {
        Self { warned: RefCell::new(Seldom::new(WARN_EVERY)) }
    }

    /// Whether the connection may stay.
    pub(super) fn admits(&self, core: &Core, stream: &Stream) -> bool {
        let peer = match stream.peer() {
            Ok(peer) => peer,
            Err(error) => return has_gone(&error),
        };
        let admitted = admits(&core.allow, &peer);
        if !admitted && let Some(before) = self.warned.borrow_mut().permit(Instant::now()) {
            warn!(
                target: TARGET,
                refused_before = before,
                "a connection from {} was refused: no network of [broker] allow holds it",
                ShowPeer(&peer)
            );
        }
        admitted
    }
}

fn has_gone(error: &io::Error) -> bool {
    debug!(target: TARGET, %error, "a connection ended as it was accepted");
    false
}

fn admits(allow: &[Network], peer: &Peer) -> bool {
    let Peer::Tcp { peer, local } = peer else { return true };
    let (peer, local): (IpAddr, IpAddr) = (peer.ip().to_canonical(), local.ip().to_canonical());
    peer.is_loopback() || peer == local || allow.iter().any(|network| network.contains(peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_allowed_networks_come_in() {
        let allow = ["10.0.0.0/8".parse().unwrap()];
        let tcp = |peer: &str, local: &str| Peer::Tcp {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
        };
        for (peer, may) in [
            (Peer::Unix { pid: None }, true),
            (tcp("127.0.0.1:5", "127.0.0.1:4730"), true),
            (tcp("[::1]:5", "[::1]:4730"), true),
            (tcp("192.168.0.7:5", "192.168.0.7:4730"), true),
            (tcp("10.9.9.9:5", "192.168.0.7:4730"), true),
            (tcp("[::ffff:10.9.9.9]:5", "[::ffff:192.168.0.7]:4730"), true),
            (tcp("192.168.0.8:5", "192.168.0.7:4730"), false),
            (tcp("[fd00::1]:5", "[fd00::2]:4730"), false),
        ] {
            assert_eq!(admits(&allow, &peer), may, "{peer:?}");
        }
    }
}
