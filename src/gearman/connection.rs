//! One connection to a Gearman server: requests out, responses in.
//!
//! Every wait may be dropped and taken up again; no byte is lost. Requests are queued and sent with
//! the next [`Connection::flush`] or [`Connection::next`], so several need one write. While it sends,
//! the connection also receives, up to [`READ_AHEAD_MAX`], so that two sides with much to say do not
//! wait for each other.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs, UnixStream};
use tokio::time::timeout;

use super::ServerAddress;
use crate::protocol::{Decoder, FrameError, Incoming, Kind, MalformedPacket, Request, Response};

/// How long a server may take to accept.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest response taken, in bytes: far above any server's own limit, since a job that a server
/// accepted must be taken from it; this bounds a peer gone mad.
const RESPONSE_LEN_MAX: usize = 1 << 30;
/// Bytes received beforehand while a request is being sent; then the server has to wait.
const READ_AHEAD_MAX: usize = 1 << 20;
/// Room made for one read, in bytes.
const READ_LEN: usize = 16 << 10;
/// A send buffer that grew beyond this is given back once it is empty.
const OUTBOUND_KEPT_MAX: usize = 1 << 20;

/// Silence after which TCP asks whether a server's host is still there, in seconds. A worker may
/// wait for days, and a host that lost its power sends no end of the connection.
const KEEPALIVE_IDLE_SECONDS: u32 = 60;
const KEEPALIVE_INTERVAL_SECONDS: u32 = 15;
const KEEPALIVE_PROBES: u32 = 4;

/// Anything that bytes go through both ways.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection to a Gearman server.
pub struct Connection {
    socket: Box<dyn Socket>,
    decoder: Decoder,
    inbound: BytesMut,
    outbound: BytesMut,
}

/// A server that could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the Gearman server {server}")]
pub struct ConnectError {
    /// The server.
    pub server: ServerAddress,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Why a connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The server ended it.
    #[error("the server closed the connection")]
    Closed,
    /// The system ended it.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// No Gearman packet, or one beyond all measure.
    #[error("the server does not speak Gearman")]
    Garbled(#[from] FrameError),
    /// A packet with too few arguments.
    #[error("the server sent a malformed packet")]
    Malformed(#[from] MalformedPacket),
    /// A packet that makes no sense here.
    #[error("the server sent {0:?}, which does not belong here")]
    Unexpected(Kind),
    /// A line of text, which only answers text commands.
    #[error("the server sent a line of text: {0}")]
    Text(String),
    /// It took too long.
    #[error("the server did not answer in {} s", .0.as_secs())]
    Silent(Duration),
}

impl Connection {
    /// Connects within [`CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// When the server cannot be reached in time.
    pub async fn open(server: &ServerAddress) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError { server: server.clone(), source };
        match timeout(CONNECT_TIMEOUT, connect(server)).await {
            Ok(Ok(socket)) => Ok(Self::over(socket)),
            Ok(Err(error)) => Err(failed(error)),
            Err(elapsed) => Err(failed(io::Error::new(io::ErrorKind::TimedOut, elapsed))),
        }
    }

    /// Speaks Gearman over a socket that is connected already.
    pub fn over(socket: impl Socket + 'static) -> Self {
        Self {
            socket: Box::new(socket),
            decoder: Decoder::new(RESPONSE_LEN_MAX),
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
        }
    }

    /// Appends a request to what is sent next.
    pub fn queue(&mut self, request: &Request) {
        request.encode(&mut self.outbound);
    }

    /// Sends everything queued.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends everything queued and gives the next response. May be dropped at any time.
    ///
    /// # Errors
    /// When the connection ended or what it carries is not understood.
    pub async fn next(&mut self) -> Result<Response, ConnectionError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next response of those that have been received already; sends nothing.
    ///
    /// # Errors
    /// When what was received is not understood.
    pub fn received(&mut self) -> Result<Option<Response>, ConnectionError> {
        self.decode()
    }

    /// [`Connection::next`] for callers that wait for several connections.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, ConnectionError>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            if let Some(response) = self.decode()? {
                return Poll::Ready(Ok(response));
            }
            ready!(self.poll_read(cx))?;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        loop {
            if let Poll::Ready(done) = self.poll_write(cx) {
                return Poll::Ready(done);
            }
            if self.inbound.len() >= READ_AHEAD_MAX {
                return Poll::Pending;
            }
            ready!(self.poll_read(cx))?;
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        while !self.outbound.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &self.outbound);
            match ready!(written).map_err(ConnectionError::Broken)? {
                0 => return Poll::Ready(Err(ConnectionError::Closed)),
                len => self.outbound.advance(len),
            }
        }
        if self.outbound.capacity() > OUTBOUND_KEPT_MAX {
            self.outbound = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        // An empty buffer begins at its front again.
        if self.inbound.is_empty() || self.inbound.capacity() == self.inbound.len() {
            self.inbound.reserve(READ_LEN);
        }
        match ready!(pin!(self.socket.read_buf(&mut self.inbound)).poll(cx)) {
            Ok(0) => Poll::Ready(Err(ConnectionError::Closed)),
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(ConnectionError::Broken(error))),
        }
    }

    fn decode(&mut self) -> Result<Option<Response>, ConnectionError> {
        match self.decoder.next(&mut self.inbound)? {
            None => Ok(None),
            Some(Incoming::Line(line)) => {
                Err(ConnectionError::Text(String::from_utf8_lossy(&line).into_owned()))
            }
            // The magic is not judged: some servers forward WORK_* packets as the worker sent them.
            Some(Incoming::Frame(frame)) => {
                let kind = frame.kind;
                Response::decode(frame)?.map(Some).ok_or(ConnectionError::Unexpected(kind))
            }
        }
    }
}

pub(super) async fn connect(server: &ServerAddress) -> io::Result<Box<dyn Socket>> {
    match server {
        ServerAddress::Tcp { host, port } => Ok(Box::new(dial((host.as_str(), *port)).await?)),
        ServerAddress::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// Connects to a server, such that the loss of its host is noticed.
///
/// # Errors
/// When it cannot be reached.
pub async fn dial(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    Ok(stream)
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    // On loopback the end of a peer is always told.
    if stream.peer_addr()?.ip().is_loopback() {
        return Ok(());
    }
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    Ok(())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("inbound_len", &self.inbound.len())
            .field("outbound_len", &self.outbound.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, duplex};

    #[tokio::test]
    async fn several_responses_in_one_read_come_one_by_one() {
        let (ours, mut theirs) = duplex(64);
        let mut connection = Connection::over(ours);
        let mut wire = BytesMut::new();
        Response::Noop.encode(&mut wire);
        Response::NoJob.encode(&mut wire);
        theirs.write_all(&wire).await.unwrap();
        drop(theirs);
        assert_eq!(connection.next().await.unwrap(), Response::Noop);
        assert_eq!(connection.next().await.unwrap(), Response::NoJob);
        assert!(matches!(connection.next().await, Err(ConnectionError::Closed)));
    }

    #[tokio::test]
    async fn two_sides_with_much_to_say_do_not_wait_for_each_other() {
        let (ours, theirs) = duplex(16);
        let mut connection = Connection::over(ours);
        let big = vec![b'x'; 100_000];
        connection.queue(&Request::Echo(big.clone().into()));
        let (mut from_us, mut to_us) = tokio::io::split(theirs);
        // This server reads nothing before all that it has to say is taken.
        let server = async {
            let mut wire = BytesMut::new();
            Response::Echo(big.clone().into()).encode(&mut wire);
            to_us.write_all(&wire).await.unwrap();
            let mut received = vec![0; 100_012];
            from_us.read_exact(&mut received).await.unwrap();
        };
        let (sent, ()) = tokio::join!(connection.flush(), server);
        sent.unwrap();
        assert_eq!(connection.next().await.unwrap(), Response::Echo(big.into()));
    }

    #[tokio::test]
    async fn a_server_that_speaks_something_else_is_told_from_gearman() {
        let (ours, mut theirs) = duplex(64);
        let mut connection = Connection::over(ours);
        theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        let error = connection.next().await.unwrap_err();
        assert_eq!(error.to_string(), "the server sent a line of text: HTTP/1.1 400 Bad Request");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let server: ServerAddress = "unix:/nonexistent/gearman.sock".parse().unwrap();
        let error = Connection::open(&server).await.unwrap_err();
        let wanted = "cannot connect to the Gearman server unix:/nonexistent/gearman.sock";
        assert_eq!(error.to_string(), wanted);
    }
}
