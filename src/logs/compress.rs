//! Compresses rotated files, one at a time, on a thread that gives way to everything else.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::fcntl::OFlag;
use rustix::process::{Pid, setpriority_process};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::file::{FILE_MODE, Identity};
use super::hub::Hub;
use super::older::{absent_is_fine, unfinished_path};

/// Bytes between two looks at whether to stop.
const BLOCK_LEN: usize = 64 * 1024;
/// The priority of the thread (nice(1)).
const NICENESS: i32 = 15;

/// A rotated file that is to be compressed.
#[derive(Debug)]
pub(super) struct Job {
    /// The log that it belongs to; the file itself may be moved on meanwhile.
    pub(super) log: PathBuf,
    /// By which it is found again.
    pub(super) source: Identity,
    file: File,
}

impl Job {
    /// Opens the rotated file `path` of `log`; `None` where it is no plain file.
    pub(super) fn open(log: &Path, path: &Path) -> io::Result<Option<Self>> {
        // In a folder that a worker may write it could put a link to any file.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let about = file.metadata()?;
        let source = Identity { device: about.dev(), inode: about.ino() };
        Ok(about.is_file().then(|| Self { log: log.to_owned(), source, file }))
    }

    /// Compresses it under its unfinished name.
    fn carry_out(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let unfinished = unfinished_path(&self.log);
        absent_is_fine(fs::remove_file(&unfinished))?;
        let target =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&unfinished)?;
        let done = compress(&mut self.file, target, stop);
        if done.is_err() {
            absent_is_fine(fs::remove_file(&unfinished))?;
        }
        done
    }
}

/// Compresses what is to be compressed, whenever `wake` says that there may be something.
pub(super) async fn run(hub: Rc<RefCell<Hub>>, wake: Rc<Notify>, closing: CancellationToken) {
    let stop = Arc::new(AtomicBool::new(false));
    while closing.run_until_cancelled(wake.notified()).await.is_some() {
        loop {
            let job = hub.borrow_mut().sink.files.next_to_compress();
            let Some(mut job) = job else { break };
            let (done, carried_out) = oneshot::channel();
            let stopped = Arc::clone(&stop);
            let thread = std::thread::Builder::new().name("logs-gzip".into()).spawn(move || {
                give_way();
                let result = job.carry_out(&stopped);
                // Nobody waits for it when the logs are closed in a hurry.
                done.send((job, result)).ok();
            });
            if let Err(error) = thread {
                warn!(%error, "no thread to compress old log files; the next rotation tries again");
                break;
            }
            let (Ok((job, result)), is_closing) = ended(carried_out, &closing, &stop).await else {
                break;
            };
            if is_closing {
                return;
            }
            hub.borrow_mut().sink.files.compressed(&job, result);
        }
    }
}

/// Waits for a job, which is told to stop when the logs close; it looks up after each block.
async fn ended<T>(
    mut done: oneshot::Receiver<T>,
    closing: &CancellationToken,
    stop: &AtomicBool,
) -> (Result<T, oneshot::error::RecvError>, bool) {
    tokio::select! {
        done = &mut done => (done, false),
        () = closing.cancelled() => {
            stop.store(true, Ordering::Relaxed);
            let done = done.await;
            (done, true)
        }
    }
}

/// Writes `source` to `target` as gzip and makes that durable, since the source will be deleted.
fn compress(source: &mut File, target: File, stop: &AtomicBool) -> io::Result<()> {
    let modified = source.metadata()?.modified()?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    let mut block = vec![0; BLOCK_LEN];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(ErrorKind::Interrupted.into());
        }
        match source.read(&mut block)? {
            0 => break,
            len => encoder.write_all(block.get(..len).unwrap_or_default())?,
        }
    }
    let target = encoder.finish()?;
    // Its lines are as old as they were: what goes first when room is needed depends on that.
    target.set_modified(modified)?;
    target.sync_all()
}

/// Lowers the priority of this thread alone: on Linux the number of a thread stands for it.
fn give_way() {
    let thread = Pid::from_raw(nix::unistd::gettid().as_raw());
    if let Err(error) = setpriority_process(thread, NICENESS) {
        warn!(%error, "old log files are compressed at the usual priority");
    }
}
