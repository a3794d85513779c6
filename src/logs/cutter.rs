//! Cuts what a pipe gives into whole lines, and holds the unended last one back for a while.

use std::time::Duration;

use memchr::{memchr, memrchr};
use tokio::time::Instant;

/// A line is passed on in parts of this length.
pub(super) const PART_LEN_MAX: usize = 256 * 1024;
/// A line whose end does not come is passed on unended after this.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(1);
/// An empty buffer larger than this is given back.
const IDLE_LEN_MAX: usize = 4 * 1024;

/// The cutter of one pipe.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    held: Vec<u8>,
    held_since: Option<Instant>,
}

/// Bytes that may be passed on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut<'a> {
    /// Lines with their ends; or a single part without one.
    pub(super) bytes: &'a [u8],
    /// True for a part whose rest comes later.
    pub(super) part: bool,
}

impl Cutter {
    /// Takes what was read at `now`; `emit` gets every whole line, many at once.
    pub(super) fn feed(&mut self, now: Instant, bytes: &[u8], mut emit: impl FnMut(Cut<'_>)) {
        let Some(last_end) = memrchr(b'\n', bytes) else {
            self.hold(now, bytes, &mut emit);
            return;
        };
        let (mut whole, rest) = bytes.split_at(last_end + 1);
        if !self.held.is_empty() {
            let first_end = memchr(b'\n', whole).unwrap_or(last_end);
            let (head, tail) = whole.split_at(first_end + 1);
            self.held.extend_from_slice(head);
            emit(Cut { bytes: &self.held, part: false });
            self.release();
            whole = tail;
        }
        if !whole.is_empty() {
            emit(Cut { bytes: whole, part: false });
        }
        self.hold(now, rest, &mut emit);
    }

    /// Passes an unended line on: as a part while its pipe lives, as the last line at its end.
    pub(super) fn flush(&mut self, part: bool, emit: impl FnOnce(Cut<'_>)) {
        if !self.held.is_empty() {
            emit(Cut { bytes: &self.held, part });
            self.release();
        }
    }

    /// When an unended line is to be flushed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held_since.map(|since| since + HOLD_MAX)
    }

    /// Bytes held back.
    pub(super) fn held_len(&self) -> usize {
        self.held.len()
    }

    fn hold(&mut self, now: Instant, bytes: &[u8], emit: &mut impl FnMut(Cut<'_>)) {
        if bytes.is_empty() {
            return;
        }
        self.held.extend_from_slice(bytes);
        self.held_since.get_or_insert(now);
        if self.held.len() < PART_LEN_MAX {
            return;
        }
        let cut = char_boundary(&self.held);
        let rest = self.held.split_off(cut);
        emit(Cut { bytes: &self.held, part: true });
        self.release();
        if !rest.is_empty() {
            self.held = rest;
            self.held_since = Some(now);
        }
    }

    fn release(&mut self) {
        self.held_since = None;
        self.held.clear();
        if self.held.capacity() > IDLE_LEN_MAX {
            self.held = Vec::new();
        }
    }
}

/// Where to cut so that no UTF-8 character is torn; the end when it is no UTF-8 anyway.
fn char_boundary(bytes: &[u8]) -> usize {
    let end = bytes.len();
    let lead = bytes.iter().rev().take(3).position(|byte| !(0x80..0xC0).contains(byte));
    let Some(follow) = lead else { return end };
    let begin = end - follow - 1;
    let len = match bytes.get(begin) {
        Some(0xC0..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..) => 4,
        _ => 1,
    };
    if follow + 1 < len { begin } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Vec<(Vec<u8>, bool)>;

    fn feed(cutter: &mut Cutter, bytes: &[u8]) -> Seen {
        let mut seen = Seen::new();
        let now = Instant::now();
        cutter.feed(now, bytes, |cut| seen.push((cut.bytes.to_vec(), cut.part)));
        seen
    }

    fn whole(bytes: &[u8]) -> (Vec<u8>, bool) {
        (bytes.to_vec(), false)
    }

    #[test]
    fn whole_lines_pass_in_one_piece_and_an_unended_one_waits_for_its_end() {
        let mut cutter = Cutter::default();
        assert_eq!(feed(&mut cutter, b"a\nb\nc"), [whole(b"a\nb\n")]);
        assert!(cutter.due().is_some());
        assert_eq!(feed(&mut cutter, b"d"), []);
        assert_eq!(feed(&mut cutter, b"e\nf\n"), [whole(b"cde\n"), whole(b"f\n")]);
        assert_eq!(cutter.due(), None);
    }

    #[test]
    fn a_flushed_line_goes_on_with_what_comes_later() {
        let mut cutter = Cutter::default();
        feed(&mut cutter, b"password: ");
        let mut seen = Vec::new();
        cutter.flush(true, |cut| seen.push((cut.bytes.to_vec(), cut.part)));
        assert_eq!(seen, [(b"password: ".to_vec(), true)]);
        assert_eq!(feed(&mut cutter, b"\n"), [whole(b"\n")]);
        cutter.flush(false, |_| panic!("nothing is held"));
    }

    #[test]
    fn a_very_long_line_comes_in_parts_that_add_up_and_tear_no_character() {
        let line = "aä€😀".repeat(70_000);
        let mut cutter = Cutter::default();
        let mut seen = Seen::new();
        for piece in line.as_bytes().chunks(65_521) {
            seen.extend(feed(&mut cutter, piece));
        }
        seen.extend(feed(&mut cutter, b"\n"));
        let (last, parts) = seen.split_last().unwrap();
        assert!(parts.len() >= 2 && parts.iter().all(|(_, part)| *part));
        assert!(!last.1);
        assert!(seen.iter().all(|(part, _)| std::str::from_utf8(part).is_ok()));
        let joined: Vec<u8> = seen.into_iter().flat_map(|(part, _)| part).collect();
        assert_eq!(joined, [line.as_bytes(), b"\n"].concat());
    }
}
