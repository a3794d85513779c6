//! When a log file is rotated.

use memchr::{memchr, memrchr};

/// What is to happen next to bytes that wait for their file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write so many of them.
    Write(usize),
    /// Begin a new file first.
    Rotate,
}

/// How full a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// Its bytes.
    pub(super) size: u64,
    /// True when its last line has no end yet.
    pub(super) mid_line: bool,
}

/// Decides so that files end with a line's end and do not grow above `size_max`, unless a single
/// line is longer. `bytes` is not empty.
pub(super) fn next_step(bytes: &[u8], fill: Fill, size_max: u64) -> Step {
    let room = usize::try_from(size_max.saturating_sub(fill.size)).unwrap_or(usize::MAX);
    let Some(fits) = bytes.get(..room) else { return Step::Write(bytes.len()) };
    if fits.len() == bytes.len() {
        return Step::Write(bytes.len());
    }
    if let Some(end) = memrchr(b'\n', fits) {
        return Step::Write(end + 1);
    }
    if fill.size > 0 && !fill.mid_line {
        return Step::Rotate;
    }
    match memchr(b'\n', bytes) {
        Some(end) => Step::Write(end + 1),
        None if room == 0 && fill.size > 0 => Step::Rotate,
        None => Step::Write(bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_where_lines_end() {
        let step = |bytes: &[u8], size, mid_line, size_max| {
            next_step(bytes, Fill { size, mid_line }, size_max)
        };
        assert_eq!(step(b"a\nb\n", 0, false, 10), Step::Write(4));
        assert_eq!(step(b"a\nb\n", 6, false, 10), Step::Write(4));
        assert_eq!(step(b"a\nb\n", 7, false, 10), Step::Write(2));
        assert_eq!(step(b"a\nb\n", 9, false, 10), Step::Rotate);
        assert_eq!(step(b"a\nb\n", 90, false, 10), Step::Rotate);
        assert_eq!(step(b"longer than it\nb", 0, false, 10), Step::Write(15));
        assert_eq!(step(b"longer than it\nb", 8, true, 10), Step::Write(15));
        assert_eq!(step(b"a part without end", 8, true, 10), Step::Write(18));
        assert_eq!(step(b"a part without end", 26, true, 10), Step::Rotate);
    }
}
