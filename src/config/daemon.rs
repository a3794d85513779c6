//! `[supervisor]` and `[broker]`: the keys of the daemon itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::accounts;
use super::direct;
use super::function;
use super::settings::{
    BrokerRules, BrokerSettings, ListenAddress, LogFormat, OnBadFile, ReloadOnEdit, StoreKind,
    SupervisorSettings,
};
use super::surroundings::Surroundings;
use super::table::Table;
use super::value::Value;
use super::values::{self, one_of};
use super::wrong::{Parsed, Wrong};

/// The part of every path of ours that is shared by all daemons of a host.
const PRODUCT: &str = "gear-supervisor";
/// Only the daemon's own user may use the control socket.
const SOCKET_MODE: u32 = 0o600;
/// How long jobs in hand may take when the daemon stops.
const SHUTDOWN_GRACE: Duration = Duration::from_mins(1);
/// Largest packet: far above what libgearman's users send, far below what memory would bear.
const PACKET_LEN_MAX: usize = 64 << 20;
/// Bounds of `max_packet`: a listing must fit in; the protocol's length field has 32 bits.
const PACKET_LEN_RANGE: std::ops::RangeInclusive<u64> = 4096..=u32::MAX as u64;

/// Default of `memory_budget`, in bytes: payloads of stored jobs in memory, all of a usual queue, little of a deep one.
pub const MEMORY_BUDGET: usize = 64 << 20;

/// Reads `[supervisor]`; `file` gives the name when the table does not.
pub(super) fn supervisor(
    table: &Table<'_>,
    file: &Path,
    surroundings: &Surroundings,
) -> SupervisorSettings {
    let name = table.read("name", |v| v.parse(values::daemon_name)).unwrap_or_else(|| {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        values::daemon_name(&stem).unwrap_or_else(|wrong| {
            table.wrong("name", wrong);
            stem.into_owned()
        })
    });
    let state_dir = table.read("state_dir", Value::path).unwrap_or_else(|| {
        default_state_dir(&name, surroundings).unwrap_or_else(|wrong| {
            table.wrong("state_dir", wrong);
            PathBuf::new()
        })
    });
    // It was read before all other keys, since it may fill them.
    table.get("env_file");
    SupervisorSettings {
        socket: socket(table, &name, &state_dir, surroundings),
        socket_mode: table.read("socket_mode", Value::mode).unwrap_or(SOCKET_MODE),
        socket_group: table
            .read("socket_group", |v| v.scalar().and_then(|name| accounts::group(&name))),
        log_dir: table
            .read("log_dir", Value::path)
            .unwrap_or_else(|| default_log_dir(&name, &state_dir, surroundings)),
        log_level: table
            .read("log_level", |v| v.parse(values::log_level))
            .unwrap_or_else(|| "info".to_owned()),
        log_format: table.read("log_format", log_format).unwrap_or(LogFormat::Text),
        shutdown_grace: table.read("shutdown_grace", Value::duration).unwrap_or(SHUTDOWN_GRACE),
        reload_on_edit: table.read("reload_on_edit", reload_on_edit).unwrap_or(ReloadOnEdit::Apply),
        on_bad_file: table.read("on_bad_file", on_bad_file).unwrap_or(OnBadFile::Refuse),
        name,
        state_dir,
    }
}

/// Reads `[broker]` and, beside it, `[function]`.
pub(super) fn broker<'a>(
    table: &Table<'_>,
    functions: impl Iterator<Item = Table<'a>>,
) -> BrokerSettings {
    let folder = table.folder();
    let listen = table
        .read("listen", |value| listen(value, folder))
        .unwrap_or_else(|| vec![ListenAddress::Tcp(([127, 0, 0, 1], 4730).into())]);
    let store = table.read("store", function::store).unwrap_or(StoreKind::Disk);
    let default = BrokerRules::default();
    let allow = table.get("allow").map(|value| value.read(|v| v.each(values::network)));
    if allow.is_none() {
        refuse_open_doors(table, &listen);
    }
    let rules = BrokerRules {
        allow: allow.flatten().unwrap_or_default(),
        queued_max: table.read("max_queued", function::at_least_one).map(u64::from),
        stale_after: table.read("stale_after", Value::duration).unwrap_or(default.stale_after),
        hold_grab: table.read("hold_grab", Value::flag).unwrap_or(default.hold_grab),
        functions: function::functions(functions, store),
    };
    let servers = table.read("servers", |v| v.each(values::server)).unwrap_or_default();
    BrokerSettings {
        listen,
        way: direct::way(table, &servers),
        servers,
        store,
        memory_budget: table.read("memory_budget", memory_budget).unwrap_or(MEMORY_BUDGET),
        packet_len_max: table.read("max_packet", packet_len).unwrap_or(PACKET_LEN_MAX),
        handle_prefix: table.read("handle_prefix", |v| v.parse(values::handle_prefix)),
        rules: Arc::new(rules),
    }
}

/// A listener that other hosts reach needs to be told which of them may come.
fn refuse_open_doors(table: &Table<'_>, listen: &[ListenAddress]) {
    for address in listen {
        let ListenAddress::Tcp(tcp) = address else { continue };
        if tcp.ip().to_canonical().is_loopback() {
            continue;
        }
        let wrong =
            Wrong::new(format!("{address} is open to other hosts, and nothing says to which"));
        let network = match tcp.ip().to_canonical() {
            IpAddr::V4(v4) if v4.octets().starts_with(&[192, 168]) => "192.168.0.0/16",
            IpAddr::V4(v4) if v4.is_private() && !v4.octets().starts_with(&[10]) => "172.16.0.0/12",
            IpAddr::V4(_) => "10.0.0.0/8",
            IpAddr::V6(_) => "fd00::/8",
        };
        let line = format!("add allow = [\"{network}\"], with your own networks, to [broker]");
        return table.wrong_at("listen", wrong.hint(line));
    }
}

fn socket(table: &Table<'_>, name: &str, state_dir: &Path, surroundings: &Surroundings) -> PathBuf {
    if let Some(path) = table.get("socket") {
        return path.read(|v| v.path().and_then(values::socket_path)).unwrap_or_default();
    }
    let path = if let Some(folder) = surroundings.variable("RUNTIME_DIRECTORY") {
        first_of(folder).join(format!("{name}.sock"))
    } else if surroundings.is_root() {
        Path::new("/run").join(PRODUCT).join(format!("{name}.sock"))
    } else {
        state_dir.join("control.sock")
    };
    values::socket_path(path).unwrap_or_else(|wrong| {
        table.wrong("socket", wrong.hint("set socket to a shorter path"));
        PathBuf::new()
    })
}

fn default_state_dir(name: &str, surroundings: &Surroundings) -> Parsed<PathBuf> {
    if let Some(folder) = surroundings.variable("STATE_DIRECTORY") {
        return Ok(first_of(folder).join(name));
    }
    if surroundings.is_root() {
        return Ok(Path::new("/var/lib").join(PRODUCT).join(name));
    }
    let home = |home| Path::new(home).join(".local/state");
    surroundings
        .variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| surroundings.variable("HOME").map(home))
        .map(|folder| folder.join(PRODUCT).join(name))
        .ok_or_else(|| Wrong::new("without $HOME there is no default for it").hint("set state_dir"))
}

fn default_log_dir(name: &str, state_dir: &Path, surroundings: &Surroundings) -> PathBuf {
    if let Some(folder) = surroundings.variable("LOGS_DIRECTORY") {
        first_of(folder).join(name)
    } else if surroundings.is_root() {
        Path::new("/var/log").join(PRODUCT).join(name)
    } else {
        state_dir.join("logs")
    }
}

/// systemd puts several folders into one variable with colons.
fn first_of(folders: &str) -> &Path {
    Path::new(folders.split(':').next().unwrap_or(folders))
}

fn listen(value: &Value<'_>, folder: &Path) -> Parsed<Vec<ListenAddress>> {
    let mut seen = BTreeSet::new();
    value.each(|text| {
        let address = values::listen(text, folder)?;
        // Port 0 is another one each time.
        if !seen.insert(address.to_string()) && !text.ends_with(":0") {
            return Err(Wrong::new(format!("{address} is listed twice")).hint("remove one"));
        }
        Ok(address)
    })
}

fn log_format(value: &Value<'_>) -> Parsed<LogFormat> {
    value.parse(|text| one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]))
}

fn reload_on_edit(value: &Value<'_>) -> Parsed<ReloadOnEdit> {
    let choices = [
        ("apply", ReloadOnEdit::Apply),
        ("check", ReloadOnEdit::Check),
        ("off", ReloadOnEdit::Off),
    ];
    value.parse(|text| one_of(text, &choices))
}

fn on_bad_file(value: &Value<'_>) -> Parsed<OnBadFile> {
    let choices = [("refuse", OnBadFile::Refuse), ("last-good", OnBadFile::LastGood)];
    value.parse(|text| one_of(text, &choices))
}

fn packet_len(value: &Value<'_>) -> Parsed<usize> {
    let len = value.size()?;
    let allowed = PACKET_LEN_RANGE.contains(&len);
    usize::try_from(len).ok().filter(|_| allowed).ok_or_else(|| {
        Wrong::new(format!("{len} bytes are not from 4 KiB to below 4 GiB"))
            .hint("write as in \"64MiB\"")
    })
}

fn memory_budget(value: &Value<'_>) -> Parsed<usize> {
    let len = value.size()?;
    let too_much = || Wrong::new(format!("{len} bytes are more than there can be"));
    usize::try_from(len).ok().ok_or_else(|| too_much().hint("write as in \"64MiB\""))
}
