//! From the store to the rules: what a start finds of the broker before it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Instant, SystemTime};

use nix::unistd::gethostname;
use tracing::{error, info};

use super::core::{Core, now};
use super::show::TARGET;
use super::start::{BrokerOptions, BrokerStartError};
use crate::broker::record::{Change, Fetched};
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

/// The rules as they begin, with a block of handles reserved, and the last job of the run before.
/// The jobs that the store kept are still to come.
pub(super) fn open_state(
    store: &mut dyn Store,
    options: &BrokerOptions,
) -> Result<(State, JobId), BrokerStartError> {
    let (started, started_at) = (now(), SystemTime::now());
    let meta = store.meta()?;
    let reserved = JobId(meta.reserved.0 + HANDLES_AT_START);
    store.commit(&[Change::ReserveHandles { through: reserved }])?;
    let keeps = options.store == StoreKind::Disk;
    let state = State::new(StateSettings {
        handle_prefix: meta.handle_prefix,
        next: JobId(meta.reserved.0 + 1),
        reserved,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attempts_max: options.attempts_max,
        habits: options.habits,
        held_bytes_max: if keeps { options.memory_budget } else { usize::MAX },
        hash_key: hash_key(),
        started,
        started_at,
    });
    Ok((state, meta.reserved))
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
            ReadReport::Jobs(jobs) => {
                let today = SystemTime::now();
                self.jobs_read += jobs.len();
                for record in jobs {
                    // A clock that was set back makes a job young, not the start fail.
                    let waited = today.duration_since(record.enqueued_at).unwrap_or_default();
                    self.state.restore(now, record, waited, &mut self.fx);
                }
            }
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

    fn loaded(&mut self, now: Instant) {
        if self.jobs_read > 0 {
            let jobs = self.jobs_read;
            info!(target: TARGET, jobs, "background jobs kept from before wait again");
        }
        self.state.loaded(now, &mut self.fx);
        for command in std::mem::take(&mut self.postponed) {
            self.obey(command);
        }
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
