//! One connection to a server: packets out, packets in.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use bytes::BytesMut;

use super::ServerAddress;
use crate::protocol::{Decoder, FrameError, Incoming, MalformedPacket, Request, Response};

/// Largest packet that is taken from a server, in bytes.
const PACKET_LEN_MAX: usize = 1 << 30;
const READ_LEN: usize = 64 * 1024;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    decoder: Decoder,
    buffer: BytesMut,
    chunk: Box<[u8]>,
}

/// Ends a connection from another thread: whoever reads from it sees its end.
#[derive(Debug)]
pub struct Closer(Stream);

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Nobody answers there.
    #[error("no Gearman server answers at {address}: {source}")]
    Connect {
        /// Where.
        address: ServerAddress,
        /// What the system said.
        source: io::Error,
    },
    /// It broke.
    #[error("the connection to the Gearman server broke: {0}")]
    Io(#[from] io::Error),
    /// The server closed it.
    #[error("the Gearman server closed the connection")]
    Closed,
    /// What came is no Gearman packet.
    #[error("the server does not speak Gearman: {0}")]
    Frame(#[from] FrameError),
    /// What came lacks arguments.
    #[error("the server sent a broken packet: {0}")]
    Malformed(#[from] MalformedPacket),
    /// The server refused a request.
    #[error("the Gearman server refused: {code}: {text}")]
    Refused {
        /// Its code, such as QUEUE_ERROR.
        code: String,
        /// Its sentence.
        text: String,
    },
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn open(address: &ServerAddress) -> Result<Self, ConnectionError> {
        let failed = |source| ConnectionError::Connect { address: address.clone(), source };
        let stream = match address {
            ServerAddress::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Stream::Tcp(stream)
            }
            ServerAddress::Unix(path) => Stream::Unix(UnixStream::connect(path).map_err(failed)?),
        };
        let decoder = Decoder::new(PACKET_LEN_MAX);
        let chunk = vec![0; READ_LEN].into_boxed_slice();
        Ok(Self { stream, decoder, buffer: BytesMut::new(), chunk })
    }

    /// Sends requests in one write.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn send(&mut self, requests: &[Request]) -> Result<(), ConnectionError> {
        let mut out = BytesMut::new();
        for request in requests {
            request.encode(&mut out);
        }
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(&out)?,
            Stream::Unix(stream) => stream.write_all(&out)?,
        }
        Ok(())
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// When the connection broke or something else than a packet came.
    pub fn receive(&mut self) -> Result<Response, ConnectionError> {
        loop {
            if let Some(Incoming::Frame(frame)) = self.decoder.next(&mut self.buffer)?
                && let Some(response) = Response::decode(frame)?
            {
                return Ok(response);
            }
            let len = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut self.chunk)?,
                Stream::Unix(stream) => stream.read(&mut self.chunk)?,
            };
            match self.chunk.get(..len) {
                None | Some([]) => return Err(ConnectionError::Closed),
                Some(bytes) => self.buffer.extend_from_slice(bytes),
            }
        }
    }

    /// A handle to end the connection from another thread.
    ///
    /// # Errors
    /// When file descriptors run out.
    pub fn closer(&self) -> io::Result<Closer> {
        Ok(Closer(match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        }))
    }
}

impl Closer {
    /// Ends the connection; one that has ended already stays so.
    pub fn close(&self) {
        match &self.0 {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        }
        .unwrap_or_default();
    }
}

impl ConnectionError {
    pub(super) fn refused(code: &[u8], text: &[u8]) -> Self {
        let text_of = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self::Refused { code: text_of(code), text: text_of(text) }
    }
}
