//! One file of the past: where the wanted lines in it begin, and reading from there.
//!
//! A plain file is looked at from its end, so that the last lines of a large one cost little. A
//! compressed one can only be read from its beginning; it says how many wanted lines it has in all.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use memchr::memrchr;

/// Files are read backwards in blocks of this.
pub(super) const BLOCK_LEN: usize = 64 * 1024;

/// A file as it was when it was opened; what is written later is not part of it.
#[derive(Debug)]
pub(super) struct PastFile {
    file: File,
    len: u64,
    modified: Option<SystemTime>,
    compressed: bool,
}

/// Whether a line is the kind that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is.
    Wanted,
    /// It is not.
    Other,
    /// Neither it nor anything before it.
    TooOld,
}

/// Where in a file the wanted lines begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Begin {
    /// The byte, after decompression.
    pub(super) offset: u64,
    /// So many wanted lines follow; at least as many as were asked for, if there are.
    pub(super) count: usize,
    /// Whether everything before this file is too old.
    pub(super) is_last: bool,
}

impl PastFile {
    /// Opens a file; `None` when there is no plain file.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let compressed = path.extension().is_some_and(|end| end == "gz");
        Some(Self { file, len: found.len(), modified: found.modified().ok(), compressed })
    }

    /// True when it was last written before `time`.
    pub(super) fn is_older_than(&self, time: SystemTime) -> bool {
        self.modified.is_some_and(|modified| modified < time)
    }

    /// Finds the begin of the last `count_max` lines that `look` wants.
    pub(super) fn find(
        &self,
        count_max: usize,
        mut look: impl FnMut(&[u8]) -> Look,
    ) -> io::Result<Begin> {
        if self.compressed {
            self.find_forwards(look)
        } else {
            self.find_back(count_max, &mut look)
        }
    }

    /// Its lines from `offset` on.
    pub(super) fn lines_from(
        self,
        offset: u64,
    ) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
        let mut file = self.file;
        let reader: Box<dyn Read> = if self.compressed {
            file.seek(SeekFrom::Start(0))?;
            let mut plain = MultiGzDecoder::new(BufReader::new(file.take(self.len)));
            io::copy(&mut plain.by_ref().take(offset), &mut io::sink())?;
            Box::new(plain)
        } else {
            file.seek(SeekFrom::Start(offset))?;
            Box::new(file.take(self.len.saturating_sub(offset)))
        };
        Ok(BufReader::with_capacity(BLOCK_LEN, reader).split(b'\n'))
    }

    fn find_forwards(&self, mut look: impl FnMut(&[u8]) -> Look) -> io::Result<Begin> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let mut lines = BufReader::new(MultiGzDecoder::new(BufReader::new(file.take(self.len))));
        let mut begin = Begin::default();
        let (mut offset, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let len = lines.read_until(b'\n', &mut line)?;
            if len == 0 {
                break;
            }
            match look(line.strip_suffix(b"\n").unwrap_or(&line)) {
                Look::Wanted if begin.count == 0 => begin = Begin { offset, count: 1, ..begin },
                Look::Wanted => begin.count += 1,
                Look::Other => {}
                // What was wanted before it is not, since the clock was set back.
                Look::TooOld => begin = Begin { is_last: true, ..Begin::default() },
            }
            offset += len as u64;
        }
        Ok(begin)
    }

    fn find_back(
        &self,
        count_max: usize,
        look: &mut impl FnMut(&[u8]) -> Look,
    ) -> io::Result<Begin> {
        let mut begin = Begin::default();
        visit_backwards(&self.file, self.len, |offset, line| {
            if begin.count == count_max {
                return false;
            }
            match look(line) {
                Look::Wanted => begin = Begin { offset, count: begin.count + 1, ..begin },
                Look::Other => {}
                Look::TooOld => begin.is_last = true,
            }
            !begin.is_last
        })?;
        Ok(begin)
    }
}

/// Shows the lines of the first `len` bytes of a file to `visit`, the last first, until it says
/// false.
fn visit_backwards(
    file: &File,
    len: u64,
    mut visit: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<()> {
    let mut begin = len;
    let mut bytes = Vec::new();
    while begin > 0 {
        let block_len = begin.min(BLOCK_LEN as u64);
        begin -= block_len;
        let mut block = vec![0; usize::try_from(block_len).unwrap_or(BLOCK_LEN)];
        file.read_exact_at(&mut block, begin)?;
        block.append(&mut bytes);
        bytes = block;
        if begin + bytes.len() as u64 == len && bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        while let Some(end) = memrchr(b'\n', &bytes) {
            if !visit(begin + end as u64 + 1, bytes.get(end + 1..).unwrap_or_default()) {
                return Ok(());
            }
            bytes.truncate(end);
        }
    }
    if len > 0 {
        visit(0, &bytes);
    }
    Ok(())
}
