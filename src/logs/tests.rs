//! The whole thread with real children, real pipes and real files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::outlet::Sockets;
use super::*;
use crate::config::{Continuation, LogFormat, LogSettings, LogTarget};
use crate::model::{NamePattern, PoolName, WorkerName};

const DEADLINE: Duration = Duration::from_secs(20);

/// A running thread, a folder for its files, and the children that write.
struct Bench {
    logs: LogsHandle,
    thread: LogsThread,
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

impl Bench {
    fn start() -> Self {
        Self::start_with(Sockets::default())
    }

    fn start_with(sockets: Sockets) -> Self {
        let (logs, thread) = Logs::start_with(sockets).unwrap();
        Self { logs, thread, dir: tempfile::tempdir().unwrap(), children: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("x.log")
    }

    async fn configure(&self, pool: &str, format: LogFormat) {
        let ansi = format == LogFormat::Raw;
        self.settings(pool, LogSettings { format, ansi, ..LogSettings::default() }).await;
    }

    /// Settings of a pool whose file is that of the bench.
    async fn settings(&self, pool: &str, settings: LogSettings) {
        let target = match settings.target {
            LogTarget::Nowhere => LogTarget::File(self.path()),
            other => other,
        };
        let settings = LogSettings { target, ..settings };
        let pool: PoolName = pool.parse().unwrap();
        self.logs.tell(LogsRequest::Configure { pool, settings }).await.unwrap();
    }

    /// Runs a shell script as a worker.
    async fn run(&mut self, worker: &str, script: &str) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let source = LogSource::Pipes {
            stdout: child.stdout.take().unwrap().into(),
            stderr: child.stderr.take().unwrap().into(),
        };
        let pid = i32::try_from(child.id()).unwrap();
        self.children.push(child);
        let worker = name(worker);
        self.logs.tell(LogsRequest::Attach { worker, pid, source, line: None }).await.unwrap();
    }

    async fn subscribe(&self, names: &str, lines: usize, follow: bool) -> Reader {
        let filter = LogFilter { names: vec![NamePattern::new(names)], lines, since: None, follow };
        let ask = |reply| LogsRequest::Subscribe { filter, reply };
        Reader { subscription: self.logs.ask(ask).await.unwrap(), entries: Vec::new() }
    }

    async fn tail(&self, worker: &str, lines: usize) -> Vec<String> {
        let ask = |reply| LogsRequest::Tail { worker: name(worker), lines, reply };
        self.logs.ask(ask).await.unwrap().iter().map(text).collect()
    }

    fn wait_children(&mut self) {
        for child in &mut self.children {
            child.wait().unwrap();
        }
    }

    /// Ends the children and the thread; everything is in the files then.
    async fn close(mut self) -> tempfile::TempDir {
        self.wait_children();
        self.logs.ask(LogsRequest::Shutdown).await.unwrap();
        assert!(self.thread.join());
        self.dir
    }
}

/// A subscriber that keeps what it has received.
struct Reader {
    subscription: Subscription,
    entries: Vec<LogEntry>,
}

impl Reader {
    /// Reads until a line says `last`, or to the end.
    async fn read_to(&mut self, last: &str) -> Vec<String> {
        let is_last = |entry: &LogEntry| matches!(entry, LogEntry::Line(line) if line.text == last);
        while !self.entries.iter().any(is_last) {
            match timeout(DEADLINE, self.subscription.entries.recv()).await.unwrap() {
                Some(batch) => self.entries.extend(batch.into_iter().flat_map(singly)),
                None => break,
            }
        }
        self.lines().iter().map(text).collect()
    }

    fn lines(&self) -> Vec<LogLine> {
        let lines = self.entries.iter().filter_map(|entry| match entry {
            LogEntry::Line(line) => Some(line.clone()),
            LogEntry::Lines(_) | LogEntry::Missed(_) => None,
        });
        lines.collect()
    }

    fn missed(&self) -> u64 {
        let missed = self.entries.iter().map(|entry| match entry {
            LogEntry::Line(_) | LogEntry::Lines(_) => 0,
            LogEntry::Missed(count) => *count,
        });
        missed.sum()
    }
}

/// Lines that came together, one by one.
fn singly(entry: LogEntry) -> Vec<LogEntry> {
    match entry {
        LogEntry::Lines(chunk) => chunk.into_lines().map(LogEntry::Line).collect(),
        other => vec![other],
    }
}

fn name(worker: &str) -> WorkerName {
    worker.parse().unwrap()
}

fn text(line: &LogLine) -> String {
    String::from_utf8_lossy(&line.text).into_owned()
}

fn count_up(from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

/// The texts of records in a text file.
fn file_texts(path: &Path) -> Vec<String> {
    let all = fs::read(path).unwrap();
    let records = all.split_inclusive(|byte| *byte == b'\n');
    records.map(|line| text(&record::parse(line.strip_suffix(b"\n").unwrap()).unwrap())).collect()
}

#[tokio::test]
async fn nothing_that_was_printed_before_a_death_is_lost() {
    let mut bench = Bench::start();
    bench.configure("a", LogFormat::Text).await;
    for n in 1..=40 {
        bench
            .run(&format!("a:{n}"), &format!("printf 'out {n}'; printf 'err {n}' >&2; kill -9 $$"))
            .await;
    }
    bench.wait_children();
    assert_eq!(bench.tail("a:7", 9).await.len(), 2);
    let dir = bench.close().await;
    let mut texts = file_texts(&dir.path().join("x.log"));
    texts.sort();
    let mut expected: Vec<_> =
        (1..=40).flat_map(|n| [format!("err {n}"), format!("out {n}")]).collect();
    expected.sort();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn the_last_lines_are_there_as_soon_as_the_worker_is_dead() {
    let mut bench = Bench::start();
    for n in 1..=20 {
        let worker = format!("a:{n}");
        bench.run(&worker, "seq 1 500; printf 'boom' >&2; exit 3").await;
        bench.wait_children();
        let texts = bench.tail(&worker, 1000).await;
        assert_eq!(texts.len(), 501);
        assert!(texts.contains(&"boom".to_owned()) && texts.contains(&"500".to_owned()));
    }
    bench.close().await;
}

#[tokio::test]
async fn a_grandchild_that_outlives_the_worker_is_still_read() {
    let mut bench = Bench::start();
    bench.configure("a", LogFormat::Text).await;
    let fifo = bench.dir.path().join("go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("echo early; (read x <{}; echo late) &", fifo.display());
    bench.run("a:1", &script).await;
    bench.wait_children();
    let mark = LogsRequest::Mark { worker: name("a:1"), text: "exited".into() };
    bench.logs.tell(mark).await.unwrap();
    let mut reader = bench.subscribe("a", 10, true).await;
    reader.read_to("exited").await;
    fs::write(&fifo, "\n").unwrap();
    assert_eq!(reader.read_to("late").await, ["early", "exited", "late"]);
    let streams: Vec<_> = reader.lines().iter().map(|line| line.stream).collect();
    assert_eq!(streams, [LogStream::Stdout, LogStream::Mark, LogStream::Stdout]);
    let dir = bench.close().await;
    assert_eq!(file_texts(&dir.path().join("x.log")), ["early", "exited", "late"]);
}

#[tokio::test]
async fn a_subscriber_sees_past_and_present_without_gap_or_duplicate() {
    for format in [LogFormat::Text, LogFormat::Json, LogFormat::Raw] {
        let mut bench = Bench::start();
        bench.configure("a", format).await;
        bench.run("a:1", "seq 1 30000; seq 30001 60000").await;
        let mut readers = Vec::new();
        for lines in [0, 10, usize::MAX] {
            readers.push((lines, bench.subscribe("a:1", lines, true).await));
        }
        bench.wait_children();
        assert_eq!(bench.tail("a:1", 1).await, ["60000"]);
        readers.push((40_000, bench.subscribe("a", 40_000, true).await));
        for (lines, mut reader) in readers {
            let texts = reader.read_to("60000").await;
            let first = texts.first().map_or(60_001, |first| first.parse().unwrap());
            assert_eq!(texts, count_up(first, 60_000));
            assert_eq!(reader.missed(), 0);
            let from_files = format != LogFormat::Raw;
            assert!(lines < 60_000 || !from_files || first == 1, "{lines} {first}");
            assert!(lines != 40_000 || !from_files || first == 20_001, "{first}");
        }
        bench.close().await;
    }
}

#[tokio::test]
async fn a_slow_subscriber_is_told_what_it_missed_and_slows_nobody() {
    let mut bench = Bench::start();
    bench.configure("a", LogFormat::Text).await;
    let mut slow = bench.subscribe("all", 0, true).await;
    bench.run("a:1", "seq 1 1000000; echo end").await;
    bench.wait_children();
    assert_eq!(bench.tail("a:1", 1).await, ["end"]);
    let texts = slow.read_to("end").await;
    assert!(slow.missed() > 0);
    assert_eq!(slow.missed() + texts.len() as u64, 1_000_001);
    bench.close().await;
}

#[tokio::test]
async fn followers_get_workers_that_appear_later() {
    let mut bench = Bench::start();
    let mut reader = bench.subscribe("b*", 10, true).await;
    bench.run("a:1", "echo unwanted").await;
    bench.run("bee:3", "echo wanted").await;
    assert_eq!(reader.read_to("wanted").await, ["wanted"]);
    assert_eq!(reader.lines()[0].worker, name("bee:3"));
    bench.close().await;
    assert_eq!(reader.subscription.entries.recv().await, None, "it ends with the logs");
}

#[tokio::test]
async fn raw_files_hold_any_bytes_and_lines_of_any_length() {
    let mut bench = Bench::start();
    bench.configure("a", LogFormat::Raw).await;
    let mut reader = bench.subscribe("a", 0, true).await;
    let input = bench.dir.path().join("input");
    let long = [b"\xff\x00\x1b[1m".repeat(150_000), b"\r\nshort\nlast".to_vec()].concat();
    fs::write(&input, &long).unwrap();
    bench.run("a:1", &format!("cat {}", input.display())).await;
    reader.read_to("last").await;
    let lines = reader.lines();
    let joined: Vec<u8> = lines
        .iter()
        .flat_map(|line| {
            let end: &[u8] = if line.part || line.text == "last" { b"" } else { b"\n" };
            [&line.text[..], end].concat()
        })
        .collect();
    assert!(joined == long);
    assert!(lines.iter().any(|line| line.part));
    let dir = bench.close().await;
    assert!(fs::read(dir.path().join("x.log")).unwrap() == long);
}

#[tokio::test]
async fn a_prompt_without_line_end_shows_after_a_second() {
    let mut bench = Bench::start();
    let mut reader = bench.subscribe("a", 0, true).await;
    let before = SystemTime::now();
    bench.run("a:1", "printf 'password: '; sleep 3; echo done").await;
    reader.read_to("password: ").await;
    let line = &reader.lines()[0];
    assert!(line.part && line.at.duration_since(before).unwrap() < Duration::from_secs(3));
    reader.read_to("done").await;
    bench.close().await;
}

#[tokio::test]
async fn a_full_disk_stops_neither_worker_nor_follower() {
    let mut bench = Bench::start();
    std::os::unix::fs::symlink("/dev/full", bench.path()).unwrap();
    bench.configure("a", LogFormat::Text).await;
    bench.run("a:1", "seq 1 50000; echo end").await;
    bench.wait_children();
    assert_eq!(bench.tail("a:1", 1).await, ["end"]);
    let mut reader = bench.subscribe("a", 5, true).await;
    assert_eq!(reader.read_to("end").await.len(), 5);
    fs::remove_file(bench.path()).unwrap();
    bench.logs.tell(LogsRequest::Reopen).await.unwrap();
    bench.run("a:1", "echo back").await;
    let dir = bench.close().await;
    assert_eq!(file_texts(&dir.path().join("x.log")), ["back"]);
}

#[tokio::test]
async fn a_forgotten_pool_lets_its_survivors_write_on() {
    let mut bench = Bench::start();
    bench.configure("a", LogFormat::Text).await;
    bench.run("a:1", "echo early; seq 1 1000000; echo end >&2").await;
    bench.logs.tell(LogsRequest::Forget("a".parse().unwrap())).await.unwrap();
    bench.wait_children();
    assert_eq!(bench.tail("a:1", 5).await, Vec::<String>::new());
    bench.close().await;
}

#[tokio::test]
async fn rotated_files_are_compressed_beside_and_read_back() {
    let mut bench = Bench::start();
    let small = LogSettings { size_max: 64 << 10, keep: 99, ..LogSettings::default() };
    bench.settings("a", LogSettings { compress: true, ..small.clone() }).await;
    bench.run("a:1", "seq 1 10000").await;
    bench.wait_children();
    let names = || {
        let found = fs::read_dir(bench.dir.path()).unwrap();
        let mut names: Vec<_> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(bench.tail("a:1", 1).await, ["10000"]);
    let begun = std::time::Instant::now();
    while names().iter().any(|name| name != "x.log" && !name.ends_with("gz")) {
        assert!(begun.elapsed() < DEADLINE, "{:?}", names());
        tokio::task::yield_now().await;
    }
    assert!(names().len() > 3, "{:?}", names());
    let mut reader = bench.subscribe("a", usize::MAX, false).await;
    assert_eq!(reader.read_to("10000").await, count_up(1, 10_000));
    bench.close().await;
}

/// Prints records of a line and a stack of three, many at a time, and tells two of them apart.
const TRACES: &str = "for n in $(seq 1 400); do printf 'Error %s\\n  at a %s\\n  at b %s\\n\\nok\\n' \
                      $1$n $1$n $1$n; done";

#[tokio::test]
async fn records_of_several_lines_are_not_torn_by_rotation_or_by_others() {
    for format in [LogFormat::Text, LogFormat::Json, LogFormat::Raw] {
        let mut bench = Bench::start();
        let continuation = Some(Continuation::Indented);
        let settings =
            LogSettings { format, size_max: 4096, keep: 999, continuation, ..Default::default() };
        bench.settings("a", settings).await;
        let mut reader = bench.subscribe("a", 0, true).await;
        for n in 1..=3 {
            bench.run(&format!("a:{n}"), &format!("set -- {n}.; {TRACES}")).await;
        }
        bench.wait_children();
        for n in 1..=3 {
            assert_eq!(bench.tail(&format!("a:{n}"), 1).await, ["ok"]);
        }
        bench.run("a:4", "echo ok, the end").await;
        reader.read_to("ok, the end").await;
        let dir = bench.close().await;
        let of_reader: Vec<_> =
            reader.lines().iter().map(|line| (text(line), line.continues)).collect();
        check_traces(&of_reader);
        let mut files = 0;
        for entry in fs::read_dir(dir.path()).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let lines: Vec<_> = match format {
                LogFormat::Raw => {
                    let line = |line: &str| (line.to_owned(), !line.starts_with(['E', 'o']));
                    String::from_utf8(bytes).unwrap().lines().map(line).collect()
                }
                LogFormat::Text | LogFormat::Json => {
                    let records = bytes.split(|byte| *byte == b'\n').filter_map(record::parse);
                    records.map(|line| (text(&line), line.continues)).collect()
                }
            };
            check_traces(&lines);
            files += 1;
        }
        assert!(files > 5, "{files}");
    }
}

/// Every trace is whole, and its lines say that they belong together.
fn check_traces(lines: &[(String, bool)]) {
    assert!(!lines.is_empty());
    let mut rest = lines;
    while let Some(((first, continues), others)) = rest.split_first() {
        assert!(!continues, "{first}");
        let Some(which) = first.strip_prefix("Error ") else {
            rest = others;
            continue;
        };
        let trace = [format!("  at a {which}"), format!("  at b {which}"), String::new()];
        assert_eq!(others[..3], trace.map(|line| (line, true)), "after {first}");
        rest = &others[3..];
    }
}

#[tokio::test]
async fn colours_are_kept_by_followers_and_by_files_that_ask_for_them() {
    for (ansi, expected) in [(false, "red"), (true, "\u{1b}[31mred\u{1b}[0m")] {
        let mut bench = Bench::start();
        bench.settings("a", LogSettings { ansi, ..LogSettings::default() }).await;
        let mut reader = bench.subscribe("a", 0, true).await;
        bench.run("a:1", "printf '\\033[31mred\\033[0m\\n'").await;
        assert_eq!(reader.read_to("\u{1b}[31mred\u{1b}[0m").await.len(), 1);
        let dir = bench.close().await;
        assert_eq!(file_texts(&dir.path().join("x.log")), [expected]);
    }
}

#[tokio::test]
async fn output_goes_to_the_logs_of_the_system_and_the_rest_to_memory() {
    let dir = tempfile::tempdir().unwrap();
    let [syslog, journal] = ["syslog", "journal"].map(|name| dir.path().join(name));
    let mut bench = Bench::start_with(Sockets { syslog: syslog.clone(), journal: journal.clone() });
    for (target, path, begin) in [
        (LogTarget::Syslog, syslog, "<30>"),
        (LogTarget::Journald, journal, "PRIORITY=6\nSYSLOG_IDENTIFIER=a:1\n"),
    ] {
        bench.settings("a", LogSettings { target, ..LogSettings::default() }).await;
        // Nobody listens yet: that output is lost there, and only there.
        bench.run("a:1", "echo early").await;
        bench.wait_children();
        assert_eq!(bench.tail("a:1", 1).await, ["early"]);
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        bench.run("a:1", "echo late").await;
        bench.wait_children();
        assert_eq!(bench.tail("a:1", 1).await, ["late"]);
        let mut message = String::new();
        while !message.contains("late") {
            let mut bytes = [0; 4096];
            let len = socket.recv(&mut bytes).unwrap();
            message = String::from_utf8(bytes[..len].to_vec()).unwrap();
        }
        assert!(message.starts_with(begin), "{message}");
    }
    assert!(!bench.path().exists());
    bench.close().await;
}
