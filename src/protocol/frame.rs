//! Cutting a connection's bytes into frames and text lines.
//!
//! A first byte of zero begins a binary frame, anything else a text line; the two may alternate on
//! one connection. Sizes are judged from the header, before memory is taken for the body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Kind;

/// Bytes before a packet's body: magic, type, size.
pub const HEADER_LEN: usize = 12;
/// Room that is made for a body of which little has come.
const GROWTH_MIN: usize = 16 * 1024;
/// Longest text command, in bytes; gearmand's receive buffer.
pub const LINE_LEN_MAX: usize = 8192;

const REQ: [u8; 4] = *b"\0REQ";
const RES: [u8; 4] = *b"\0RES";

/// Which side a frame claims to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// `\0REQ`, from a client or a worker.
    Request,
    /// `\0RES`, from a server.
    Response,
}

/// One binary packet, its body still undivided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The side it claims to come from.
    pub magic: Magic,
    /// Its type.
    pub kind: Kind,
    /// What follows the header.
    pub body: Bytes,
}

impl Frame {
    /// What goes before the body on the wire.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_LEN] {
        let [m0, m1, m2, m3] = self.magic.bytes();
        let [k0, k1, k2, k3] = self.kind.number().to_be_bytes();
        // A body that came with a packet fits into one.
        let len = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        let [l0, l1, l2, l3] = len.to_be_bytes();
        [m0, m1, m2, m3, k0, k1, k2, k3, l0, l1, l2, l3]
    }
}

impl Magic {
    fn bytes(self) -> [u8; 4] {
        match self {
            Self::Request => REQ,
            Self::Response => RES,
        }
    }
}

/// One complete thing a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A binary packet.
    Frame(Frame),
    /// A text command without its line end.
    Line(Bytes),
}

/// Why a connection's bytes cannot be read on; nothing after it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Neither `\0REQ` nor `\0RES`.
    #[error("not a Gearman packet: the first four bytes are {0:02x?}")]
    BadMagic([u8; 4]),
    /// A type that the protocol does not have.
    #[error("unknown packet type {0}")]
    UnknownKind(u32),
    /// A body above the limit.
    #[error("a packet of {size} bytes is above max_packet ({max} bytes)")]
    TooLarge {
        /// What the header claims.
        size: u32,
        /// The limit.
        max: usize,
    },
    /// A text line without an end.
    #[error("a text command of more than {LINE_LEN_MAX} bytes")]
    LineTooLong,
}

/// Cuts a connection's bytes into what was sent.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    packet_len_max: usize,
}

impl Decoder {
    /// A decoder that refuses bodies of more than `packet_len_max` bytes.
    #[must_use]
    pub fn new(packet_len_max: usize) -> Self {
        Self { packet_len_max }
    }

    /// Takes the next complete frame or line off the front of `buffer`.
    ///
    /// `None` means that more bytes are needed; room for some of them is then reserved.
    ///
    /// # Errors
    /// When what stands there is no packet or is too large; the connection is of no further use.
    pub fn next(&self, buffer: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        match buffer.first() {
            None => Ok(None),
            Some(0) => Ok(self.next_frame(buffer)?.map(Incoming::Frame)),
            Some(_) => Ok(next_line(buffer)?.map(Incoming::Line)),
        }
    }

    fn next_frame(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(mut header) = buffer.get(..HEADER_LEN) else { return Ok(None) };
        let mut magic = [0; 4];
        header.copy_to_slice(&mut magic);
        let magic = match magic {
            REQ => Magic::Request,
            RES => Magic::Response,
            other => return Err(FrameError::BadMagic(other)),
        };
        let number = header.get_u32();
        let kind = Kind::from_number(number).ok_or(FrameError::UnknownKind(number))?;
        let size = header.get_u32();
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        if len > self.packet_len_max {
            return Err(FrameError::TooLarge { size, max: self.packet_len_max });
        }
        if buffer.len() < HEADER_LEN + len {
            // Room grows with what has come: a claim alone, made on a thousand connections, must
            // not take memory.
            let missing = HEADER_LEN + len - buffer.len();
            buffer.reserve(missing.min(buffer.len().max(GROWTH_MIN)));
            return Ok(None);
        }
        let mut whole = buffer.split_to(HEADER_LEN + len);
        whole.advance(HEADER_LEN);
        Ok(Some(Frame { magic, kind, body: whole.freeze() }))
    }
}

fn next_line(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let searched = buffer.get(..LINE_LEN_MAX).unwrap_or(buffer);
    let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
        let hopeless = buffer.len() >= LINE_LEN_MAX;
        return if hopeless { Err(FrameError::LineTooLong) } else { Ok(None) };
    };
    let mut line = buffer.split_to(end + 1);
    line.truncate(end);
    if line.last() == Some(&b'\r') {
        line.truncate(end - 1);
    }
    Ok(Some(line.freeze()))
}

/// Appends a packet whose body is `parts` joined by NULs.
pub(super) fn put_packet(out: &mut BytesMut, magic: Magic, kind: Kind, parts: &[&[u8]]) {
    let len = parts.iter().map(|part| part.len()).sum::<usize>() + parts.len().saturating_sub(1);
    out.reserve(HEADER_LEN + len);
    out.put_slice(&magic.bytes());
    out.put_u32(kind.number());
    // Bodies are bounded by max_packet, which is itself below 4 GiB.
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.put_u8(0);
        }
        out.put_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8]) -> BytesMut {
        BytesMut::from(text)
    }

    #[test]
    fn a_packet_comes_out_whole_however_it_was_cut() {
        let mut sent = BytesMut::new();
        put_packet(&mut sent, Magic::Request, Kind::SubmitJob, &[b"f", b"u", b"pay\0load"]);
        let mut buffer = BytesMut::new();
        for (at, byte) in sent.iter().enumerate() {
            buffer.put_u8(*byte);
            let got = Decoder::new(100).next(&mut buffer).unwrap();
            assert_eq!(got.is_some(), at + 1 == sent.len(), "after byte {at}");
            if let Some(Incoming::Frame(frame)) = got {
                assert_eq!(&frame.body[..], b"f\0u\0pay\0load");
            }
        }
    }

    #[test]
    fn a_frame_is_passed_on_as_it_came() {
        let mut sent = BytesMut::new();
        put_packet(&mut sent, Magic::Response, Kind::JobAssign, &[b"H:x:1", b"f", b"pay\0load"]);
        let wire = sent.clone();
        let Ok(Some(Incoming::Frame(frame))) = Decoder::new(100).next(&mut sent) else { panic!() };
        assert_eq!([&frame.header()[..], &frame.body[..]].concat(), wire);
    }

    #[test]
    fn text_and_packets_alternate() {
        let mut buffer = bytes(b"status\r\nversion\n");
        put_packet(&mut buffer, Magic::Request, Kind::PreSleep, &[]);
        buffer.put_slice(b"workers\n");
        let decoder = Decoder::new(100);
        let mut next = || decoder.next(&mut buffer).unwrap().unwrap();
        assert_eq!(next(), Incoming::Line(Bytes::from_static(b"status")));
        assert_eq!(next(), Incoming::Line(Bytes::from_static(b"version")));
        assert!(matches!(next(), Incoming::Frame(frame) if frame.kind == Kind::PreSleep));
        assert_eq!(next(), Incoming::Line(Bytes::from_static(b"workers")));
    }

    #[test]
    fn a_huge_claim_is_refused_before_memory_is_taken() {
        let mut buffer = bytes(b"\0REQ\0\0\0\x07\xf0\0\0\0");
        let room = buffer.capacity();
        let error = Decoder::new(1 << 20).next(&mut buffer).unwrap_err();
        assert_eq!(error, FrameError::TooLarge { size: 0xf000_0000, max: 1 << 20 });
        assert_eq!(buffer.capacity(), room);
    }

    #[test]
    fn room_for_a_body_grows_with_what_has_come() {
        let mut buffer = bytes(b"\0REQ\0\0\0\x07\x03\0\0\0");
        assert_eq!(Decoder::new(1 << 30).next(&mut buffer), Ok(None));
        assert!(buffer.capacity() < 4 * GROWTH_MIN, "{}", buffer.capacity());
    }

    #[test]
    fn garbage_is_told_from_packets() {
        let cases: [(&[u8], FrameError); 3] = [
            (b"\0XYZ\0\0\0\x07\0\0\0\0", FrameError::BadMagic(*b"\0XYZ")),
            (b"\0REQ\0\0\0\0\0\0\0\0", FrameError::UnknownKind(0)),
            (b"\0REQ\x80\0\0\0\0\0\0\0", FrameError::UnknownKind(0x8000_0000)),
        ];
        for (sent, wanted) in cases {
            assert_eq!(Decoder::new(100).next(&mut bytes(sent)), Err(wanted));
        }
        let endless = vec![b'x'; LINE_LEN_MAX];
        assert_eq!(Decoder::new(100).next(&mut bytes(&endless)), Err(FrameError::LineTooLong));
    }
}
