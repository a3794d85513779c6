//! Places for output that are no files of ours: the daemon's stdout, syslog, the journal.
//!
//! Each has a thread and a queue of bounded length, so that one that is slow or gone holds up
//! nothing: what does not fit is dropped, the oldest first, counted, and said once a minute.

mod journal;
mod queue;
mod stdout;
mod syslog;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::tz::TimeZone;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

use self::journal::Journal;
use self::queue::Queue;
use self::stdout::Stdout;
use self::syslog::Syslog;
use super::board::Board;
use super::chunk::{Chunk, lines};
use super::handle::LogStream;
use super::records::RecordRule;
use crate::config::LogFormat;
use crate::model::WorkerName;

/// How long the last output may take when the daemon ends.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Lost output is warned about this often.
const WARN_PAUSE: Duration = Duration::from_mins(1);

/// One of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outlet {
    /// The daemon's own standard output.
    Stdout,
    /// The local syslog.
    Syslog,
    /// The journal of systemd.
    Journald,
}

/// Where the sockets of the system's logs are.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    /// Of syslog.
    pub(super) syslog: PathBuf,
    /// Of the journal, for its own protocol.
    pub(super) journal: PathBuf,
}

/// All outlets that have been used.
#[derive(Debug)]
pub(super) struct Outlets {
    sockets: Sockets,
    zone: TimeZone,
    board: Board,
    running: HashMap<Outlet, Running>,
}

#[derive(Debug)]
struct Running {
    queue: Arc<Queue>,
    ended: oneshot::Receiver<()>,
}

/// What waits for its turn: a chunk of one pool's output.
#[derive(Clone, Debug)]
struct Parcel {
    at: SystemTime,
    worker: WorkerName,
    pid: Option<i32>,
    stream: LogStream,
    bytes: Bytes,
    part: bool,
    rule: Option<RecordRule>,
    format: LogFormat,
}

/// What sends parcels.
#[derive(Debug)]
enum Sender {
    Stdout(Stdout),
    Syslog(Syslog),
    Journald(Journal),
}

impl Default for Sockets {
    fn default() -> Self {
        Self { syslog: "/dev/log".into(), journal: "/run/systemd/journal/socket".into() }
    }
}

impl Outlets {
    /// None is in use yet.
    pub(super) fn new(sockets: Sockets, zone: TimeZone, board: Board) -> Self {
        Self { sockets, zone, board, running: HashMap::new() }
    }

    /// Hands a chunk over; the first one starts the outlet's thread.
    pub(super) fn push(&mut self, outlet: Outlet, chunk: &Chunk<'_>, format: LogFormat) {
        let parcel = Parcel {
            at: chunk.at,
            worker: chunk.worker.clone(),
            pid: chunk.pid,
            stream: chunk.stream,
            bytes: Bytes::copy_from_slice(chunk.bytes),
            part: chunk.part,
            rule: chunk.rule.cloned(),
            format,
        };
        let Self { sockets, zone, board, running } = self;
        let running = running.entry(outlet).or_insert_with(|| start(outlet, sockets, zone, board));
        running.queue.push(parcel, |dropped| dropped.lost_on(board));
    }

    /// Waits a while until everything has been sent; nothing is taken after that.
    pub(super) fn close(&mut self) -> impl Future<Output = ()> + use<> {
        let running: Vec<_> = self.running.drain().collect();
        for (_, running) in &running {
            running.queue.close();
        }
        async move {
            for (outlet, running) in running {
                if timeout(CLOSE_MAX, running.ended).await.is_err() {
                    warn!(?outlet, "the last output of workers could not be sent in time");
                }
            }
        }
    }
}

impl Parcel {
    /// It is given up.
    fn lost_on(&self, board: &Board) {
        board.lost(&self.worker.pool, self.bytes.len() as u64);
    }

    /// Its messages: lines, or records of several lines.
    fn messages(&self) -> Vec<&[u8]> {
        let Some(rule) = &self.rule else { return lines(&self.bytes).collect() };
        let records = rule.split(&self.bytes).filter_map(|range| self.bytes.get(range));
        records.map(|record| record.strip_suffix(b"\n").unwrap_or(record)).collect()
    }

    /// Its weight in syslog(3).
    fn severity(&self) -> u8 {
        match self.stream {
            LogStream::Stdout => 6,
            LogStream::Stderr => 3,
            LogStream::Mark => 5,
        }
    }
}

fn start(outlet: Outlet, sockets: &Sockets, zone: &TimeZone, board: &Board) -> Running {
    let queue = Arc::new(Queue::default());
    let (done, ended) = oneshot::channel();
    let mut sender = match outlet {
        Outlet::Stdout => Sender::Stdout(Stdout::new(zone.clone())),
        Outlet::Syslog => Sender::Syslog(Syslog::new(sockets.syslog.clone(), zone.clone())),
        Outlet::Journald => Sender::Journald(Journal::new(sockets.journal.clone())),
    };
    let (taken, board) = (Arc::clone(&queue), board.clone());
    let thread = std::thread::Builder::new().name("logs-outlet".into()).spawn(move || {
        run(outlet, &mut sender, &taken, &board);
        // Nobody waits when the logs are dropped in a hurry.
        done.send(()).ok();
    });
    if let Err(error) = thread {
        warn!(?outlet, %error, "no thread for output; it is only kept in memory");
        queue.close();
    }
    Running { queue, ended }
}

fn run(outlet: Outlet, sender: &mut Sender, queue: &Queue, board: &Board) {
    let (mut lost, mut warned_at) = (0, None);
    while let Some((parcel, dropped)) = queue.pop() {
        lost += dropped;
        let sent = match sender {
            Sender::Stdout(stdout) => stdout.send(&parcel),
            Sender::Syslog(syslog) => syslog.send(&parcel),
            Sender::Journald(journal) => journal.send(&parcel),
        };
        if sent.is_err() {
            lost += parcel.bytes.len() as u64;
            parcel.lost_on(board);
        }
        let now = std::time::Instant::now();
        let may_warn = warned_at.is_none_or(|at| now.duration_since(at) >= WARN_PAUSE);
        match sent {
            Ok(()) if lost > 0 && (dropped == 0 || may_warn) => {
                info!(?outlet, lost_bytes = lost, "output of workers was dropped, and goes on");
                (lost, warned_at) = (0, Some(now));
            }
            Err(error) if may_warn => {
                warn!(?outlet, %error, lost_bytes = lost,
                    "output of workers could not be sent; it is tried again with the next output");
                warned_at = Some(now);
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// A failure that the next output is to meet with a new connection.
fn is_disconnected(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixDatagram;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

    use super::*;

    pub(super) fn parcel(bytes: &[u8]) -> Parcel {
        Parcel {
            at: SystemTime::UNIX_EPOCH,
            worker: "mail:2".parse().unwrap(),
            pid: Some(812),
            stream: LogStream::Stderr,
            bytes: Bytes::copy_from_slice(bytes),
            part: false,
            rule: Some(RecordRule::Indented),
            format: LogFormat::Text,
        }
    }

    fn socket() -> (tempfile::TempDir, PathBuf, UnixDatagram) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (dir, path, socket)
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = vec![0; 64 * 1024];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn syslog_gets_each_line_with_tag_and_pid() {
        let (_dir, path, socket) = socket();
        let mut syslog = Syslog::new(path, TimeZone::UTC);
        syslog.send(&parcel(b"Error\n  at x\n")).unwrap();
        assert_eq!(received(&socket), "<27>Jan  1 00:00:00 mail-2[812]: Error");
        assert_eq!(received(&socket), "<27>Jan  1 00:00:00 mail-2[812]:   at x");
        syslog.send(&parcel(&b"x".repeat(10_000))).unwrap();
        let lens = [received(&socket), received(&socket)].map(|message| message.len());
        assert_eq!(
            lens.iter().sum::<usize>(),
            10_000 + 2 * "<27>Jan  1 00:00:00 mail-2[812]: ".len()
        );
    }

    #[test]
    fn the_journal_gets_a_record_of_several_lines_as_one_entry() {
        let (_dir, path, socket) = socket();
        let mut journal = Journal::new(path);
        journal.send(&parcel(b"one\nError\n  at x\n")).unwrap();
        let head = "PRIORITY=3\nSYSLOG_IDENTIFIER=mail:2\nGEAR_POOL=mail\nGEAR_WORKER=mail:2\n\
                    GEAR_STREAM=stderr\nSYSLOG_PID=812\n";
        assert_eq!(received(&socket), format!("{head}MESSAGE=one\n"));
        let text = "Error\n  at x";
        let entry = format!("{head}MESSAGE\n\u{c}\0\0\0\0\0\0\0{text}\n");
        assert_eq!(received(&socket), entry);
    }

    #[test]
    fn an_entry_longer_than_a_datagram_goes_as_a_file() {
        let (_dir, path, socket) = socket();
        let long = b"x".repeat(3 << 20);
        let sending = std::thread::spawn(move || Journal::new(path).send(&parcel(&long)).unwrap());
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let message =
            recvmsg::<()>(socket.as_raw_fd(), &mut [], Some(&mut space), MsgFlags::empty())
                .unwrap();
        let Some(ControlMessageOwned::ScmRights(files)) = message.cmsgs().unwrap().next() else {
            panic!("no file came");
        };
        sending.join().unwrap();
        // The number is ours since the message came; reading through /proc takes no ownership.
        let mut entry = Vec::new();
        let path = format!("/proc/self/fd/{}", files[0]);
        fs::File::open(path).unwrap().read_to_end(&mut entry).unwrap();
        assert!(entry.len() > 3 << 20 && entry.starts_with(b"PRIORITY=3\n"));
        nix::unistd::close(files[0]).unwrap();
    }

    #[test]
    fn a_log_that_was_started_again_gets_the_next_message() {
        let (_dir, path, socket) = socket();
        let mut syslog = Syslog::new(path.clone(), TimeZone::UTC);
        syslog.send(&parcel(b"one\n")).unwrap();
        assert!(received(&socket).ends_with("one"));
        drop(socket);
        fs::remove_file(&path).unwrap();
        assert!(syslog.send(&parcel(b"lost\n")).is_err(), "nobody listens");
        let socket = UnixDatagram::bind(&path).unwrap();
        syslog.send(&parcel(b"two\n")).unwrap();
        assert!(received(&socket).ends_with("two"));
    }
}
