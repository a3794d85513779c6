//! Buffers that pipes are read into; followers share them, so that what they are sent is no copy.
//!
//! A buffer serves again once nobody holds a part of it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Buffers that are remembered while others hold them: about what one follower's queue holds.
const LENT_MAX: usize = 16;

/// The buffers of one thread.
#[derive(Debug)]
pub(super) struct Buffers {
    len: usize,
    /// Those that nobody else holds first, then those lent, the oldest first.
    known: VecDeque<Bytes>,
}

impl Buffers {
    /// Buffers of `len` bytes each.
    pub(super) fn new(len: usize) -> Self {
        Self { len, known: VecDeque::new() }
    }

    /// A buffer that nobody else sees, filled with anything.
    pub(super) fn take(&mut self) -> BytesMut {
        match self.known.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(free)) => free,
            // Whoever holds it will free it, when it is forgotten here.
            Some(Err(lent)) if self.known.len() < LENT_MAX => {
                self.known.push_front(lent);
                BytesMut::zeroed(self.len)
            }
            Some(Err(_)) | None => BytesMut::zeroed(self.len),
        }
    }

    /// Forgets all of them; those that are lent are freed by whoever holds them.
    pub(super) fn forget(&mut self) {
        self.known = VecDeque::new();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Gives a whole buffer back, of which others may hold parts.
    pub(super) fn give_back(&mut self, buffer: Bytes) {
        if !buffer.is_unique() {
            self.known.push_back(buffer);
            return;
        }
        // Nobody takes parts any more, or few: those of the last flood are let go one by one.
        self.known.pop_back();
        self.known.push_front(buffer);
    }
}

/// A part of `buffer` without a copy; `None` when `bytes` lie elsewhere.
pub(super) fn part_of(buffer: &Bytes, bytes: &[u8]) -> Option<Bytes> {
    let (whole, part) = (buffer.as_ptr_range(), bytes.as_ptr_range());
    let is_within = whole.start <= part.start && part.end <= whole.end;
    is_within.then(|| buffer.slice_ref(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_serves_again_only_when_nobody_holds_a_part_of_it() {
        let mut buffers = Buffers::new(8);
        let mut lent = VecDeque::new();
        for n in 0..100_u8 {
            let mut buffer = buffers.take();
            assert_eq!(buffer.len(), 8);
            buffer.fill(n);
            let buffer = buffer.freeze();
            lent.push_back((n, part_of(&buffer, &buffer[2..5]).unwrap()));
            buffers.give_back(buffer);
            if lent.len() > 3 {
                lent.pop_front();
            }
            assert!(lent.iter().all(|(n, part)| part == &[*n; 3][..]));
            assert!(buffers.known.len() <= 5, "{}", buffers.known.len());
        }
        lent.clear();
        for _ in 0..10 {
            let buffer = buffers.take().freeze();
            buffers.give_back(buffer);
        }
        assert_eq!(buffers.known.len(), 1);
    }

    #[test]
    fn parts_that_are_held_for_long_cost_no_more_than_themselves() {
        let mut buffers = Buffers::new(8);
        let mut lent = Vec::new();
        for _ in 0..100 {
            let buffer = buffers.take().freeze();
            lent.push(part_of(&buffer, &buffer[..]).unwrap());
            buffers.give_back(buffer);
        }
        assert!(buffers.known.len() <= LENT_MAX + 1, "{}", buffers.known.len());
        assert_eq!(part_of(&lent[0], b"elsewhere"), None);
    }
}
