//! Cuts what a pipe gives into whole lines, and holds the unended last one back for a while.
//!
//! Where several lines make one record, the last record is held back, too, since lines that belong to
//! it may follow.

use std::time::Duration;

use memchr::{memchr, memrchr};
use tokio::time::Instant;

use super::records::RecordRule;

/// A line that is not read with its end is passed on in parts of this length.
pub(super) const PART_LEN_MAX: usize = 256 * 1024;
/// A line whose end does not come, or a record that does not end, is passed on as it is after this.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(1);
/// A record is whole when nothing has followed for this long.
const QUIET: Duration = Duration::from_millis(100);
/// An unended line up to this length is read into the same buffer as its rest.
pub(super) const JOINED_LEN_MAX: usize = 4 * 1024;
/// An empty buffer larger than this is given back.
const IDLE_LEN_MAX: usize = 4 * 1024;

/// The cutter of one pipe.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    rule: Option<RecordRule>,
    held: Vec<u8>,
    held_since: Option<Instant>,
    fed_at: Option<Instant>,
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
    /// Cuts records by `rule` from now on.
    pub(super) fn configure(&mut self, rule: Option<RecordRule>) {
        self.rule = rule;
    }

    /// The length of what is held, if it is to stand in front of what is read next, so that both are
    /// passed on in one piece.
    pub(super) fn joinable_len(&self) -> usize {
        let is_short = self.rule.is_none() && self.held.len() <= JOINED_LEN_MAX;
        if is_short { self.held.len() } else { 0 }
    }

    /// Moves so much of what is held to the front of what is fed next.
    pub(super) fn join(&mut self, front: &mut [u8]) {
        let held = self.held.drain(..front.len());
        front.copy_from_slice(held.as_slice());
    }

    /// Takes what was read at `now`; `emit` gets every whole line, many at once.
    pub(super) fn feed(&mut self, now: Instant, bytes: &[u8], mut emit: impl FnMut(Cut<'_>)) {
        if self.rule.is_some() {
            self.feed_records(now, bytes, &mut emit);
            return;
        }
        let Some(last_end) = memrchr(b'\n', bytes) else {
            self.hold(now, bytes, &mut emit);
            return;
        };
        let (mut whole, rest) = bytes.split_at(last_end + 1);
        if !self.held.is_empty() {
            let first_end = memchr(b'\n', whole).unwrap_or(last_end);
            let (head, tail) = whole.split_at(first_end + 1);
            self.hold(now, head.get(..first_end).unwrap_or_default(), &mut emit);
            self.held.push(b'\n');
            emit(Cut { bytes: &self.held, part: false });
            self.release();
            whole = tail;
        }
        if !whole.is_empty() {
            emit(Cut { bytes: whole, part: false });
        }
        self.held_since = None;
        self.hold(now, rest, &mut emit);
    }

    /// Passes an unended line on: as a part while its pipe lives, as the last line at its end.
    pub(super) fn flush(&mut self, part: bool, mut emit: impl FnMut(Cut<'_>)) {
        let whole = memrchr(b'\n', &self.held).map_or(0, |end| end + 1);
        let (lines, unended) = self.held.split_at(whole);
        if !lines.is_empty() {
            emit(Cut { bytes: lines, part: false });
        }
        if !unended.is_empty() {
            emit(Cut { bytes: unended, part });
        }
        self.release();
    }

    /// When what is held is to be flushed.
    pub(super) fn due(&self) -> Option<Instant> {
        let at_last = self.held_since? + HOLD_MAX;
        let is_whole = self.held.last() == Some(&b'\n');
        let quiet = self.fed_at.filter(|_| is_whole).map(|at| at + QUIET);
        Some(quiet.map_or(at_last, |quiet| quiet.min(at_last)))
    }

    /// Bytes held back.
    pub(super) fn held_len(&self) -> usize {
        self.held.len()
    }

    fn feed_records(&mut self, now: Instant, bytes: &[u8], emit: &mut impl FnMut(Cut<'_>)) {
        self.fed_at = Some(now);
        self.held_since.get_or_insert(now);
        self.held.extend_from_slice(bytes);
        let whole = memrchr(b'\n', &self.held).map_or(0, |end| end + 1);
        let lines = self.held.get(..whole).unwrap_or_default();
        let begin = self.rule.as_ref().and_then(|rule| rule.last_begin(lines)).unwrap_or(0);
        // Of a record without end at least whole lines are passed on.
        let cut = if self.held.len() - begin < PART_LEN_MAX { begin } else { whole };
        if cut > 0 {
            let rest = self.held.split_off(cut);
            emit(Cut { bytes: &self.held, part: false });
            self.release();
            self.hold(now, &rest, emit);
        } else if self.held.len() >= PART_LEN_MAX {
            self.hold(now, b"", emit);
        }
    }

    fn hold(&mut self, now: Instant, bytes: &[u8], emit: &mut impl FnMut(Cut<'_>)) {
        if bytes.is_empty() && self.held.is_empty() {
            return;
        }
        self.held.extend_from_slice(bytes);
        self.held_since.get_or_insert(now);
        if self.held.len() < PART_LEN_MAX {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while let Some(part) = rest.get(..PART_LEN_MAX) {
            let (part, tail) = rest.split_at(char_boundary(part));
            emit(Cut { bytes: part, part: true });
            rest = tail;
        }
        self.release();
        if !rest.is_empty() {
            self.held.extend_from_slice(rest);
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
    fn a_short_unended_line_comes_in_one_piece_with_what_follows() {
        let mut cutter = Cutter::default();
        let joined = |cutter: &mut Cutter, read: &[u8]| {
            let mut bytes = [vec![0; cutter.joinable_len()], read.to_vec()].concat();
            let front_len = cutter.joinable_len();
            cutter.join(&mut bytes[..front_len]);
            feed(cutter, &bytes)
        };
        assert_eq!(joined(&mut cutter, b"a\nb"), [whole(b"a\n")]);
        let due = cutter.due();
        assert_eq!(joined(&mut cutter, b"c"), []);
        assert!(due.is_some() && cutter.due() == due, "it is due when its begin is");
        assert_eq!(joined(&mut cutter, b"d\ne\n"), [whole(b"bcd\ne\n")]);
        assert_eq!(cutter.due(), None);
        feed(&mut cutter, &[b'x'; JOINED_LEN_MAX + 1]);
        assert_eq!(cutter.joinable_len(), 0);
        cutter.flush(false, |_| {});
        cutter.configure(Some(RecordRule::Indented));
        feed(&mut cutter, b"a record\n");
        assert_eq!(cutter.joinable_len(), 0, "its end is not known yet");
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
    fn a_record_of_several_lines_comes_in_one_piece_however_it_is_read() {
        let text = b"one\nError: x\n  at a\n  at b\n\ntwo\n  three\nlast";
        for len in 1..text.len() {
            let mut cutter = Cutter::default();
            cutter.configure(Some(RecordRule::Indented));
            let mut seen = Seen::new();
            for piece in text.chunks(len) {
                seen.extend(feed(&mut cutter, piece));
            }
            cutter.flush(false, |cut| seen.push((cut.bytes.to_vec(), cut.part)));
            let joined: Vec<u8> = seen.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            assert_eq!(joined, text);
            let begins = |(bytes, _): &(Vec<u8>, bool)| bytes.first().is_some_and(|b| *b > b' ');
            assert!(seen.iter().all(begins), "{len}: {seen:?}");
        }
    }

    #[test]
    fn a_record_is_over_when_nothing_follows_for_a_moment() {
        let mut cutter = Cutter::default();
        cutter.configure(Some(RecordRule::Indented));
        let now = Instant::now();
        cutter.feed(now, b"Error\n", |_| panic!("more may follow"));
        assert_eq!(cutter.due(), Some(now + QUIET));
        cutter.feed(now + QUIET / 2, b"  at a\n  at", |_| panic!("more may follow"));
        assert_eq!(cutter.due(), Some(now + HOLD_MAX), "the line has not ended");
        let mut seen = Seen::new();
        cutter.flush(true, |cut| seen.push((cut.bytes.to_vec(), cut.part)));
        assert_eq!(seen, [whole(b"Error\n  at a\n"), (b"  at".to_vec(), true)]);
    }

    #[test]
    fn a_record_without_end_is_passed_on_in_whole_lines() {
        let mut cutter = Cutter::default();
        cutter.configure(Some(RecordRule::Indented));
        let mut len = 0;
        for _ in 0..400 {
            for (bytes, part) in feed(&mut cutter, &b"  line\n".repeat(1000)) {
                assert!(bytes.ends_with(b"\n") && !part);
                len += bytes.len();
            }
            assert!(cutter.held_len() < PART_LEN_MAX);
        }
        assert_eq!(len + cutter.held_len(), 7 * 400_000);
        assert!(!feed(&mut cutter, &b"x".repeat(PART_LEN_MAX)).is_empty());
        assert!(cutter.held_len() < PART_LEN_MAX);
    }

    #[test]
    fn a_very_long_line_comes_in_parts_that_add_up_and_tear_no_character() {
        let line = "aä€😀".repeat(70_000);
        let input = [line.as_bytes(), b"\n"].concat();
        for piece_len in [65_521, 300_000, 500_000] {
            let mut cutter = Cutter::default();
            let mut seen = Seen::new();
            for piece in input.chunks(piece_len) {
                seen.extend(feed(&mut cutter, piece));
            }
            let (last, parts) = seen.split_last().unwrap();
            assert!(parts.len() >= 2 && parts.iter().all(|(_, part)| *part));
            assert!(!last.1);
            assert!(seen.iter().all(|(part, _)| std::str::from_utf8(part).is_ok()));
            assert!(seen.iter().all(|(part, _)| part.len() <= PART_LEN_MAX));
            let joined: Vec<u8> = seen.into_iter().flat_map(|(part, _)| part).collect();
            assert_eq!(joined, input);
        }
    }
}
