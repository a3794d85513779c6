//! What is to be sent through one socket.
//!
//! Small packets are copied one behind the other; the bodies of large ones are sent from the
//! buffer that they were read into.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

use crate::forward::state::Packet;

/// Bodies up to this are copied.
const COPIED_LEN_MAX: usize = 4096;
/// Pieces that one write takes at most.
const PIECES_MAX: usize = 16;
/// An empty buffer beyond this is given back.
const KEPT_LEN_MAX: usize = 4096;

/// Encoded and not yet taken by the kernel.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

/// What a try to write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    All,
    Blocked,
    /// The peer has gone.
    Broken,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, packet: Packet) {
        let before = self.tail.len();
        match packet {
            Packet::Frame(frame) => {
                self.tail.put_slice(&frame.header());
                if frame.body.len() > COPIED_LEN_MAX {
                    self.len += self.tail.len() - before + frame.body.len();
                    self.pieces.push_back(self.tail.split().freeze());
                    self.pieces.push_back(frame.body);
                    return;
                }
                self.tail.put_slice(&frame.body);
            }
            Packet::Request(request) => request.encode(&mut self.tail),
            Packet::Response(response) => response.encode(&mut self.tail),
            Packet::Text(text) => self.tail.put_slice(&text),
        }
        self.len += self.tail.len() - before;
    }

    /// Writes what the kernel takes.
    pub(super) fn write(&mut self, stream: &TcpStream) -> Written {
        while self.len > 0 {
            match self.write_once(stream) {
                Ok(len) => self.advance(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
                Err(_) => return Written::Broken,
            }
        }
        if self.tail.capacity() > KEPT_LEN_MAX {
            self.tail = BytesMut::new();
        }
        Written::All
    }

    fn write_once(&self, stream: &TcpStream) -> io::Result<usize> {
        if self.pieces.is_empty() {
            return stream.try_write(&self.tail);
        }
        let pieces = self.pieces.iter().map(|piece| IoSlice::new(piece));
        let pieces = pieces.chain([IoSlice::new(&self.tail)]);
        stream.try_write_vectored(&pieces.take(PIECES_MAX).collect::<Vec<_>>())
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                return piece.advance(written);
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
        if written == self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::protocol::{Frame, Kind, Magic, Request};

    #[tokio::test]
    async fn large_bodies_and_small_packets_keep_their_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let frame = |body: Vec<u8>| {
            Packet::Frame(Frame { magic: Magic::Request, kind: Kind::EchoReq, body: body.into() })
        };
        let (small, large) = (vec![1; 100], vec![2; 3 << 20]);
        let mut outbox = Outbox::default();
        let mut wanted = BytesMut::new();
        for body in [&small, &large, &small, &large] {
            outbox.push(frame(body.clone()));
            Request::Echo(body.clone().into()).encode(&mut wanted);
        }
        assert_eq!(outbox.len(), wanted.len());
        let mut got = vec![0; wanted.len()];
        let write = async {
            while outbox.write(&stream) == Written::Blocked {
                stream.writable().await.unwrap();
            }
        };
        let ((), read) = tokio::join!(write, far.read_exact(&mut got));
        read.unwrap();
        assert!(got == wanted[..], "the bytes differ");
        assert_eq!(outbox.len(), 0);
    }
}
