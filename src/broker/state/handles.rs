//! Job numbers and the handles made of them.
//!
//! A number is never given out twice, also over a crash: blocks of numbers are reserved durably
//! before any of them is used, so the next start begins above everything that was ever told to a
//! client, foreground jobs included.

use bytes::Bytes;

use crate::model::JobId;

/// Numbers reserved at once. A reservation costs one commit; half a block is in hand meanwhile.
pub(super) const BLOCK_LEN: u64 = 65_536;

/// Gives out numbers and translates between them and handles.
#[derive(Debug)]
pub(super) struct Handles {
    prefix: String,
    /// Of handles that were given out earlier.
    prefix_before: String,
    next: u64,
    reserved: u64,
    asked: u64,
}

impl Handles {
    /// `prefixes`: the one that handles have, and the one that they had when the store was made.
    pub(super) fn new(prefixes: [&str; 2], next: JobId, reserved: JobId) -> Self {
        let reserved = reserved.0.max(next.0.saturating_sub(1));
        let [prefix, prefix_before] = prefixes.map(|prefix| format!("{prefix}:"));
        Self { prefix, prefix_before, next: next.0, reserved, asked: reserved }
    }

    /// The next number, if it is reserved.
    pub(super) fn take(&mut self) -> Option<JobId> {
        if self.next > self.reserved {
            return None;
        }
        let id = JobId(self.next);
        self.next += 1;
        Some(id)
    }

    /// The end of the block to reserve now, when less than half of one is left and none is asked.
    pub(super) fn ask_for_block(&mut self) -> Option<JobId> {
        let left = (self.reserved + 1).saturating_sub(self.next);
        if self.asked > self.reserved || left >= BLOCK_LEN / 2 {
            return None;
        }
        self.asked = self.reserved + BLOCK_LEN;
        Some(JobId(self.asked))
    }

    /// Numbers through this one are reserved durably.
    pub(super) fn granted(&mut self, through: JobId) {
        self.reserved = self.reserved.max(through.0);
    }

    /// The reservation could not be stored; it may be asked for again.
    pub(super) fn refused(&mut self) {
        self.asked = self.reserved;
    }

    /// The last number that is reserved durably.
    pub(super) fn reserved(&self) -> JobId {
        JobId(self.reserved)
    }

    pub(super) fn text(&self, id: JobId) -> String {
        format!("{}{id}", self.prefix)
    }

    /// The handle as it goes over the wire; made once for each answer, so of one allocation.
    pub(super) fn bytes(&self, id: JobId) -> Bytes {
        let digits = id.0.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut handle = Vec::with_capacity(self.prefix.len() + digits);
        handle.extend_from_slice(self.prefix.as_bytes());
        handle.resize(self.prefix.len() + digits, b'0');
        let mut left = id.0;
        for digit in handle.iter_mut().rev().take(digits) {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        handle.into()
    }

    /// The number in a handle of ours, written exactly as we write it.
    pub(super) fn parse(&self, handle: &[u8]) -> Option<JobId> {
        let digits = handle
            .strip_prefix(self.prefix.as_bytes())
            .or_else(|| handle.strip_prefix(self.prefix_before.as_bytes()))?;
        if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok().map(JobId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reserved_numbers_are_given_out() {
        let mut handles = Handles::new(["H:x", "H:old"], JobId(1), JobId(0));
        assert_eq!(handles.take(), None);
        assert_eq!(handles.ask_for_block(), Some(JobId(BLOCK_LEN)));
        assert_eq!(handles.ask_for_block(), None, "one reservation at a time");
        handles.granted(JobId(BLOCK_LEN));
        assert_eq!(handles.take(), Some(JobId(1)));
        assert_eq!(handles.ask_for_block(), None, "more than half a block is left");
    }

    #[test]
    fn a_refused_reservation_is_asked_for_again() {
        let mut handles = Handles::new(["H:x", "H:old"], JobId(9), JobId(8));
        assert_eq!(handles.ask_for_block(), Some(JobId(8 + BLOCK_LEN)));
        handles.refused();
        assert_eq!(handles.ask_for_block(), Some(JobId(8 + BLOCK_LEN)));
    }

    #[test]
    fn a_handle_is_read_only_as_it_is_written() {
        let handles = Handles::new(["H:x", "H:old"], JobId(1), JobId(9));
        assert_eq!(handles.parse(handles.text(JobId(17)).as_bytes()), Some(JobId(17)));
        assert_eq!(handles.parse(b"H:old:17"), Some(JobId(17)), "the prefix was changed since");
        for id in [0, 9, 10, 99, 100, u64::MAX].map(JobId) {
            assert_eq!(handles.bytes(id), handles.text(id));
        }
        for other in
            ["H:x:", "H:x:017", "H:x:+1", "H:y:1", "H:x:1\0", "", "H:x:18446744073709551616"]
        {
            assert_eq!(handles.parse(other.as_bytes()), None, "{other}");
        }
    }
}
