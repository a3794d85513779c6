//! Lines of the past for a subscriber: from rings when they hold enough, else from the files.
//!
//! Files are opened on the logs' thread at the moment the subscriber is registered, each with the
//! length it then has, so nothing is missing and nothing comes twice; they are read on another
//! thread. A file is first read backwards to find where to begin, then forwards, several pools
//! merged by time; memory does not grow with the number of lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::iter::Peekable;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use memchr::memrchr;
use tokio::sync::mpsc;
use tracing::warn;

use super::follower::BATCH_LINES_MAX;
use super::handle::{LogEntry, LogFilter, LogLine};
use super::record::{parse, parse_head};
use crate::model::{NamePattern, WorkerName};

/// Files are read backwards in blocks of this.
const BLOCK_LEN: usize = 64 * 1024;

/// The past of what a subscriber asked for.
#[derive(Debug)]
pub(super) struct History {
    wanted: Wanted,
    sources: Vec<Source>,
}

/// Where a part of the past comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// Lines in memory, the oldest first.
    Lines(Vec<LogLine>),
    /// A file and its older ones, the oldest first, each with its length.
    Files(Vec<(File, u64)>),
}

/// Which lines.
#[derive(Clone, Debug)]
struct Wanted {
    names: Vec<NamePattern>,
    lines: usize,
    since: Option<SystemTime>,
}

/// Where in a row of files the wanted lines begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    file: usize,
    offset: u64,
    count: usize,
}

impl Source {
    /// Opens files at `paths`; those that do not exist are left out.
    pub(super) fn open(paths: &[PathBuf]) -> Self {
        let open = |path: &PathBuf| {
            let file = File::open(path).ok()?;
            let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((file, found.len()))
        };
        Self::Files(paths.iter().filter_map(open).collect())
    }
}

impl History {
    /// The lines of `sources` that `filter` wants.
    pub(super) fn new(filter: &LogFilter, sources: Vec<Source>) -> Self {
        let wanted =
            Wanted { names: filter.names.clone(), lines: filter.lines, since: filter.since };
        Self { wanted, sources }
    }

    /// Sends everything; false when the subscriber has left.
    pub(super) async fn send(self, sender: mpsc::Sender<Vec<LogEntry>>) -> bool {
        let sending = tokio::task::spawn_blocking(move || self.send_blocking(&sender));
        match sending.await {
            Ok(Ok(all)) => all,
            Ok(Err(error)) => {
                warn!(%error, "older output could not be read back");
                true
            }
            Err(_) => false,
        }
    }

    fn send_blocking(self, sender: &mpsc::Sender<Vec<LogEntry>>) -> io::Result<bool> {
        let wanted = &self.wanted;
        let mut total = 0;
        let mut strands: Vec<Peekable<Box<dyn Iterator<Item = LogLine> + '_>>> = Vec::new();
        for source in self.sources {
            let strand: Box<dyn Iterator<Item = LogLine>> = match source {
                Source::Lines(lines) => {
                    total += lines.len();
                    Box::new(lines.into_iter())
                }
                Source::Files(files) => {
                    let start = find_start(&files, wanted)?;
                    total += start.count;
                    Box::new(read_from(files, start, wanted)?)
                }
            };
            strands.push(strand.peekable());
        }
        let mut skip = total.saturating_sub(wanted.lines);
        let mut batch = Vec::new();
        while let Some(line) = next_by_time(&mut strands) {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            batch.push(LogEntry::Line(line));
            if batch.len() == BATCH_LINES_MAX
                && sender.blocking_send(std::mem::take(&mut batch)).is_err()
            {
                return Ok(false);
            }
        }
        Ok(batch.is_empty() || sender.blocking_send(batch).is_ok())
    }
}

impl Wanted {
    fn takes(&self, worker: &WorkerName) -> bool {
        self.names.iter().any(|name| name.matches_worker(worker))
    }
}

fn next_by_time<I: Iterator<Item = LogLine>>(strands: &mut [Peekable<I>]) -> Option<LogLine> {
    strands
        .iter_mut()
        .filter_map(|strand| strand.peek().map(|line| line.at).map(|at| (at, strand)))
        .min_by_key(|(at, _)| *at)
        .and_then(|(_, strand)| strand.next())
}

/// Looks backwards for the place where the last wanted lines begin.
fn find_start(files: &[(File, u64)], wanted: &Wanted) -> io::Result<Start> {
    let mut start = Start { file: files.len(), offset: 0, count: 0 };
    for (index, (file, len)) in files.iter().enumerate().rev() {
        let whole = visit_backwards(file, *len, |offset, line| {
            let Some(head) = parse_head(line) else { return true };
            if start.count == wanted.lines || wanted.since.is_some_and(|since| head.at < since) {
                return false;
            }
            if wanted.takes(&head.worker) {
                start = Start { file: index, offset, count: start.count + 1 };
            }
            true
        })?;
        if !whole {
            break;
        }
    }
    Ok(start)
}

/// Shows the lines of the first `len` bytes of a file to `visit`, the last first, until it says
/// false; true when it never did.
fn visit_backwards(
    file: &File,
    len: u64,
    mut visit: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<bool> {
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
                return Ok(false);
            }
            bytes.truncate(end);
        }
    }
    Ok(len == 0 || visit(0, &bytes))
}

/// The wanted lines from `start` on.
fn read_from(
    files: Vec<(File, u64)>,
    start: Start,
    wanted: &Wanted,
) -> io::Result<impl Iterator<Item = LogLine> + use<'_>> {
    let mut readers = Vec::new();
    for (index, (mut file, len)) in files.into_iter().enumerate().skip(start.file) {
        let offset = if index == start.file { start.offset } else { 0 };
        file.seek(SeekFrom::Start(offset))?;
        readers.push(BufReader::new(file.take(len.saturating_sub(offset))));
    }
    let lines = readers.into_iter().flat_map(|reader| reader.split(b'\n').map_while(Result::ok));
    Ok(lines.filter_map(|line| parse(&line)).filter(|line| wanted.takes(&line.worker)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn record(second: u64, worker: &str, text: &str) -> String {
        let at = jiff::Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        format!("{} {worker} out| {text}\n", at.strftime("%Y-%m-%dT%H:%M:%S.000+00:00"))
    }

    fn sent(sources: Vec<Source>, names: &[&str], lines: usize, since: Option<u64>) -> Vec<String> {
        let filter = LogFilter {
            names: names.iter().map(|name| NamePattern::new(name)).collect(),
            lines,
            since: since.map(|second| SystemTime::UNIX_EPOCH + Duration::from_secs(second)),
            follow: false,
        };
        let (sender, mut receiver) = mpsc::channel(64);
        assert!(History::new(&filter, sources).send_blocking(&sender).unwrap());
        drop(sender);
        let mut texts = Vec::new();
        while let Ok(batch) = receiver.try_recv() {
            for entry in batch {
                let LogEntry::Line(line) = entry else { panic!("{entry:?}") };
                texts.push(String::from_utf8(line.text.to_vec()).unwrap());
            }
        }
        texts
    }

    #[test]
    fn the_last_lines_of_several_pools_come_in_the_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["a.log.1", "a.log", "b.log", "none.log"];
        let paths = names.map(|name| dir.path().join(name));
        fs::write(&paths[0], record(1, "a:1", "one") + &record(2, "a:2", "two")).unwrap();
        fs::write(&paths[1], record(4, "a:1", "four") + "damaged\n" + &record(6, "a:1", "six"))
            .unwrap();
        fs::write(&paths[2], record(3, "b:1", "three") + &record(5, "b:1", "five")).unwrap();
        let sources = || vec![Source::open(&paths[..2]), Source::open(&paths[2..])];
        let all = ["one", "two", "three", "four", "five", "six"];
        assert_eq!(sent(sources(), &["all"], 100, None), all);
        assert_eq!(sent(sources(), &["all"], 4, None), all[2..]);
        assert_eq!(sent(sources(), &["all"], 100, Some(4)), all[3..]);
        assert_eq!(sent(sources(), &["a:1"], 2, None), ["four", "six"]);
        assert_eq!(sent(sources(), &["a:1"], 3, None), ["one", "four", "six"]);
        assert_eq!(sent(sources(), &["*:2", "b"], 9, None), ["two", "three", "five"]);
        assert_eq!(sent(sources(), &["c"], 9, None), Vec::<String>::new());
    }

    #[test]
    fn lines_across_blocks_are_found_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let texts: Vec<String> = (1..60_usize).map(|n| n.to_string().repeat(n * 131)).collect();
        let records: String = texts.iter().map(|text| record(1, "a:1", text)).collect();
        assert!(records.len() > 3 * BLOCK_LEN);
        fs::write(&path, &records).unwrap();
        for lines in [1, 17, 58, 59, 100] {
            let expected = &texts[texts.len().saturating_sub(lines)..];
            let source = vec![Source::open(std::slice::from_ref(&path))];
            assert_eq!(sent(source, &["all"], lines, None), expected, "{lines}");
        }
    }

    #[test]
    fn what_was_written_after_the_opening_is_left_to_the_follower() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        fs::write(&path, record(1, "a:1", "before")).unwrap();
        let source = Source::open(std::slice::from_ref(&path));
        fs::write(&path, record(1, "a:1", "before") + &record(2, "a:1", "after")).unwrap();
        assert_eq!(sent(vec![source], &["all"], 9, None), ["before"]);
    }
}
