//! A disk that is watched and can be made to fail: a library between a broker and the system, and
//! what would be left of its writes after a power cut.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Rounds of a test that is repeated at random: few, or those of the long run.
pub(crate) fn rounds(short: usize, long: usize) -> usize {
    if env::var_os("GEAR_LONG").is_some() { long } else { short }
}

/// A state folder on the watched disk.
pub(crate) struct Disk {
    folder: TempDir,
    library: PathBuf,
}

/// What was done to the disk, in order.
pub(crate) enum Op {
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Sync(String),
    /// A sync failed: what it was to make durable may never be, though it can be read.
    SyncFailed(String),
    Truncate {
        file: String,
        len: usize,
    },
    Unlink(String),
    Rename {
        from: String,
        to: String,
    },
}

/// What a power cut leaves of writes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Nothing,
    Prefix,
    /// Any of their sectors.
    Torn,
}

impl Disk {
    /// `None`, with a word why, where there is no C compiler.
    pub(crate) fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/disk.c");
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        match compiler {
            Ok(status) => assert!(status.success(), "disk.c does not compile"),
            Err(error) => {
                eprintln!("skipped: no C compiler: {error}");
                return None;
            }
        }
        fs::create_dir(folder.path().join("state")).unwrap();
        Some(Self { folder, library })
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The environment of a broker on this disk.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD", text(self.library.clone())),
            ("GEAR_DISK_FOLDER", text(self.state())),
            ("GEAR_DISK_LOG", text(self.log())),
            ("GEAR_DISK_FAULT", text(self.folder.path().join("fault"))),
        ]
    }

    /// `full`, `sync`, or nothing.
    pub(crate) fn fail(&self, fault: &str) {
        let draft = self.folder.path().join("fault.new");
        fs::write(&draft, fault).unwrap();
        fs::rename(draft, self.folder.path().join("fault")).unwrap();
    }

    /// The length of the log: whatever was acknowledged before is in its first so many bytes.
    pub(crate) fn log_len(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// What was done, each with the end of its entry in the log.
    pub(crate) fn ops(&self) -> Vec<(u64, Op)> {
        let log = fs::read(self.log()).unwrap();
        let mut ops = Vec::new();
        let mut at = 0;
        while let Some(end) = log[at..].iter().position(|byte| *byte == b'\n') {
            let head = std::str::from_utf8(&log[at..at + end]).unwrap();
            at += end + 1;
            let words: Vec<&str> = head.split(' ').collect();
            let file = words[1].to_owned();
            let op = match words[0] {
                "W" => {
                    let len: usize = words[3].parse().unwrap();
                    let place = words[2].parse().unwrap();
                    let Some(bytes) = log.get(at..at + len) else { break };
                    at += len;
                    Op::Write { file, at: place, bytes: bytes.to_vec() }
                }
                "S" => Op::Sync(file),
                "F" => Op::SyncFailed(file),
                "T" => Op::Truncate { file, len: words[2].parse().unwrap() },
                "U" => Op::Unlink(file),
                "R" => Op::Rename { from: file, to: words[2].to_owned() },
                other => panic!("{other}"),
            };
            ops.push((at as u64, op));
        }
        ops
    }
}

/// One file as the disk has it, and what was asked of it since its last sync.
#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    open: Vec<(usize, Vec<u8>)>,
    /// What a later sync does not bring: a sync of it failed.
    doubtful: Vec<(usize, Vec<u8>)>,
}

/// Writes what is left of the first operations into a folder. Changes of names are taken to be
/// durable in order, as the journals of file systems have it.
pub(crate) fn cut<'a>(
    ops: impl Iterator<Item = &'a Op>,
    how: Cut,
    dice: &mut impl FnMut(usize) -> usize,
    folder: &Path,
) {
    let mut files: BTreeMap<&str, File> = BTreeMap::new();
    for op in ops {
        match op {
            Op::Write { file, at, bytes } => {
                files.entry(file).or_default().open.push((*at, bytes.clone()));
            }
            Op::Sync(file) => {
                let file = files.entry(file).or_default();
                for (at, bytes) in std::mem::take(&mut file.open) {
                    put(&mut file.durable, at, &bytes);
                }
            }
            Op::SyncFailed(file) => {
                let file = files.entry(file).or_default();
                file.doubtful.append(&mut file.open);
            }
            Op::Truncate { file, len } => {
                let file = files.entry(file).or_default();
                file.durable.truncate(*len);
                file.open.retain(|(at, _)| at < len);
                file.doubtful.retain(|(at, _)| at < len);
            }
            Op::Unlink(file) => {
                files.remove(file.as_str());
            }
            Op::Rename { from, to } => {
                if let Some(file) = files.remove(from.as_str()) {
                    files.insert(to, file);
                }
            }
        }
    }
    for (name, mut file) in files {
        keep_some(&mut file, how, dice);
        fs::write(folder.join(name), file.durable).unwrap();
    }
}

fn keep_some(file: &mut File, how: Cut, dice: &mut impl FnMut(usize) -> usize) {
    let open = std::mem::take(&mut file.open);
    match how {
        Cut::Nothing => {}
        Cut::Prefix => {
            let kept = dice(open.len() + 1);
            for (at, bytes) in open.into_iter().take(kept) {
                put(&mut file.durable, at, &bytes);
            }
        }
        Cut::Torn => {
            for (at, bytes) in open.into_iter().chain(std::mem::take(&mut file.doubtful)) {
                for (n, sector) in bytes.chunks(512).enumerate() {
                    if dice(2) == 0 {
                        put(&mut file.durable, at + n * 512, sector);
                    }
                }
            }
        }
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}
