//! The broker alone, until a signal ends it.
//!
//! TERM and INT end it at once. USR1 closes the listeners and ends it when no job is left. HUP
//! opens the log file anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::GearmandError;
use super::args::Args;
use super::detach::{self, PidFile};
use super::log::LogPlace;
use super::settings::{PACKET_LEN_MAX, Settings, rules, state_dir};
use crate::broker::server::{Broker, BrokerOptions, BrokerThread};
use crate::broker::store::StateDir;
use crate::broker::{BrokerEvent, BrokerGone, BrokerHandle, Command};
use crate::config::{MEMORY_BUDGET, StoreKind};
use crate::pool::process::raise_file_limit;

/// News of the broker under way at most; the broker drops what does not fit.
const EVENTS_MAX: usize = 1024;
/// How often a server that is to end looks whether jobs are left; the broker tells of no such end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// gearmand's own: its absence is no error there either.
const PID_FILE_DEFAULT: &str = "/var/gearmand.pid";

/// Serves with these settings.
pub(super) fn serve(args: &Args, settings: Settings) -> Result<(), GearmandError> {
    if args.detached {
        detach::leave()?;
    }
    limit_files(args)?;
    let log = open_log(args)?;
    log.begin(settings.log_level).map_err(|error| GearmandError::start("cannot log", error))?;
    let pid_file = pid_file(&args.pid_file)?;
    if let Some(user) = &args.user {
        detach::become_user(user)?;
    }
    tell_notices(args, &settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| GearmandError::start("cannot start", error))?;
    let served = runtime.block_on(run(args, settings, &log));
    drop(pid_file);
    served
}

async fn run(args: &Args, settings: Settings, log: &LogPlace) -> Result<(), GearmandError> {
    let failed = |error: io::Error| GearmandError::start("cannot listen to signals", error);
    let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1]).map_err(failed)?;
    let folder = StateFolder::open(&settings)?;
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let options = BrokerOptions {
        listen: settings.listen,
        packet_len_max: PACKET_LEN_MAX,
        store: settings.store,
        memory_budget: MEMORY_BUDGET,
        state_dir: Arc::clone(&folder.dir),
        attempts_max: settings.attempts_max,
        habits: settings.habits,
        handle_prefix: args.job_handle_prefix.clone(),
        rules: Arc::new(rules()),
        sockets: settings.sockets,
        events: sender,
    };
    let (broker, thread) =
        Broker::start(options).map_err(|error| GearmandError::start("cannot serve", error))?;
    if args.detached {
        detach::tell_ready()?;
    }
    let ended = until_told(&broker, events, signals, log).await;
    close(&broker, thread, ended).await;
    drop(folder);
    Ok(())
}

/// Waits for the signal that ends the server.
async fn until_told(
    broker: &BrokerHandle,
    mut events: mpsc::Receiver<BrokerEvent>,
    mut signals: Signals,
    log: &LogPlace,
) -> Result<(), BrokerGone> {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = false;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => hear(broker, event).await?,
                None => return Err(BrokerGone),
            },
            signal = signals.next() => match signal {
                Some(SIGHUP) => reopen(log),
                Some(SIGUSR1) => {
                    info!("no new connections; ending when no job is left");
                    ending = true;
                    stop_listening(broker).await?;
                }
                Some(_) | None => return Ok(()),
            },
            _ = look.tick(), if ending => {
                let functions = broker.overview().await?.functions;
                let left = functions.values();
                let mut left = left.map(|f| f.running + f.delayed + f.queued.iter().sum::<usize>());
                if left.all(|jobs| jobs == 0) {
                    return Ok(());
                }
            }
        }
    }
}

/// No worker is a process of ours, and the broker is told so before it has to wait.
async fn hear(broker: &BrokerHandle, event: BrokerEvent) -> Result<(), BrokerGone> {
    match event {
        BrokerEvent::Performer { session, peer: _ } => broker.tie(session, None).await?,
        BrokerEvent::GivenUp { loss, death: _ } => {
            warn!(handle = %loss.handle, attempts = loss.attempts, "a job is given up");
        }
        BrokerEvent::Lost(loss) => {
            warn!(handle = %loss.handle, "the payload of a job cannot be read; the job is given up");
        }
        BrokerEvent::Starved(_)
        | BrokerEvent::Registered(_)
        | BrokerEvent::JobEnded { .. }
        | BrokerEvent::Store(_) => {}
    }
    Ok(())
}

fn reopen(log: &LogPlace) {
    match log.reopen() {
        Ok(()) => info!("the log file was opened anew"),
        Err(error) => error!(%error, "the log file cannot be opened anew"),
    }
}

async fn stop_listening(broker: &BrokerHandle) -> Result<(), BrokerGone> {
    let listen = |reply| Command::Listen { addresses: Vec::new(), reply };
    if let Err(error) = broker.ask(listen).await? {
        warn!(error, "a listener stays open");
    }
    Ok(())
}

async fn close(broker: &BrokerHandle, thread: BrokerThread, ended: Result<(), BrokerGone>) {
    let stopped = match ended {
        Ok(()) => broker.ask(Command::Shutdown).await,
        Err(gone) => Err(gone),
    };
    if stopped.is_err() || thread.join().is_err() {
        error!("the broker ended badly");
    }
}

/// The store's folder; with jobs in memory one that is gone afterwards.
struct StateFolder {
    dir: Arc<StateDir>,
    temporary: Option<PathBuf>,
}

impl StateFolder {
    fn open(settings: &Settings) -> Result<Self, GearmandError> {
        let is_root = nix::unistd::geteuid().is_root();
        let (path, temporary) = match settings.store {
            StoreKind::Disk => {
                let path = state_dir(settings.port, is_root).ok_or_else(|| {
                    GearmandError::start("no folder for the store", "set STATE_DIRECTORY or HOME")
                })?;
                info!("background jobs are kept in {}", path.display());
                (path, None)
            }
            StoreKind::Memory => {
                let name = format!("gearmand-{}", std::process::id());
                let path = std::env::temp_dir().join(name);
                (path.clone(), Some(path))
            }
        };
        let dir = StateDir::open(&path)
            .map_err(|error| GearmandError::start("cannot keep jobs", error))?;
        Ok(Self { dir: Arc::new(dir), temporary })
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            // What stays is a lock file in the temporary folder.
            std::fs::remove_dir_all(path).unwrap_or_default();
        }
    }
}

fn limit_files(args: &Args) -> Result<(), GearmandError> {
    let failed = |error| GearmandError::start("cannot set the limit of files", error);
    match args.file_descriptors {
        None => {
            raise_file_limit().map_err(|error| failed(error.to_string()))?;
        }
        Some(files) => {
            let (_, hard) =
                getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| failed(error.to_string()))?;
            setrlimit(Resource::RLIMIT_NOFILE, files, hard.max(files))
                .map_err(|error| failed(error.to_string()))?;
        }
    }
    if args.coredump {
        let (_, hard) =
            getrlimit(Resource::RLIMIT_CORE).map_err(|error| failed(error.to_string()))?;
        setrlimit(Resource::RLIMIT_CORE, hard, hard).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// The log's place; a file that cannot be opened is replaced by stderr, as gearmand does.
fn open_log(args: &Args) -> Result<LogPlace, GearmandError> {
    if args.syslog {
        return LogPlace::syslog()
            .map_err(|error| GearmandError::start("cannot use syslog", error));
    }
    LogPlace::open(&args.log_file).or_else(|error| {
        let path = args.log_file.display();
        let text = format!("gearmand: cannot open {path} ({error}); the log goes to stderr\n");
        io::Write::write_all(&mut io::stderr(), text.as_bytes()).unwrap_or_default();
        Ok(LogPlace::Stderr)
    })
}

fn pid_file(path: &Path) -> Result<Option<PidFile>, GearmandError> {
    match PidFile::create(path.to_owned()) {
        Ok(file) => Ok(Some(file)),
        Err(_) if path == Path::new(PID_FILE_DEFAULT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn tell_notices(args: &Args, settings: &Settings) {
    for notice in &args.notices {
        info!("{notice}");
    }
    if settings.store == StoreKind::Disk {
        warn!(
            "--queue-type={}: jobs are kept in a store of this server's own; to move those of an old \
             libsqlite3 queue into it, run `gear-supervisor queue import --from FILE --to HOST:PORT`",
            args.queue_type
        );
    }
}
