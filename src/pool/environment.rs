//! What a worker is started with: its arguments and its environment.

use std::ffi::OsString;
use std::path::Path;

use super::process::Launch;
use crate::config::{PoolProtocol, PoolSettings};
use crate::model::WorkerName;

/// Variables of the daemon that mean the daemon: a worker that saw them would speak in its name.
const NOT_FOR_WORKERS: [&str; 12] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "LOGS_DIRECTORY",
    "GEAR_SUPERVISOR_SOCKET",
];

/// Where a worker finds its Gearman servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// `HOST:PORT`, separated by commas.
    pub list: String,
    /// Host of the first.
    pub host: String,
    /// Port of the first.
    pub port: String,
}

impl Servers {
    /// Reads `HOST:PORT,…`.
    #[must_use]
    pub fn new(list: &[String]) -> Self {
        let first = list.first().map(String::as_str).unwrap_or_default();
        let (host, port) = first.rsplit_once(':').unwrap_or((first, "4730"));
        let (host, port) = (host.trim_matches(['[', ']']).to_owned(), port.to_owned());
        Self { list: list.join(","), host, port }
    }
}

/// What to start for one worker. `daemon_env` is our own environment, `binary` our own program.
#[must_use]
pub fn launch(
    settings: &PoolSettings,
    name: &WorkerName,
    servers: Option<&Servers>,
    daemon_env: impl Iterator<Item = (OsString, OsString)>,
    binary: &Path,
) -> Launch {
    let program = &settings.program;
    let servers = servers.filter(|_| program.protocol != PoolProtocol::None);
    let argv = match program.protocol {
        PoolProtocol::Gearman | PoolProtocol::None => {
            program.command.iter().map(|word| filled(word, name, servers).into()).collect()
        }
        PoolProtocol::Exec | PoolProtocol::Lines => adapter_argv(settings, binary),
    };
    let ours = |(key, _): &(OsString, OsString)| !NOT_FOR_WORKERS.iter().any(|not| key == not);
    let mut env: Vec<_> = daemon_env.filter(ours).collect();
    let mut set = |key: &str, value: &str| env.push((key.into(), value.into()));
    if let Some(account) = &program.account {
        set("HOME", &account.home.to_string_lossy());
        set("USER", &account.user);
        set("LOGNAME", &account.user);
    }
    if let Some(servers) = servers {
        set("GEARMAN_SERVERS", &servers.list);
        set("GEARMAN_HOST", &servers.host);
        set("GEARMAN_PORT", &servers.port);
    }
    set("GEAR_POOL", name.pool.as_str());
    set("GEAR_WORKER", &name.to_string());
    set("GEAR_INDEX", &name.index.to_string());
    set("GEAR_FUNCTIONS", &program.functions.join(","));
    for (key, value) in &program.env {
        set(key, value);
    }
    Launch {
        argv,
        env,
        directory: program.directory.clone(),
        account: program.account.clone(),
        umask: program.umask,
    }
}

fn adapter_argv(settings: &PoolSettings, binary: &Path) -> Vec<OsString> {
    let program = &settings.program;
    let mut argv: Vec<OsString> = vec![binary.into(), "work".into()];
    argv.push(program.functions.join(",").into());
    if program.protocol == PoolProtocol::Lines {
        argv.push("--lines".into());
    }
    if program.stream {
        argv.push("--stream".into());
    }
    argv.push("--".into());
    argv.extend(program.command.iter().map(OsString::from));
    argv
}

/// Fills in exactly the known words in braces; any other brace stays as it is.
fn filled(word: &str, name: &WorkerName, servers: Option<&Servers>) -> String {
    let mut word =
        word.replace("{worker}", &name.to_string()).replace("{index}", &name.index.to_string());
    if let Some(servers) = servers {
        for (mark, value) in
            [("{servers}", &servers.list), ("{host}", &servers.host), ("{port}", &servers.port)]
        {
            word = word.replace(mark, value);
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, load_text};

    fn launched(pool: &str) -> Launch {
        let text = format!("[pool.p]\nuser = \"${{USER}}\"\n{pool}");
        let around = Surroundings::of_process();
        let settings = load_text(Path::new("/w.toml"), &text, &around).unwrap();
        let name = "p:2".parse().unwrap();
        let servers = Servers::new(&["127.0.0.1:4731".to_owned()]);
        let daemon = [("A", "1"), ("NOTIFY_SOCKET", "/x")].map(|(k, v)| (k.into(), v.into()));
        let pool = settings.pools.values().next().unwrap();
        launch(pool, &name, Some(&servers), daemon.into_iter(), Path::new("/bin/gs"))
    }

    fn value(launch: &Launch, key: &str) -> Option<String> {
        let found = launch.env.iter().rev().find(|(k, _)| k == key);
        found.map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn a_worker_learns_who_it_is_and_where_the_broker_is() {
        let launch = launched("command = \"php w.php {host}:{port} {index} {x}\"\nenv.B = \"2\"");
        assert_eq!(launch.argv, ["php", "w.php", "127.0.0.1:4731", "2", "{x}"]);
        for (key, wanted) in [
            ("GEARMAN_SERVERS", Some("127.0.0.1:4731")),
            ("GEARMAN_PORT", Some("4731")),
            ("GEAR_WORKER", Some("p:2")),
            ("A", Some("1")),
            ("B", Some("2")),
            ("NOTIFY_SOCKET", None),
        ] {
            assert_eq!(value(&launch, key).as_deref(), wanted, "{key}");
        }
    }

    #[test]
    fn an_exec_worker_is_our_adapter_and_a_plain_program_knows_no_broker() {
        let launch = launched("command = \"wc -w\"\nprotocol = \"exec\"");
        assert_eq!(launch.argv, ["/bin/gs", "work", "p", "--", "wc", "-w"]);
        let launch = launched("command = \"sleep 9\"\nprotocol = \"none\"");
        assert_eq!(value(&launch, "GEARMAN_SERVERS"), None);
    }
}
