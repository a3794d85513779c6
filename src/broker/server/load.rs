//! From the store to the rules: what a start finds of the broker before it.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use nix::unistd::gethostname;
use tracing::{info, warn};

use super::core::now;
use super::show::TARGET;
use super::start::{BrokerOptions, BrokerStartError};
use crate::broker::record::{Change, Extras};
use crate::broker::state::{State, StateSettings};
use crate::broker::store::{DiskStore, MemoryStore, Store, StoreError};
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
    let prefix = options.handle_prefix.clone();
    let prefix = prefix.unwrap_or_else(|| handle_prefix(&host.to_string_lossy()));
    Ok(match options.store {
        StoreKind::Disk => Box::new(DiskStore::open(&options.state_dir, &prefix)?),
        StoreKind::Memory => Box::new(MemoryStore::new(&prefix, SystemTime::now())),
    })
}

/// The rules with the jobs that the store kept, and with a block of handles reserved.
pub(super) fn load_state(
    store: &mut dyn Store,
    options: &BrokerOptions,
) -> Result<State, StoreError> {
    let (started, started_at) = (now(), SystemTime::now());
    let meta = store.meta()?;
    let reserved = JobId(meta.reserved.0 + HANDLES_AT_START);
    store.commit(&[Change::ReserveHandles { through: reserved }])?;
    let mut state = State::new(StateSettings {
        handle_prefix: options.handle_prefix.clone().unwrap_or(meta.handle_prefix.clone()),
        handle_prefix_before: meta.handle_prefix,
        next: JobId(meta.reserved.0 + 1),
        reserved,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attempts_max: options.attempts_max,
        rules: Arc::clone(&options.rules),
        zone: TimeZone::system(),
        started,
        started_at,
    });
    let Extras { mut deaths, schedules, paused } = store.extras()?;
    // Before the jobs, so that each finds its function as it is.
    for pattern in paused {
        state.restore_pause(pattern);
    }
    let mut count = 0_u64;
    store.scan(&mut |record| {
        if let Some(death) = deaths.remove(&record.id) {
            return state.restore_dead(started, record, death);
        }
        state.restore(started, record);
        count += 1;
    })?;
    for schedule in schedules {
        let id = schedule.id;
        if let Err(error) = state.restore_schedule(started, schedule) {
            warn!(target: TARGET, "recurring job {id} does not run: {error}");
        }
    }
    if count > 0 {
        info!(target: TARGET, jobs = count, "background jobs kept from before wait again");
    }
    Ok(state)
}

/// `H:host`, short enough that every handle fits into libgearman's buffer.
fn handle_prefix(host: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host: String = host.chars().filter(|c| plain(*c)).collect();
    let mut prefix = format!("H:{host}");
    prefix.truncate(HANDLE_LEN_MAX - HANDLE_NUMBER_LEN);
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
