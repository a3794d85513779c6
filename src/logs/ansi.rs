//! Takes terminal control sequences out of lines (ECMA-48: CSI, OSC and other strings, escapes).
//!
//! A sequence that a line's end cuts short ends with the line.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// The bytes without control sequences; line ends stay where they are.
pub(super) fn strip(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr(ESCAPE, bytes) else { return Cow::Borrowed(bytes) };
    let (plain, mut rest) = bytes.split_at(first);
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(plain);
    while !rest.is_empty() {
        rest = rest.get(sequence_len(rest)..).unwrap_or_default();
        let next = memchr(ESCAPE, rest).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(next);
        out.extend_from_slice(plain);
        rest = tail;
    }
    Cow::Owned(out)
}

/// The length of the sequence that `bytes` begin with.
fn sequence_len(bytes: &[u8]) -> usize {
    let line_end = memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes.get(..line_end).unwrap_or(bytes);
    let from = |begin: usize, is_last: fn(&u8) -> bool| {
        let tail = line.get(begin..).unwrap_or_default();
        tail.iter().position(is_last).map_or(line.len(), |at| begin + at + 1)
    };
    match line.get(1) {
        // Parameters and intermediates are below the final byte.
        Some(b'[') => from(2, |byte| !(0x20..0x40).contains(byte)),
        // A title, a hyperlink and the like: up to BEL or ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => string_len(line),
        // Intermediates, as in the choice of a character set.
        Some(0x20..0x30) => from(2, |byte| !(0x20..0x30).contains(byte)),
        Some(0x30..0x7f) => 2,
        Some(_) | None => 1,
    }
}

fn string_len(line: &[u8]) -> usize {
    let body = line.get(2..).unwrap_or_default();
    match memchr2(BELL, ESCAPE, body) {
        Some(end) if body.get(end) == Some(&BELL) => 2 + end + 1,
        Some(end) if body.get(end + 1) == Some(&b'\\') => 2 + end + 2,
        // Another sequence begins before it has ended.
        Some(end) => 2 + end,
        None => line.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_titles_and_links_go_and_text_stays() {
        for (bytes, plain) in [
            ("plain\n", "plain\n"),
            ("\x1b[31mred\x1b[0m and \x1b[1;38;5;9mbold\x1b[m\n", "red and bold\n"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "alink\n"),
            ("\x1b(Ba\x1b=b\x1bMc", "abc"),
            ("\x1b[?25lhidden\x1b[2K\r\n", "hidden\r\n"),
            ("cut \x1b[31\nnext \x1b]0;title\nlast\x1b", "cut \nnext \nlast"),
            ("ä\x1b[1m€\x1b", "ä€"),
            ("\x1b]0;t\x1b[1mx", "x"),
        ] {
            let stripped = strip(bytes.as_bytes());
            assert_eq!(String::from_utf8_lossy(&stripped), plain, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down_and_lines_stay_lines(
            bytes in prop::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b'\n'), 0..=255_u8], 0..60)
        ) {
            let stripped = strip(&bytes);
            prop_assert_eq!(memchr(ESCAPE, &stripped), None);
            let ends = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count();
            prop_assert_eq!(ends(&stripped), ends(&bytes));
        }
    }
}
