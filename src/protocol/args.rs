//! Dividing a packet's body at its NULs.

use bytes::{Buf, Bytes};
use memchr::memchr;

use super::Kind;

/// A body with fewer arguments than its packet type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} has fewer arguments than the protocol asks for")]
pub struct MalformedPacket {
    /// The packet's type.
    pub kind: Kind,
}

/// The arguments of one packet, taken from the front; slices of the body, not copies.
pub(super) struct Args {
    kind: Kind,
    rest: Bytes,
}

impl Args {
    pub(super) fn new(kind: Kind, body: Bytes) -> Self {
        Self { kind, rest: body }
    }

    /// The next NUL-ended argument.
    pub(super) fn next(&mut self) -> Result<Bytes, MalformedPacket> {
        let end = memchr(0, &self.rest);
        let end = end.ok_or(MalformedPacket { kind: self.kind })?;
        let arg = self.rest.split_to(end);
        self.rest.advance(1);
        Ok(arg)
    }

    /// Everything left: the packet's last argument, which may hold NULs.
    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    /// The last argument of packets whose last argument is a word; a closing NUL is forgiven.
    pub(super) fn last_word(self) -> Bytes {
        let mut word = self.rest;
        if let Some(end) = memchr(0, &word) {
            word.truncate(end);
        }
        word
    }

    /// A handle and opaque data; the NUL between may be missing when there is no data, as from
    /// Perl workers that return an empty result.
    pub(super) fn handle_and_data(mut self) -> (Bytes, Bytes) {
        match self.next() {
            Ok(handle) => (handle, self.rest),
            Err(_) => (self.rest, Bytes::new()),
        }
    }
}
