//! Which lines belong together: stack traces and the like, kept in one piece.
//!
//! A record is a line and those after it that continue it. Its end is known when another begins, or
//! when nothing follows for a moment.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr_iter, memrchr};
use regex::bytes::Regex;

use super::ansi::strip;
use super::chunk::lines;
use crate::config::Continuation;

/// Tells lines that continue a record from those that begin one.
#[derive(Clone, Debug)]
pub enum RecordRule {
    /// Lines that begin with a blank, or hold nothing else.
    Indented,
    /// Lines that match.
    Matching(Arc<Regex>),
}

impl PartialEq for RecordRule {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Indented, Self::Indented) => true,
            (Self::Matching(a), Self::Matching(b)) => a.as_str() == b.as_str(),
            (Self::Indented, Self::Matching(_)) | (Self::Matching(_), Self::Indented) => false,
        }
    }
}

impl Eq for RecordRule {}

impl RecordRule {
    /// As a pool's settings say; `None` where every line stands for itself.
    pub(super) fn new(continuation: Option<&Continuation>) -> Option<Self> {
        match continuation? {
            Continuation::Indented => Some(Self::Indented),
            // It was checked when the file was read.
            Continuation::Matching(pattern) => {
                Regex::new(pattern).ok().map(|pattern| Self::Matching(Arc::new(pattern)))
            }
        }
    }

    /// Whether a line goes with the one before it.
    pub(super) fn continues(&self, line: &[u8]) -> bool {
        let line = &*strip(line);
        match self {
            Self::Indented => line.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r')),
            Self::Matching(pattern) => pattern.is_match(line),
        }
    }

    /// Where the last record of whole lines begins; `None` when all of them continue one.
    pub(super) fn last_begin(&self, bytes: &[u8]) -> Option<usize> {
        let mut end = bytes.len().checked_sub(1)?;
        loop {
            let before = bytes.get(..end)?;
            let begin = memrchr(b'\n', before).map_or(0, |at| at + 1);
            if !self.continues(before.get(begin..)?) {
                return Some(begin);
            }
            end = begin.checked_sub(1)?;
        }
    }

    /// The records of whole lines: what continues one that came earlier comes first.
    pub(super) fn split<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let begins = memchr_iter(b'\n', bytes).map(|end| end + 1);
        let mut begins = std::iter::once(0)
            .chain(begins.filter(|begin| *begin < bytes.len()))
            .filter(|begin| *begin == 0 || self.begins_at(bytes, *begin))
            .peekable();
        std::iter::from_fn(move || {
            let begin = begins.next()?;
            let end = begins.peek().copied().unwrap_or(bytes.len());
            (begin < end).then_some(begin..end)
        })
    }

    fn begins_at(&self, bytes: &[u8], begin: usize) -> bool {
        let line = bytes.get(begin..).and_then(|rest| lines(rest).next());
        line.is_some_and(|line| !self.continues(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_go_on_stay_with_the_line_that_began() {
        let cases: [(&str, &[&str]); 6] = [
            ("a\nb\n", &["a\n", "b\n"]),
            ("Error\n  at x\n\tat y\n\nnext\n", &["Error\n  at x\n\tat y\n\n", "next\n"]),
            ("  of an earlier one\na\n", &["  of an earlier one\n", "a\n"]),
            ("a\n b", &["a\n b"]),
            ("", &[]),
            (" x\n y\n", &[" x\n y\n"]),
        ];
        for (text, records) in cases {
            let found: Vec<_> =
                RecordRule::Indented.split(text.as_bytes()).map(|range| &text[range]).collect();
            assert_eq!(found, records);
            let last = RecordRule::Indented.last_begin(text.as_bytes());
            let begun = records.last().filter(|record| !record.starts_with([' ', '\t']));
            if text.ends_with('\n') {
                assert_eq!(last, begun.map(|record| text.len() - record.len()), "{text:?}");
            }
        }
        let php = Continuation::Matching("^(#[0-9]+|Stack trace:|  thrown)".to_owned());
        let records = RecordRule::new(Some(&php)).unwrap();
        let text = "PHP Fatal error: x\nStack trace:\n#0 {main}\n  thrown in y\nok\n";
        let found: Vec<_> = records.split(text.as_bytes()).map(|range| &text[range]).collect();
        assert_eq!(found.len(), 2);
        assert!(RecordRule::new(None).is_none());
    }
}
