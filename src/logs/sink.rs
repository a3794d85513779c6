//! Where chunks go: the ring of their worker, the file of their pool, and whoever follows.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::io::IsTerminal as _;
use std::rc::Rc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use super::ansi::strip;
use super::board::Board;
use super::chunk::{Chunk, lines};
use super::files::{FileKey, Files};
use super::follower::{Follower, Waiting};
use super::handle::{LogFilter, LogLine, LogStream};
use super::history::{History, Source};
use super::outlet::{Outlet, Outlets, Sockets};
use super::record::render;
use super::records::RecordRule;
use super::ring::Ring;
use super::rotation::Batch;
use super::stamp::Stamp;
use crate::config::{LogFormat, LogSettings, LogTarget};
use crate::model::{PoolName, WorkerName};

/// Most memory of one worker's recent output.
const RING_LEN_MAX: usize = 24 * 1024;
/// Least, however many workers there are.
const RING_LEN_MIN: usize = 2 * 1024;
/// Memory of all recent output; it is shared out evenly.
const RINGS_LEN_MAX: usize = 3 * 512 * 1024;
/// A buffer of rendered records larger than this is given back when a flood ends.
const RENDERED_LEN_KEPT: usize = 256 * 1024;
/// And one larger than this at once.
const RENDERED_LEN_MAX: usize = 2 * 1024 * 1024;
/// Raw output longer than this is written by itself.
const COPIED_LEN_MAX: usize = 16 * 1024;

/// Names a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FollowerId(u64);

/// All places that output goes to.
#[derive(Debug)]
pub(super) struct Sink {
    pools: HashMap<PoolName, PoolLog>,
    workers: HashMap<WorkerName, WorkerLog>,
    followers: HashMap<FollowerId, (LogFilter, Rc<Follower>)>,
    /// Every log file.
    pub(super) files: Files,
    /// Places that are no files.
    pub(super) outlets: Outlets,
    /// Where losses are published.
    pub(super) board: Board,
    stamp: Stamp,
    /// Records that wait for [`Sink::commit`].
    rendered: Vec<u8>,
    /// Where in them records begin, for pools whose records have several lines.
    begins: Vec<usize>,
    /// Numbers reads and followers.
    next: u64,
    ring_len_max: usize,
}

#[derive(Debug)]
struct PoolLog {
    place: Place,
    format: LogFormat,
    ansi: bool,
    rule: Option<RecordRule>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Nowhere,
    File(FileKey),
    Outlet(Outlet),
}

#[derive(Debug, Default)]
struct WorkerLog {
    ring: Ring,
    followers: Vec<(FollowerId, Rc<Follower>)>,
}

impl Sink {
    /// Times are told as `zone` has them.
    pub(super) fn new(zone: TimeZone, sockets: Sockets, board: Board) -> Self {
        Self {
            outlets: Outlets::new(sockets, zone.clone(), board.clone()),
            board,
            begins: Vec::new(),
            pools: HashMap::new(),
            workers: HashMap::new(),
            followers: HashMap::new(),
            files: Files::default(),
            stamp: Stamp::new(zone),
            rendered: Vec::new(),
            next: 0,
            ring_len_max: RING_LEN_MAX,
        }
    }

    /// Keeps a pool's output in this way from now on.
    pub(super) fn configure(&mut self, pool: PoolName, settings: &LogSettings) {
        // The new file is opened before the old one is closed: it may be the same.
        let place = match &settings.target {
            LogTarget::Nowhere => Place::Nowhere,
            LogTarget::File(path) => Place::File(self.files.open(path.clone(), settings)),
            // On a terminal somebody is shown everything anyway.
            LogTarget::Inherit if std::io::stdout().is_terminal() => Place::Nowhere,
            LogTarget::Inherit => Place::Outlet(Outlet::Stdout),
            LogTarget::Syslog => Place::Outlet(Outlet::Syslog),
            LogTarget::Journald => Place::Outlet(Outlet::Journald),
        };
        self.board.admit(&pool);
        let rule = RecordRule::new(settings.continuation.as_ref());
        let log = PoolLog { place, format: settings.format, ansi: settings.ansi, rule };
        if let Some(file) = self.pools.insert(pool, log).and_then(|old| old.file()) {
            self.files.close(file);
        }
    }

    /// Closes a pool's file and forgets its recent output.
    pub(super) fn forget(&mut self, pool: &PoolName) {
        if let Some(file) = self.pools.remove(pool).and_then(|log| log.file()) {
            self.files.close(file);
        }
        self.board.forget(pool);
        self.workers.retain(|worker, _| worker.pool != *pool);
        self.share_rings();
    }

    /// Which of a pool's lines belong together.
    pub(super) fn rule(&self, pool: &PoolName) -> Option<RecordRule> {
        self.pools.get(pool)?.rule.clone()
    }

    /// Opens files again with their next output.
    pub(super) fn reopen(&mut self) {
        self.files.reopen();
    }

    /// Makes room for a worker's output, if there is none yet, and tells followers that want it.
    pub(super) fn admit(&mut self, worker: &WorkerName) {
        if self.workers.contains_key(worker) {
            return;
        }
        let wanting = |(id, (filter, follower)): (&FollowerId, &(LogFilter, Rc<Follower>))| {
            wants(filter, worker).then(|| (*id, Rc::clone(follower)))
        };
        let followers = self.followers.iter().filter_map(wanting).collect();
        self.workers.insert(worker.clone(), WorkerLog { ring: Ring::default(), followers });
        self.share_rings();
    }

    /// Takes a chunk; its records reach the file with [`Sink::commit`]. Output of workers that
    /// were never admitted, or whose pool was forgotten, is dropped.
    ///
    /// `buffer` is what was read into, if the chunk is a part of it.
    pub(super) fn write(&mut self, chunk: &Chunk<'_>, buffer: Option<&Bytes>) {
        let Some(log) = self.workers.get_mut(chunk.worker) else { return };
        log.ring.push(self.next, chunk, self.ring_len_max);
        self.next += 1;
        if let Some((last, others)) = log.followers.split_last() {
            let waiting = Waiting::new(*chunk, buffer);
            for (_, follower) in others {
                follower.push(waiting.clone());
            }
            last.1.push(waiting);
        }
        let Some(pool) = self.pools.get(&chunk.worker.pool) else { return };
        let stripped = if pool.ansi { Cow::Borrowed(chunk.bytes) } else { strip(chunk.bytes) };
        let chunk = &Chunk { bytes: &stripped, ..*chunk };
        match pool.place {
            Place::Nowhere => {}
            Place::Outlet(outlet) => self.outlets.push(outlet, chunk, pool.format),
            Place::File(file) => match chunk.rule {
                // Much that stays as it is need not be copied to be written.
                None if pool.format == LogFormat::Raw && chunk.bytes.len() > COPIED_LEN_MAX => {
                    let now = Instant::now();
                    let mut lost = self.files.append(file, Batch::new(&self.rendered, None), now);
                    self.rendered.clear();
                    if chunk.stream != LogStream::Mark {
                        lost += self.files.append(file, Batch::new(chunk.bytes, None), now);
                    }
                    self.board.lost(&chunk.worker.pool, lost);
                }
                None => render(&mut self.rendered, &mut self.stamp, chunk, pool.format),
                Some(rule) => {
                    for range in rule.split(chunk.bytes) {
                        let bytes = chunk.bytes.get(range).unwrap_or_default();
                        if !lines(bytes).next().is_some_and(|first| rule.continues(first)) {
                            self.begins.push(self.rendered.len());
                        }
                        let record = Chunk { bytes, ..*chunk };
                        render(&mut self.rendered, &mut self.stamp, &record, pool.format);
                    }
                }
            },
        }
    }

    /// Writes the records of a pool's worker since the last commit to its file, at once.
    pub(super) fn commit(&mut self, pool: &PoolName, now: Instant) {
        if self.rendered.is_empty() {
            return;
        }
        if let Some((file, log)) = self.pools.get(pool).and_then(|log| Some((log.file()?, log))) {
            let begins = log.rule.is_some().then_some(&self.begins[..]);
            let lost = self.files.append(file, Batch::new(&self.rendered, begins), now);
            self.board.lost(pool, lost);
        }
        self.begins.clear();
        self.rendered.clear();
        self.rendered.shrink_to(RENDERED_LEN_MAX);
    }

    /// Gives memory back that only a flood needs.
    pub(super) fn shrink(&mut self) {
        self.rendered.shrink_to(RENDERED_LEN_KEPT);
    }

    /// The worker's last lines on its own streams.
    pub(super) fn tail(&self, worker: &WorkerName, lines: usize) -> Vec<LogLine> {
        let own = |stream| matches!(stream, LogStream::Stdout | LogStream::Stderr);
        let rule = self.pools.get(&worker.pool).and_then(|log| log.rule.as_ref());
        let newest =
            self.workers.get(worker).map(|log| log.ring.newest((worker, rule), lines, own));
        newest.into_iter().flat_map(|newest| newest.lines).map(|(_, line)| line).collect()
    }

    /// Where the recent lines come from that a subscriber wants; `None` when it wants none.
    pub(super) fn history(&self, filter: &LogFilter) -> Option<History> {
        if filter.lines == 0 {
            return None;
        }
        let recent = |line: &LogLine| filter.since.is_none_or(|since| line.at >= since);
        let workers = || self.workers.iter().filter(|(worker, _)| wants(filter, worker));
        let (mut lines, mut floor) = (Vec::new(), 0);
        for (worker, log) in workers() {
            let rule = self.pools.get(&worker.pool).and_then(|log| log.rule.as_ref());
            let newest = log.ring.newest((worker, rule), filter.lines, |_| true);
            lines.extend(newest.lines);
            floor = floor.max(newest.floor.unwrap_or(0));
        }
        lines.sort_by_key(|(seq, _)| *seq);
        let certain = || lines.iter().filter(|(seq, _)| *seq >= floor).map(|(_, line)| line);
        let files = self.readable_files(filter);
        let enough = certain().nth(filter.lines - 1).is_some()
            || certain().next().is_some_and(|oldest| !recent(oldest));
        if enough || files.is_empty() {
            let lines = lines.into_iter().map(|(_, line)| line).filter(recent).collect();
            return Some(History::new(filter, vec![Source::Lines(lines)]));
        }
        let unfiled = |line: &LogLine| self.readable_file(&line.worker.pool).is_none();
        let unfiled = lines.into_iter().map(|(_, line)| line).filter(|l| recent(l) && unfiled(l));
        let mut sources = vec![Source::Lines(unfiled.collect())];
        let paths = files.into_iter().filter_map(|key| self.files.paths(key));
        sources.extend(paths.map(|paths| Source::open(&paths)));
        Some(History::new(filter, sources))
    }

    /// Pushes what comes, from now on, to a new follower.
    pub(super) fn follow(&mut self, filter: LogFilter) -> (FollowerId, Rc<Follower>) {
        let id = FollowerId(self.next);
        self.next += 1;
        let follower = Rc::new(Follower::default());
        for (_, log) in self.workers.iter_mut().filter(|(worker, _)| wants(&filter, worker)) {
            log.followers.push((id, Rc::clone(&follower)));
        }
        self.followers.insert(id, (filter, Rc::clone(&follower)));
        (id, follower)
    }

    /// Ends what [`Sink::follow`] began.
    pub(super) fn unfollow(&mut self, id: FollowerId) {
        self.followers.remove(&id);
        for log in self.workers.values_mut() {
            log.followers.retain(|(follower, _)| *follower != id);
        }
    }

    fn readable_files(&self, filter: &LogFilter) -> BTreeSet<FileKey> {
        let meant = |pool: &&PoolName| filter.names.iter().any(|name| name.matches_pool(pool));
        self.pools.keys().filter(meant).filter_map(|pool| self.readable_file(pool)).collect()
    }

    /// The pool's file, when everything that was printed can be read back from it.
    fn readable_file(&self, pool: &PoolName) -> Option<FileKey> {
        let log = self.pools.get(pool).filter(|log| log.format != LogFormat::Raw)?;
        log.file().filter(|key| self.files.is_complete(*key))
    }

    /// Divides the memory for recent output among the workers.
    fn share_rings(&mut self) {
        let share = RINGS_LEN_MAX / self.workers.len().max(1);
        let before =
            std::mem::replace(&mut self.ring_len_max, share.clamp(RING_LEN_MIN, RING_LEN_MAX));
        if self.ring_len_max < before {
            for log in self.workers.values_mut() {
                log.ring.shrink(self.ring_len_max);
                log.ring.compact();
            }
        }
    }
}

impl PoolLog {
    fn file(&self) -> Option<FileKey> {
        match self.place {
            Place::File(file) => Some(file),
            Place::Nowhere | Place::Outlet(_) => None,
        }
    }
}

fn wants(filter: &LogFilter, worker: &WorkerName) -> bool {
    filter.names.iter().any(|name| name.matches_worker(worker))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// Lets workers print more than is kept, `line_count` lines at a time, and sums up their rings.
    fn rings_len(workers: u32, line_count: usize) -> usize {
        let mut sink = Sink::new(TimeZone::UTC, Sockets::default(), Board::new().0);
        let pool: PoolName = "a".parse().unwrap();
        let bytes = b"a line of the usual length that a worker prints when it has done something\n"
            .repeat(line_count);
        for worker in (1..=workers).map(|index| pool.worker(index)) {
            sink.admit(&worker);
            for _ in 0..=(4 * RING_LEN_MAX) / bytes.len() {
                let chunk = Chunk {
                    at: SystemTime::UNIX_EPOCH,
                    worker: &worker,
                    pid: None,
                    stream: LogStream::Stdout,
                    bytes: &bytes,
                    part: false,
                    rule: None,
                };
                sink.write(&chunk, None);
            }
        }
        sink.workers.values().map(|log| log.ring.capacity()).sum()
    }

    #[test]
    fn recent_output_of_many_workers_takes_little_memory() {
        for line_count in [1, 800] {
            for (workers, len_max) in [(200, 6 << 20), (2000, 12 << 20)] {
                let len = rings_len(workers, line_count);
                assert!(len < len_max, "{workers} workers, {line_count} lines at once: {len}");
            }
        }
    }
}
