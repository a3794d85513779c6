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

/// Bytes that wait for their file. A file may end after each of their pieces: lines, or records of
/// several lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    /// What has not been written yet.
    pub(super) rest: &'a [u8],
    len: usize,
    /// Where records begin, ascending; `None` where each line is one.
    begins: Option<&'a [usize]>,
}

impl<'a> Batch<'a> {
    /// Lines with their ends, or records that begin at `begins`.
    pub(super) fn new(rest: &'a [u8], begins: Option<&'a [usize]>) -> Self {
        Self { rest, len: rest.len(), begins }
    }

    /// Whether a file may end before what comes next.
    pub(super) fn may_end_before(&self, fill: Fill) -> bool {
        let at = self.len - self.rest.len();
        let begins = self.begins.is_none_or(|begins| begins.binary_search(&at).is_ok());
        begins && !fill.mid_line
    }

    /// The end of the last piece within `room`, which is not all that is left.
    fn last_end(&self, room: usize) -> Option<usize> {
        let Some(begins) = self.begins else {
            return memrchr(b'\n', self.rest.get(..room)?).map(|end| end + 1);
        };
        let at = self.len - self.rest.len();
        let fits = begins.partition_point(|begin| *begin <= at + room);
        let end = begins.get(fits.checked_sub(1)?)?.checked_sub(at)?;
        (end > 0).then_some(end)
    }

    /// The end of the first piece; `None` when it has none yet.
    fn first_end(&self) -> Option<usize> {
        let Some(begins) = self.begins else {
            return memchr(b'\n', self.rest).map(|end| end + 1);
        };
        let at = self.len - self.rest.len();
        let next = begins.partition_point(|begin| *begin <= at);
        Some(begins.get(next).map_or(self.rest.len(), |begin| begin - at))
    }
}

/// Decides so that files end with a piece's end and do not grow above `size_max`, unless a single
/// piece is longer. The batch is not empty.
pub(super) fn next_step(batch: Batch<'_>, fill: Fill, size_max: u64) -> Step {
    let room = usize::try_from(size_max.saturating_sub(fill.size)).unwrap_or(usize::MAX);
    if batch.rest.len() <= room {
        return Step::Write(batch.rest.len());
    }
    if let Some(end) = batch.last_end(room) {
        return Step::Write(end);
    }
    if fill.size > 0 && batch.may_end_before(fill) {
        return Step::Rotate;
    }
    match batch.first_end() {
        Some(end) => Step::Write(end),
        None if room == 0 && fill.size > 0 => Step::Rotate,
        None => Step::Write(batch.rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_where_lines_end() {
        let step = |bytes: &[u8], size, mid_line, size_max| {
            next_step(Batch::new(bytes, None), Fill { size, mid_line }, size_max)
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

    #[test]
    fn files_end_between_records_of_several_lines() {
        let bytes = b"one\n two\nten\n";
        let step = |begins: &[usize], size, size_max| {
            let fill = Fill { size, mid_line: false };
            next_step(Batch::new(bytes, Some(begins)), fill, size_max)
        };
        assert_eq!(step(&[0, 9], 0, 12), Step::Write(9));
        assert_eq!(step(&[0, 9], 4, 12), Step::Rotate);
        assert_eq!(
            step(&[0, 9], 0, 5),
            Step::Write(9),
            "a record longer than the file stays whole"
        );
        assert_eq!(step(&[9], 4, 12), Step::Write(9), "the first lines go on with what is there");
        assert_eq!(step(&[], 4, 12), Step::Write(13));
        let after = Batch { rest: &bytes[9..], ..Batch::new(bytes, Some(&[0, 9])) };
        assert_eq!(next_step(after, Fill { size: 11, mid_line: false }, 12), Step::Rotate);
    }
}
