//! The vigils beside the pool's processes: begun with a process, ended with it.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use nix::unistd::geteuid;
use regex::bytes::Regex;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Pool;
use crate::config::{Check, Liveness, LivenessOn, ReadyOn, Upkeep};
use crate::logs::{LineWatch, LogLine, LogStream, LogsRequest};
use crate::model::{WorkerId, WorkerName};
use crate::pool::health::{News, NotifySocket, Prober, Sign, Vigil};
use crate::pool::lifecycle::{Event, SeatView};
use crate::pool::process::Launch;

/// Lines that are looked through for the last words of a process, and those that are kept.
const TAIL_LINES: usize = 50;
const LAST_LINES_MAX: usize = 5;
/// Characters of each.
const LAST_LINE_LEN_MAX: usize = 300;

/// What is watched of the processes that live.
#[derive(Debug, Default)]
pub(super) struct Watches(HashMap<WorkerId, Watch>);

#[derive(Debug)]
struct Watch {
    /// Ends the vigil when the process has ended.
    _vigil: Option<DropGuard>,
    /// Tells the vigil that its process is ready.
    is_ready: Option<oneshot::Sender<()>>,
    /// What the process says of itself.
    status: Option<String>,
    begun: SystemTime,
}

impl Watches {
    /// Forgets a process that has ended; tells when it was begun.
    pub(super) fn end(&mut self, worker: WorkerId) -> Option<SystemTime> {
        self.0.remove(&worker).map(|watch| watch.begun)
    }

    /// What the process says of itself.
    pub(super) fn status(&self, worker: WorkerId) -> Option<&str> {
        self.0.get(&worker)?.status.as_deref()
    }

    /// The process has become ready.
    pub(super) fn ready(&mut self, worker: WorkerId) {
        let watch = self.0.get_mut(&worker);
        if let Some(is_ready) = watch.and_then(|watch| watch.is_ready.take()) {
            // A vigil without a liveness check does not wait for it.
            is_ready.send(()).ok();
        }
    }
}

impl Pool {
    /// Makes the socket that a process is to talk to, and tells the process of it.
    pub(super) fn prepare_notify(
        &self,
        worker: WorkerId,
        launch: &mut Launch,
    ) -> std::io::Result<Option<NotifySocket>> {
        let Upkeep { ready, liveness, .. } = &self.settings.upkeep;
        let on = liveness.as_ref().map(|liveness| (&liveness.on, liveness.period));
        let silence = match on {
            Some((LivenessOn::Notify, period)) => Some(period),
            Some((LivenessOn::Check(_), _)) | None => None,
        };
        if ready.on != ReadyOn::Notify && silence.is_none() {
            return Ok(None);
        }
        let account = launch.account.as_ref();
        let user = account.map_or_else(|| geteuid().as_raw(), |account| account.uid);
        let socket = NotifySocket::bind(worker, user)?;
        launch.env.insert("NOTIFY_SOCKET".into(), socket.address().into());
        if let Some(silence) = silence {
            let micros = silence.as_micros().to_string();
            launch.env.insert("WATCHDOG_USEC".into(), micros.into());
        }
        Ok(Some(socket))
    }

    /// Begins the vigil beside a process, if there is something to wait for; returns the line that
    /// the logs are to look for.
    pub(super) fn begin_vigil(
        &mut self,
        worker: WorkerId,
        name: &WorkerName,
        (launch, Health { ready, liveness }): (Launch, Health),
        notify: Option<NotifySocket>,
    ) -> Option<LineWatch> {
        let (found, line) = oneshot::channel();
        let watch = match &ready {
            ReadyOn::Line(pattern) => {
                // It was checked with the file.
                Regex::new(pattern).ok().map(|pattern| LineWatch { pattern, found })
            }
            ReadyOn::Alive | ReadyOn::Registered | ReadyOn::Notify | ReadyOn::Check(_) => None,
        };
        let is_checked = matches!(ready, ReadyOn::Check(_)) || liveness.is_some();
        let (is_ready, told_ready) = oneshot::channel();
        let vigil = (watch.is_some() || is_checked || notify.is_some()).then(|| {
            let stop = CancellationToken::new();
            let vigil = Vigil {
                worker,
                ready,
                liveness,
                prober: Prober {
                    processes: self.processes.clone(),
                    ids: self.ids.clone(),
                    name: name.clone(),
                    launch,
                },
                notify,
                line: watch.is_some().then_some(line),
                is_ready: told_ready,
                signs: self.signs_in.clone(),
            };
            self.tracker.spawn(stop.clone().run_until_cancelled_owned(vigil.run()));
            stop.drop_guard()
        });
        let kept = Watch {
            _vigil: vigil,
            is_ready: Some(is_ready),
            status: None,
            begun: SystemTime::now(),
        };
        self.watches.0.insert(worker, kept);
        watch
    }

    /// Has the last lines of a process read that ended otherwise than it was asked to.
    pub(super) fn ask_last_words(&mut self, worker: WorkerId, begun: SystemTime) {
        let ended = |seat: &SeatView| {
            seat.last_exit.as_ref().is_some_and(|last| {
                last.worker == worker && (!last.asked || !last.exit.is_success())
            })
        };
        let Some(seat) = self.roster.seats().find(ended) else { return };
        let name = self.settings.name.worker(seat.index);
        let told: HashSet<_> =
            self.roster.seats().filter_map(|seat| Some(seat.last_exit?.worker)).collect();
        self.last_lines.retain(|worker, _| told.contains(worker));
        let (logs, signs) = (self.logs.clone(), self.signs_in.clone());
        self.tracker.spawn(async move {
            let tail = |reply| LogsRequest::Tail { worker: name, lines: TAIL_LINES, reply };
            let Ok(lines) = logs.ask(tail).await else { return };
            let news = News::LastLines(last_words(&lines, begun));
            if signs.send(Sign { worker, news }).await.is_err() {
                tracing::debug!("the last lines came after their pool's end");
            }
        });
    }

    /// Takes what a vigil found out.
    pub(super) async fn hear(&mut self, Sign { worker, news }: Sign) {
        match news {
            News::Ready => self.pass(Event::Ready(worker)).await,
            News::Unhealthy(reason) => self.pass(Event::Unhealthy { worker, reason }).await,
            News::LastLines(lines) => {
                self.last_lines.insert(worker, lines);
                self.publisher.touch();
            }
            News::Status(status) => {
                if let Some(watch) = self.watches.0.get_mut(&worker) {
                    watch.status = Some(status);
                    self.publisher.touch();
                }
            }
        }
    }
}

/// The last lines of standard error since `begun`, or of standard output where that is empty.
fn last_words(lines: &[LogLine], begun: SystemTime) -> Vec<String> {
    let of = |stream: LogStream| {
        let ours = lines.iter().filter(move |line| line.stream == stream && line.at >= begun);
        ours.map(|line| {
            let text = String::from_utf8_lossy(&line.text);
            text.chars().take(LAST_LINE_LEN_MAX).collect::<String>()
        })
    };
    let mut words: Vec<_> = of(LogStream::Stderr).collect();
    if words.is_empty() {
        words = of(LogStream::Stdout).collect();
    }
    words.split_off(words.len().saturating_sub(LAST_LINES_MAX))
}

/// What is asked of one process, with the words of its command put in.
#[derive(Clone, Debug)]
pub(super) struct Health {
    ready: ReadyOn,
    liveness: Option<Liveness>,
}

impl Health {
    pub(super) fn of(upkeep: &Upkeep, fill: impl Fn(&str) -> String) -> Self {
        let filled = |check: &Check| match check {
            Check::Http { address, path } => {
                Check::Http { address: fill(address), path: fill(path) }
            }
            Check::Exec(argv) => Check::Exec(argv.iter().map(|word| fill(word)).collect()),
        };
        let ready = match &upkeep.ready.on {
            ReadyOn::Check(check) => ReadyOn::Check(filled(check)),
            ReadyOn::Alive | ReadyOn::Registered | ReadyOn::Notify | ReadyOn::Line(_) => {
                upkeep.ready.on.clone()
            }
        };
        let liveness = upkeep.liveness.clone().map(|liveness| match &liveness.on {
            LivenessOn::Check(check) => {
                Liveness { on: LivenessOn::Check(filled(check)), ..liveness }
            }
            LivenessOn::Notify => liveness,
        });
        Self { ready, liveness }
    }
}
