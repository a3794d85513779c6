//! What gearmand's options mean to the broker.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use super::GearmandError;
use super::args::{Args, Level};
use crate::broker::server::SocketOptions;
use crate::broker::state::{Charges, Exceptions, Habits};
use crate::config::{BrokerRules, ListenAddress, StoreKind};
use crate::model::Network;

/// Gearman's port at IANA.
const DEFAULT_PORT: u16 = 4730;
/// As `[broker] max_packet` has it.
pub(super) const PACKET_LEN_MAX: usize = 64 << 20;
/// Queue types of the many builds of gearmand.
const QUEUE_TYPES: [&str; 8] = [
    "libsqlite3",
    "mysql",
    "postgres",
    "redis",
    "libmemcached",
    "libtokyocabinet",
    "tokyocabinet",
    "libdrizzle",
];

/// What is served, and how.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: Vec<ListenAddress>,
    pub(super) port: u16,
    pub(super) store: StoreKind,
    pub(super) attempts_max: u32,
    pub(super) habits: Habits,
    pub(super) sockets: SocketOptions,
    /// A filter of the log.
    pub(super) log_level: &'static str,
}

/// gearmand serves whoever reaches it, and forgets no function.
pub(super) fn rules() -> BrokerRules {
    BrokerRules {
        allow: Network::everywhere().into(),
        stale_after: Duration::ZERO,
        ..BrokerRules::default()
    }
}

pub(super) fn read(args: &Args) -> Result<Settings, GearmandError> {
    let port = port(args)?;
    let store = store(&args.queue_type)?;
    let retries = u32::try_from(args.job_retries).unwrap_or(0);
    let habits = Habits {
        charges: if retries == 0 { Charges::Deaths } else { Charges::EveryLoss },
        exceptions: if args.exceptions { Exceptions::Always } else { Exceptions::Asked },
        wakeups: match args.worker_wakeup {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        },
    };
    Ok(Settings {
        listen: listen(args.listen.as_deref(), port)?,
        port,
        store,
        attempts_max: if retries == 0 { u32::MAX } else { retries },
        habits,
        sockets: sockets(args),
        log_level: log_level(args),
    })
}

fn port(args: &Args) -> Result<u16, GearmandError> {
    match (args.port, env::var("GEARMAND_PORT")) {
        (Some(port), _) => Ok(port),
        (None, Ok(text)) if !text.is_empty() => text.parse().map_err(|error| {
            GearmandError::Usage(format!("GEARMAND_PORT is '{text}', which is no port: {error}"))
        }),
        (None, _) => Ok(DEFAULT_PORT),
    }
}

fn store(queue_type: &str) -> Result<StoreKind, GearmandError> {
    let name = queue_type.to_lowercase();
    match name.as_str() {
        "builtin" => Ok(StoreKind::Memory),
        known if QUEUE_TYPES.contains(&known) => Ok(StoreKind::Disk),
        _ => Err(GearmandError::Usage(format!(
            "--queue-type={queue_type} is unknown; write builtin or libsqlite3"
        ))),
    }
}

fn sockets(args: &Args) -> SocketOptions {
    let default = SocketOptions::default();
    let or = |given: i64, default| u32::try_from(given).ok().filter(|n| *n > 0).unwrap_or(default);
    SocketOptions {
        backlog: args.backlog.filter(|backlog| *backlog > 0).unwrap_or(default.backlog),
        keepalive_idle_seconds: or(args.keepalive_idle, default.keepalive_idle_seconds),
        keepalive_interval_seconds: or(args.keepalive_interval, default.keepalive_interval_seconds),
        keepalive_probes: or(args.keepalive_count, default.keepalive_probes),
    }
}

/// Every address of the host that exists here; gearmand listens on all of them, too.
fn listen(host: Option<&str>, port: u16) -> Result<Vec<ListenAddress>, GearmandError> {
    let Some(host) = host else {
        let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        let here = any.into_iter().filter(|ip| TcpListener::bind((*ip, 0)).is_ok());
        return Ok(here.map(|ip| ListenAddress::Tcp((ip, port).into())).collect());
    };
    let wrong = |why: String| GearmandError::Usage(format!("--listen={host}: {why}"));
    let found = (host, port).to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_unstable();
    found.dedup();
    // `localhost` has an address of IPv6 in /etc/hosts also where the kernel has none.
    let here: Vec<SocketAddr> = found
        .iter()
        .copied()
        .filter(|address| TcpListener::bind((address.ip(), 0)).is_ok())
        .collect();
    let addresses = if here.is_empty() { found } else { here };
    if addresses.is_empty() {
        return Err(wrong("it has no address".to_owned()));
    }
    Ok(addresses.into_iter().map(ListenAddress::Tcp).collect())
}

fn log_level(args: &Args) -> &'static str {
    match (args.more, args.verbose) {
        (0, None | Some(Level::Fatal | Level::Alert | Level::Critical | Level::Error)) => "error",
        (0, Some(Level::Warning)) => "warn",
        (0, Some(Level::Notice | Level::Info)) | (1, _) => "info",
        (0, Some(Level::Debug)) | (2, _) => "info,gear_supervisor=debug",
        (_, _) => "info,gear_supervisor=trace",
    }
}

/// Where a store on disk goes: one folder a port, as several servers may run on a host.
pub(super) fn state_dir(port: u16, is_root: bool) -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let name = format!("gearmand-{port}");
    if let Some(folder) = set("STATE_DIRECTORY") {
        return Some(folder);
    }
    if is_root {
        return Some(PathBuf::from("/var/lib/gear-supervisor").join(name));
    }
    let home = || set("HOME").map(|home| home.join(".local/state"));
    let base = set("XDG_STATE_HOME").or_else(home)?;
    Some(base.join("gear-supervisor").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_may_connect_as_with_gearmand() {
        for host in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            let host: IpAddr = host.parse().unwrap();
            assert!(rules().allow.iter().any(|network| network.contains(host)), "{host}");
        }
    }
}
