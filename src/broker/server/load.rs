//! From the store to the rules: what a start finds of the broker before it.

use std::io;
use std::time::{Duration, SystemTime};

use nix::unistd::gethostname;
use tracing::info;

use super::core::now;
use super::show::TARGET;
use super::start::{BrokerOptions, BrokerStartError};
use crate::broker::record::Change;
use crate::broker::state::{Habits, State, StateSettings};
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
    let prefix = match &options.handle_prefix {
        Some(prefix) => shorten(prefix.clone()),
        None => handle_prefix(&host.to_string_lossy()),
    };
    Ok(match options.store {
        StoreKind::Disk => Box::new(DiskStore::open(&options.state_dir, &prefix)?),
        StoreKind::Memory => Box::new(MemoryStore::new(&prefix, SystemTime::now())),
    })
}

/// The rules with the jobs that the store kept, and with a block of handles reserved.
pub(super) fn load_state(
    store: &mut dyn Store,
    attempts_max: u32,
    habits: Habits,
) -> Result<State, StoreError> {
    let (started, started_at) = (now(), SystemTime::now());
    let meta = store.meta()?;
    let reserved = JobId(meta.reserved.0 + HANDLES_AT_START);
    store.commit(&[Change::ReserveHandles { through: reserved }])?;
    let mut state = State::new(StateSettings {
        handle_prefix: meta.handle_prefix,
        next: JobId(meta.reserved.0 + 1),
        reserved,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attempts_max,
        habits,
        started,
        started_at,
    });
    let mut count = 0_u64;
    store.scan(&mut |record| {
        // A clock that was set back makes a job young, not the start fail.
        let waited = started_at.duration_since(record.enqueued_at).unwrap_or(Duration::ZERO);
        state.restore(started, record, waited);
        count += 1;
    })?;
    if count > 0 {
        info!(target: TARGET, jobs = count, "background jobs kept from before wait again");
    }
    Ok(state)
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
