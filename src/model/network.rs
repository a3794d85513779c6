//! Networks of IP addresses, such as `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_len: u32,
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// It is none at all.
    #[error("'{0}' is not a network; write one as in \"10.0.0.0/8\" or \"fd00::/8\"")]
    Unreadable(String),
    /// Bits behind the prefix are set, so either the address or the length is a mistake.
    #[error("'{text}' has bits behind its prefix; write \"{meant}\"")]
    Loose {
        /// The text.
        text: String,
        /// The network with these first bits.
        meant: Network,
    },
}

impl Network {
    /// Networks that hold every address.
    #[must_use]
    pub fn everywhere() -> [Self; 2] {
        [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
            .map(|address| Self { address, prefix_len: 0 })
    }

    /// Whether an address is one of these; IPv4 addresses in IPv6 clothes count as what they are.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && masked(address, self.prefix_len) == self.address
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    /// Reads `ADDRESS/LENGTH`, or one address.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let unreadable = || InvalidNetwork::Unreadable(text.to_owned());
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len.parse().or(Err(unreadable()))?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().or(Err(unreadable()))?;
        let prefix_len = prefix_len.unwrap_or(bits(address));
        if prefix_len > bits(address) {
            return Err(unreadable());
        }
        let meant = Self { address: masked(address, prefix_len), prefix_len };
        if meant.address == address {
            Ok(meant)
        } else {
            Err(InvalidNetwork::Loose { text: text.to_owned(), meant })
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix_len: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix_len).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix_len).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_network_of_its_first_bits() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.1.2.3", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::a01:203"),
            ("192.168.7.0/24", "192.168.7.255", "192.168.8.0"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::/0", "fd00::1", "8.8.8.8"),
            ("fd00::/8", "fdff::1", "fe80::1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!network.contains(outside.parse().unwrap()), "{outside} not in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "lan", "10.0.0.0/x", "::/129"] {
            assert!(matches!(bad.parse::<Network>(), Err(InvalidNetwork::Unreadable(_))), "{bad}");
        }
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err().to_string();
        assert_eq!(error, "'10.1.2.3/8' has bits behind its prefix; write \"10.0.0.0/8\"");
    }
}
