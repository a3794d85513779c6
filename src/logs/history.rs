//! Lines of the past for a subscriber: from rings when they hold enough, else from the files.
//!
//! Files are opened on the logs' thread at the moment the subscriber is registered, each with the
//! length it then has, so nothing is missing and nothing comes twice; they are read on another
//! thread. First it is found where to begin, from the newest file backwards, then all are read
//! forwards, several pools merged by time; memory does not grow with the number of lines.

use std::io;
use std::iter::Peekable;
use std::path::PathBuf;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tracing::warn;

use super::follower::BATCH_LINES_MAX;
use super::handle::{LogEntry, LogFilter, LogLine};
use super::past::{Look, PastFile};
use super::record::{parse, parse_head};
use crate::model::{NamePattern, WorkerName};

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
    /// A file and its older ones, the oldest first.
    Files(Vec<PastFile>),
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
        Self::Files(paths.iter().filter_map(|path| PastFile::open(path)).collect())
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
                    Box::new(read_from(files, start, wanted))
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
    fn look(&self, line: &[u8]) -> Look {
        match parse_head(line) {
            Some(head) if self.since.is_some_and(|since| head.at < since) => Look::TooOld,
            Some(head) if self.takes(&head.worker) => Look::Wanted,
            Some(_) | None => Look::Other,
        }
    }

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
fn find_start(files: &[PastFile], wanted: &Wanted) -> io::Result<Start> {
    let mut start = Start { file: files.len(), offset: 0, count: 0 };
    for (index, file) in files.iter().enumerate().rev() {
        let missing = wanted.lines.saturating_sub(start.count);
        if missing == 0 || wanted.since.is_some_and(|since| file.is_older_than(since)) {
            break;
        }
        let begin = file.find(missing, |line| wanted.look(line))?;
        if begin.count > 0 {
            let count = start.count + begin.count;
            start = Start { file: index, offset: begin.offset, count };
        }
        if begin.is_last {
            break;
        }
    }
    Ok(start)
}

/// The wanted lines from `start` on; a file that cannot be read to its end ends there.
fn read_from(
    files: Vec<PastFile>,
    start: Start,
    wanted: &Wanted,
) -> impl Iterator<Item = LogLine> + use<'_> {
    let lines_of = move |(index, file): (usize, PastFile)| {
        let offset = if index == start.file { start.offset } else { 0 };
        file.lines_from(offset).into_iter().flatten().map_while(Result::ok)
    };
    let lines = files.into_iter().enumerate().skip(start.file).flat_map(lines_of);
    lines.filter_map(|line| parse(&line)).filter(|line| wanted.takes(&line.worker))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::super::past::BLOCK_LEN;
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
    fn compressed_files_are_read_as_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a.log.2.gz", "a.log.1.gz", "a.log"].map(|name| dir.path().join(name));
        let texts: Vec<String> = (1..=30).map(|n| n.to_string()).collect();
        for (path, part) in paths.iter().zip(texts.chunks(10)) {
            let of = |text: &String| record(text.parse().unwrap(), "a:1", text);
            let records: String = part.iter().map(of).collect();
            if path.extension().is_some_and(|end| end == "gz") {
                let file = fs::File::create(path).unwrap();
                let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                io::Write::write_all(&mut gz, records.as_bytes()).unwrap();
                gz.finish().unwrap();
            } else {
                fs::write(path, records).unwrap();
            }
        }
        for lines in [1, 10, 11, 15, 20, 21, 29, 30, 99, usize::MAX] {
            let expected = &texts[texts.len().saturating_sub(lines)..];
            assert_eq!(sent(vec![Source::open(&paths)], &["all"], lines, None), expected);
        }
        for since in [1_u8, 5, 20, 30] {
            let expected = &texts[usize::from(since) - 1..];
            assert_eq!(
                sent(vec![Source::open(&paths)], &["all"], 99, Some(since.into())),
                expected
            );
        }
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
