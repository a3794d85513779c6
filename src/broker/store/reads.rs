//! The thread that reads from a store while another one commits.
//!
//! At the start it streams all jobs in; between two pieces of that, and afterwards, it answers
//! what is asked for. Reports go through a bounded channel, so the stream is as fast as the
//! broker takes it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use tokio::sync::mpsc;

use super::{Reader, ScanPlace};
use crate::broker::record::{Fetched, JobRecord};
use crate::model::{JobId, Unique};

/// Jobs in one piece of the stream; taking one in has to fit into a turn.
const PIECE_LEN: usize = 512;
/// Reports on their way to the broker's thread; the reader waits when there are more.
const REPORTS_MAX: usize = 4;
/// How long a scan that failed waits before it goes on at the same place.
const SCAN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What was read.
#[derive(Debug)]
pub enum ReadReport {
    /// A piece of the stream of stored jobs.
    Jobs(Vec<JobRecord>),
    /// The stream stopped; it goes on after a while.
    ScanFailed(String),
    /// All stored jobs have been reported.
    ScanDone,
    /// Contents that were asked for.
    Contents(Contents),
}

/// Uniques and payload lengths by job.
pub type Descriptions = HashMap<JobId, (Unique, usize)>;

/// What came of reading contents, by job.
pub type Contents = Vec<(JobId, Fetched)>;

enum Wish {
    Contents(Vec<JobId>),
    Read(Vec<JobId>, Box<dyn FnOnce(Contents) + Send>),
    Describe(Vec<JobId>, Box<dyn FnOnce(Descriptions) + Send>),
}

/// The broker thread's end of the reader.
pub struct ReadThread {
    wishes: Sender<Wish>,
    join: JoinHandle<()>,
}

impl ReadThread {
    /// Starts the thread, and the stream of the jobs up to `through`.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(
        reader: Box<dyn Reader>,
        through: JobId,
    ) -> io::Result<(Self, mpsc::Receiver<ReadReport>)> {
        let (wishes, inbox) = channel();
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        let scan = Some(ScanPlace::start(through));
        let mut thread = Reading { reader, inbox, reports, scan };
        let join = thread::Builder::new().name("reads".to_owned()).spawn(move || thread.run())?;
        Ok((Self { wishes, join }, receiver))
    }

    /// Asks for contents; they come as a report.
    ///
    /// # Errors
    /// With the jobs, when the thread has ended, which it does only by a panic.
    pub fn fetch(&self, jobs: Vec<JobId>) -> Result<(), Vec<JobId>> {
        self.wishes.send(Wish::Contents(jobs)).map_err(|refused| match refused.0 {
            Wish::Contents(jobs) | Wish::Read(jobs, _) | Wish::Describe(jobs, _) => jobs,
        })
    }

    /// Reads contents for somebody outside, as far as they fit into one answer; `then` is called
    /// with them on the reading thread, and dropped when that has ended.
    pub fn read(&self, jobs: Vec<JobId>, then: impl FnOnce(Contents) + Send + 'static) {
        drop(self.wishes.send(Wish::Read(jobs, Box::new(then))));
    }

    /// Asks for uniques and payload lengths; `then` is called with them on the reading thread, and
    /// dropped when that has ended.
    pub fn describe(&self, jobs: Vec<JobId>, then: impl FnOnce(Descriptions) + Send + 'static) {
        drop(self.wishes.send(Wish::Describe(jobs, Box::new(then))));
    }

    /// Ends the thread after what it is at; the reports' receiver is to be dropped first.
    pub fn close(self) {
        drop(self.wishes);
        // A panic was told by the panic hook, and there is nothing to be saved here.
        self.join.join().unwrap_or_default();
    }
}

impl fmt::Debug for ReadThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadThread")
    }
}

struct Reading {
    reader: Box<dyn Reader>,
    inbox: Receiver<Wish>,
    reports: mpsc::Sender<ReadReport>,
    /// Where the stream of jobs goes on; nothing when it is done.
    scan: Option<ScanPlace>,
}

impl Reading {
    fn run(&mut self) {
        while !self.reports.is_closed() {
            let wish = if self.scan.is_some() {
                self.inbox.try_recv()
            } else {
                self.inbox.recv().or(Err(TryRecvError::Disconnected))
            };
            match wish {
                Ok(wish) => self.grant(wish),
                Err(TryRecvError::Empty) => self.scan_some(),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Contents(jobs) => {
                let contents = self.reader.contents(&jobs);
                self.report(ReadReport::Contents(contents));
            }
            Wish::Read(jobs, then) => then(self.reader.contents(&jobs)),
            Wish::Describe(jobs, then) => then(self.reader.describe(&jobs)),
        }
    }

    fn scan_some(&mut self) {
        let Some(place) = self.scan else { return };
        match self.reader.scan(place, PIECE_LEN) {
            Ok((jobs, next)) => {
                self.scan = next;
                self.report(ReadReport::Jobs(jobs));
                if next.is_none() {
                    self.report(ReadReport::ScanDone);
                }
            }
            Err(error) => {
                self.report(ReadReport::ScanFailed(error.to_string()));
                match self.inbox.recv_timeout(SCAN_AGAIN_AFTER) {
                    Ok(wish) => self.grant(wish),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
        }
    }

    fn report(&self, report: ReadReport) {
        // A broker that has gone needs no report.
        self.reports.blocking_send(report).unwrap_or_default();
    }
}
