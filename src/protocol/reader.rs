//! What a connection has sent and nobody has taken yet.

use bytes::BytesMut;

/// Bytes that one read of a connection takes at most.
pub const READ_LEN_MAX: usize = 64 * 1024;
/// Bytes of a cut packet up to which they are copied aside, so that the shared buffer stays.
const ASIDE_LEN_MAX: usize = 16 * 1024;

/// The front of a packet that has not wholly come; an idle connection holds no memory here.
#[derive(Debug, Default)]
pub struct Reader {
    partial: BytesMut,
    /// Whether `partial` may begin with whole packets: the last turn ended before it was through.
    pub backlog: bool,
}

impl Reader {
    /// The buffer to read on into: the shared one unless a large packet is under way.
    pub fn take(&mut self, shared: &mut BytesMut) -> BytesMut {
        if self.partial.len() > ASIDE_LEN_MAX {
            let mut own = std::mem::take(&mut self.partial);
            // The decoder made room as far as it believes the header; this is for its end.
            if own.len() == own.capacity() {
                own.reserve(READ_LEN_MAX);
            }
            return own;
        }
        let mut buffer = std::mem::take(shared);
        buffer.clear();
        buffer.reserve(READ_LEN_MAX + self.partial.len());
        buffer.extend_from_slice(&self.partial);
        self.partial = BytesMut::new();
        buffer
    }

    /// Puts the rest aside, and the buffer back where it can be shared.
    pub fn put_back(&mut self, mut buffer: BytesMut, shared: &mut BytesMut) {
        if buffer.len() > ASIDE_LEN_MAX {
            self.partial = buffer;
            return;
        }
        if !buffer.is_empty() {
            self.partial = BytesMut::from(&buffer[..]);
            buffer.clear();
        }
        if shared.capacity() == 0 {
            *shared = buffer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_rest_is_kept_in_memory_of_its_own_size() {
        let (mut reader, mut shared) = (Reader::default(), BytesMut::new());
        let mut buffer = reader.take(&mut shared);
        buffer.extend_from_slice(b"half");
        reader.put_back(buffer, &mut shared);
        assert!(reader.partial.capacity() < 64, "{}", reader.partial.capacity());
        assert!(shared.capacity() >= READ_LEN_MAX);
        assert_eq!(&reader.take(&mut shared)[..], b"half");
        assert_eq!(reader.partial.capacity(), 0);
    }

    #[test]
    fn a_large_rest_keeps_its_buffer_and_the_next_reader_gets_another() {
        let (mut reader, mut shared) = (Reader::default(), BytesMut::new());
        let mut buffer = reader.take(&mut shared);
        buffer.resize(ASIDE_LEN_MAX + 1, 7);
        reader.put_back(buffer, &mut shared);
        assert_eq!(shared.capacity(), 0);
        let mut other = Reader::default();
        assert!(other.take(&mut shared).capacity() >= READ_LEN_MAX);
        assert_eq!(reader.take(&mut shared).len(), ASIDE_LEN_MAX + 1);
    }
}
