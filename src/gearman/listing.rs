//! What a Gearman server lists of its connections in text.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::ServerAddress;
use super::connection::{CONNECT_TIMEOUT, Socket, connect};
use crate::protocol::Request;

/// How long a server may take to list.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest listing that is read, in bytes: some hundred thousand connections.
const LISTING_LEN_MAX: usize = 64 << 20;

/// A connection that asks for listings, and is itself listed under a name.
pub struct Listing {
    socket: Box<dyn Socket>,
    inbound: BytesMut,
}

/// One line of `workers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedConnection {
    /// Where it comes from, without the port.
    pub address: String,
    /// What it calls itself.
    pub client_id: String,
    /// What it performs.
    pub functions: Vec<String>,
}

impl Listing {
    /// Connects.
    ///
    /// # Errors
    /// When the server cannot be reached in time.
    pub async fn open(server: &ServerAddress) -> io::Result<Self> {
        let socket = timeout(CONNECT_TIMEOUT, connect(server)).await??;
        Ok(Self { socket, inbound: BytesMut::new() })
    }

    /// Sets the name under which the connection is listed.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn set_client_id(&mut self, id: &str) -> io::Result<()> {
        let mut packet = BytesMut::new();
        Request::SetClientId(bytes::Bytes::copy_from_slice(id.as_bytes())).encode(&mut packet);
        self.socket.write_all(&packet).await
    }

    /// The connections.
    ///
    /// # Errors
    /// When the connection ended, or nothing came in time.
    pub async fn connections(&mut self) -> io::Result<Vec<ListedConnection>> {
        let lines = self.ask(b"workers\n").await?;
        Ok(lines.iter().filter_map(|line| connection(line)).collect())
    }

    async fn ask(&mut self, command: &[u8]) -> io::Result<Vec<String>> {
        self.socket.write_all(command).await?;
        timeout(ANSWER_TIMEOUT, self.lines()).await?
    }

    /// The lines up to one with a point alone.
    async fn lines(&mut self) -> io::Result<Vec<String>> {
        let (mut lines, mut len) = (Vec::new(), 0);
        loop {
            while let Some(at) = self.inbound.iter().position(|byte| *byte == b'\n') {
                let line = self.inbound.split_to(at + 1);
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if line == "." {
                    return Ok(lines);
                }
                lines.push(line);
            }
            let read = self.socket.read_buf(&mut self.inbound).await?;
            len += read;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if len > LISTING_LEN_MAX {
                return Err(io::Error::other("the listing is longer than any that makes sense"));
            }
        }
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

/// `FD ADDRESS ID : NAME NAME`
fn connection(line: &str) -> Option<ListedConnection> {
    // An address may hold colons, so the one that counts is a word's first.
    let mut words = line.splitn(4, ' ');
    let (_, address, id) = (words.next()?, words.next()?, words.next()?);
    let functions = words.next()?.strip_prefix(':')?;
    Some(ListedConnection {
        address: address.to_owned(),
        client_id: id.to_owned(),
        functions: functions.split_whitespace().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test]
    async fn listings_are_read_to_their_end_and_the_next_one_follows() {
        let (ours, mut theirs) = duplex(4096);
        let mut listing = Listing { socket: Box::new(ours), inbound: BytesMut::new() };
        let text = "34 10.0.0.1 - :\n35 ::1 gs1;host=a : a b\n.\n36 10.0.0.2 x : c\n.\n";
        theirs.write_all(text.as_bytes()).await.unwrap();
        let connections = listing.connections().await.unwrap();
        assert_eq!((connections[0].client_id.as_str(), connections[0].functions.len()), ("-", 0));
        assert_eq!(connections[1].client_id, "gs1;host=a");
        assert_eq!(connections[1].functions, ["a", "b"]);
        assert_eq!(listing.connections().await.unwrap()[0].functions, ["c"]);
        drop(theirs);
        assert!(listing.connections().await.is_err());
    }
}
