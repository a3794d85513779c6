//! Where Gearman servers are found.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Gearman's port at IANA, used where an address names none.
const DEFAULT_PORT: u16 = 4730;
const DEFAULT_HOST: &str = "127.0.0.1";

/// The address of a Gearman server: `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// TCP; the host may be a name.
    Tcp {
        /// Name or address, an IPv6 address without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// A text that is no server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a Gearman server; write HOST, HOST:PORT, [IPV6]:PORT or unix:/path")]
pub struct InvalidAddress(String);

impl ServerAddress {
    /// Reads addresses with commas between them, as `GEARMAN_SERVERS` holds them.
    ///
    /// # Errors
    /// When one of them is no address; empty ones are passed over.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidAddress> {
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::parse).collect()
    }

    /// The servers that an environment names: `GEARMAN_SERVERS`, else `GEARMAN_HOST` and
    /// `GEARMAN_PORT`, else 127.0.0.1:4730. Never empty.
    ///
    /// # Errors
    /// When a variable holds no address.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Self>, InvalidAddress> {
        let set = |name| variable(name).filter(|text| !text.trim().is_empty());
        let servers = match set("GEARMAN_SERVERS") {
            Some(list) => Self::parse_list(&list)?,
            None => Vec::new(),
        };
        if !servers.is_empty() {
            return Ok(servers);
        }
        let host = set("GEARMAN_HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let port = match set("GEARMAN_PORT") {
            Some(text) => text.trim().parse().or(Err(InvalidAddress(text)))?,
            None => DEFAULT_PORT,
        };
        Ok(vec![Self::Tcp { host, port }])
    }
}

impl FromStr for ServerAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let wrong = || InvalidAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = split_port(text).ok_or_else(wrong)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
            None => DEFAULT_PORT,
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/[]".contains(c)) {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

/// Host and port; more than one colon without brackets is an IPv6 address without a port.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after {
            "" => Some((host, None)),
            port => Some((host, Some(port.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(port))),
        _ => Some((text, None)),
    }
}

/// As it is written: `127.0.0.1:4730`, `[::1]:4730`, `unix:/run/gearman.sock`.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_written_with_the_port_filled_in() {
        let cases = [
            ("127.0.0.1:4731", "127.0.0.1:4731"),
            ("jobs.example", "jobs.example:4730"),
            ("[::1]:7", "[::1]:7"),
            ("[::1]", "[::1]:4730"),
            ("fe80::1", "[fe80::1]:4730"),
            ("unix:/run/g.sock", "unix:/run/g.sock"),
        ];
        for (text, wanted) in cases {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", ":4730", "h:0", "h:port", "h:70000", "[::1", "[::1]4730", "unix:", "a b:1"]
        {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_environment_names_servers_in_three_ways() {
        let check = |variables: &[(&str, &str)], wanted: &str| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let servers = ServerAddress::from_environment(variable).unwrap();
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            assert_eq!(servers.join(" "), wanted);
        };
        check(&[], "127.0.0.1:4730");
        check(&[("GEARMAN_SERVERS", "a:1, unix:/x,")], "a:1 unix:/x");
        check(&[("GEARMAN_SERVERS", " "), ("GEARMAN_PORT", "5")], "127.0.0.1:5");
        check(&[("GEARMAN_HOST", "::1"), ("GEARMAN_PORT", "5")], "[::1]:5");
    }
}
