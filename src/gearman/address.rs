//! Where a Gearman server is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port that Gearman servers listen on unless told otherwise.
const DEFAULT_PORT: u16 = 4730;

/// `HOST`, `HOST:PORT` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// A name or an address, with its port.
    Tcp(String, u16),
    /// A socket file.
    Unix(PathBuf),
}

/// A text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no Gearman server; write HOST, HOST:PORT or unix:/path")]
pub struct InvalidAddress(String);

impl ServerAddress {
    /// Reads a list as GEARMAN_SERVERS holds it: separated by commas.
    ///
    /// # Errors
    /// When one of them names no server, or there is none.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, InvalidAddress> {
        list.split(',').map(|one| one.trim().parse()).collect()
    }
}

impl FromStr for ServerAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let wrong = || InvalidAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().or(Err(wrong()))?)
            }
            _ => (text, DEFAULT_PORT),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() { Err(wrong()) } else { Ok(Self::Tcp(host.to_owned(), port)) }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_libgearman_reads_them() {
        for (text, shown) in [
            ("localhost", "localhost:4730"),
            ("10.0.0.1:4731", "10.0.0.1:4731"),
            ("[::1]:4731", "[::1]:4731"),
            ("unix:/run/g.sock", "unix:/run/g.sock"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), shown);
        }
        for wrong in ["", ":4730", "host:x", "unix:"] {
            assert!(wrong.parse::<ServerAddress>().is_err(), "{wrong}");
        }
        assert_eq!(ServerAddress::parse_list("a, b:1").unwrap().len(), 2);
    }
}
