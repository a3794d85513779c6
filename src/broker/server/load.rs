//! From the store to the rules: what a start finds of the broker before it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use jiff::tz::TimeZone;
use nix::unistd::gethostname;
use tracing::{error, info, warn};

use super::core::{Core, now};
use super::show::TARGET;
use super::start::{BrokerOptions, BrokerStartError};
use crate::broker::record::{Change, Death, Extras, Fetched, JobRecord};
use crate::broker::state::{Input, State, StateSettings};
use crate::broker::store::{DiskStore, MemoryStore, ReadReport, Store};
use crate::config::StoreKind;
use crate::model::JobId;
use crate::protocol::HANDLE_LEN_MAX;

/// Handle numbers reserved at the start; the rules reserve the next ones in time.
const HANDLES_AT_START: u64 = 65_536;
/// A colon and the longest number, behind the prefix of a handle.
const HANDLE_NUMBER_LEN: usize = 21;

/// Opens the store that the options ask for.
pub(super) fn open_store(options: &BrokerOptions) -> Result<Box<dyn Store>, BrokerStartError> {
    let host = gethostname().map_err(io::Error::from)?;
    let prefix = match &options.handle_prefix {
        Some(prefix) => shorten(prefix.clone()),
        None => handle_prefix(&host.to_string_lossy()),
    };
    Ok(match options.store {
        StoreKind::Disk => Box::new(DiskStore::open(&options.state_dir, &prefix)?),
        StoreKind::Memory => Box::new(MemoryStore::new(&prefix, SystemTime::now())),
    })
}

/// What a start finds before any job is read.
#[derive(Debug)]
pub(super) struct Opened {
    /// The rules as they begin, with a block of handles reserved.
    pub(super) state: State,
    /// The last job of the run before.
    pub(super) last: JobId,
    /// Which of the stored jobs are dead letters.
    pub(super) deaths: BTreeMap<JobId, Death>,
}

/// The rules as they begin; the jobs that the store kept are still to come.
pub(super) fn open_state(
    store: &mut dyn Store,
    options: &BrokerOptions,
) -> Result<Opened, BrokerStartError> {
    let (started, started_at) = (now(), SystemTime::now());
    let meta = store.meta()?;
    let reserved = JobId(meta.reserved.0 + HANDLES_AT_START);
    store.commit(&[Change::ReserveHandles { through: reserved }])?;
    let keeps = options.store == StoreKind::Disk;
    let prefix = options.handle_prefix.clone().map(shorten);
    let mut state = State::new(StateSettings {
        handle_prefix: prefix.unwrap_or_else(|| meta.handle_prefix.clone()),
        handle_prefix_before: meta.handle_prefix,
        next: JobId(meta.reserved.0 + 1),
        reserved,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: options.store,
        attempts_max: options.attempts_max,
        habits: options.habits,
        rules: Arc::clone(&options.rules),
        zone: TimeZone::system(),
        held_bytes_max: if keeps { options.memory_budget } else { usize::MAX },
        hash_key: hash_key(),
        started,
        started_at,
    });
    let Extras { deaths, schedules, paused } = store.extras()?;
    // Before the jobs, so that each finds its function as it is.
    for pattern in paused {
        state.restore_pause(pattern);
    }
    for schedule in schedules {
        let id = schedule.id;
        if let Err(error) = state.restore_schedule(started, schedule) {
            warn!(target: TARGET, "recurring job {id} does not run: {error}");
        }
    }
    Ok(Opened { state, last: meta.reserved, deaths })
}

/// Two hashes of the standard library's secret keys.
fn hash_key() -> [u8; 16] {
    let half = || RandomState::new().hash_one(0).to_le_bytes();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&half());
    key[8..].copy_from_slice(&half());
    key
}

impl Core {
    /// Takes in what was read from the store.
    pub(super) fn read(&mut self, report: ReadReport) {
        let now = now();
        match report {
            ReadReport::Jobs(jobs) => self.restore(now, jobs),
            ReadReport::ScanFailed(reason) => {
                error!(target: TARGET, reason, "not all stored jobs could be read yet");
                self.state.probe_store(&mut self.fx);
            }
            ReadReport::ScanDone => self.loaded(now),
            ReadReport::Contents(contents) => {
                if contents.iter().any(|(_, outcome)| *outcome == Fetched::Failed) {
                    self.state.probe_store(&mut self.fx);
                }
                for (job, outcome) in contents {
                    self.state.handle(now, Input::Fetched { job, outcome }, &mut self.fx);
                }
            }
        }
        self.deliver(now);
    }

    fn restore(&mut self, now: Instant, jobs: Vec<JobRecord>) {
        for record in jobs {
            if let Some(death) = self.deaths.remove(&record.id) {
                self.state.restore_dead(now, record, death, &mut self.fx);
            } else {
                self.jobs_read += 1;
                self.state.restore(now, record, &mut self.fx);
            }
        }
    }

    fn loaded(&mut self, now: Instant) {
        if self.jobs_read > 0 {
            let jobs = self.jobs_read;
            info!(target: TARGET, jobs, "background jobs kept from before wait again");
        }
        self.state.loaded(now, &mut self.fx);
    }
}

/// `H:host`, short enough that every handle fits into libgearman's buffer.
fn handle_prefix(host: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host: String = host.chars().filter(|c| plain(*c)).collect();
    shorten(format!("H:{host}"))
}

fn shorten(mut prefix: String) -> String {
    prefix.truncate(prefix.floor_char_boundary(HANDLE_LEN_MAX - HANDLE_NUMBER_LEN));
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_any_host_fit_libgearmans_buffer() {
        assert_eq!(handle_prefix("web-1.example"), "H:web-1.example");
        assert_eq!(handle_prefix("a//b c"), "H:abc");
        let long = handle_prefix(&"x".repeat(200));
        assert_eq!(format!("{long}:{}", u64::MAX).len(), HANDLE_LEN_MAX);
    }
}
