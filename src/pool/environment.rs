//! What a worker is started with: its arguments and its environment, from the settings alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::process::Launch;
use crate::config::{Login, PoolProtocol, PoolSettings, Program};
use crate::model::WorkerName;

/// What systemd tells the daemon, and only the daemon.
const DAEMON_ONLY: &[&str] = &[
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LOGS_DIRECTORY",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Where the broker is; set anew, or not at all.
///
/// GEARMAN_SERVERS is not set: libgearman adds its servers to those that a program adds itself, and
/// then holds two connections to one broker, on which its clients wait for ever now and then.
const BROKER: &[&str] = &["GEARMAN_SERVERS", "GEARMAN_HOST", "GEARMAN_PORT"];

/// What belongs to the daemon's user and not to a worker's.
const USER_ONLY: &[&str] =
    &["DBUS_SESSION_BUS_ADDRESS", "MAIL", "SUDO_USER", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"];

/// What of the daemon's own environment is left when a pool wants it clean.
const KEPT_CLEAN: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL"];

/// For a daemon that was started without one.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a worker's terminal understands.
const TERM: &str = "xterm-256color";

/// Which process is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its pool.
    pub settings: &'a PoolSettings,
    /// Its slot.
    pub worker: &'a WorkerName,
    /// Gearman servers, `HOST:PORT`; empty for a plain program.
    pub servers: &'a [String],
    /// The daemon's own binary.
    pub own_binary: &'a Path,
}

/// Says how to start a process; `inherited` is the daemon's own environment.
pub fn launch(
    place: Place<'_>,
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
) -> Launch {
    let program = &place.settings.program;
    Launch {
        argv: argv(place),
        env: env(place, inherited),
        directory: program.directory.clone(),
        account: program.account.clone(),
        umask: program.umask,
        limits: program.limits.clone(),
        strays: place.settings.upkeep.strays,
    }
}

/// Puts the words of a command into another text of the file.
pub fn fill(place: Place<'_>, text: &str) -> String {
    substitute(text, &words(place))
}

/// The functions that a pool serves; those of `exec` and `lines` default to the pool's name.
fn functions(settings: &PoolSettings) -> String {
    let Program { functions, protocol, .. } = &settings.program;
    match protocol {
        PoolProtocol::Exec | PoolProtocol::Lines if functions.is_empty() => {
            settings.name.to_string()
        }
        PoolProtocol::Gearman | PoolProtocol::Exec | PoolProtocol::Lines | PoolProtocol::None => {
            functions.join(",")
        }
    }
}

fn argv(place: Place<'_>) -> Vec<String> {
    let program = &place.settings.program;
    let words = words(place);
    let command = program.command.iter().map(|argument| substitute(argument, &words));
    let adapter = |flags: &[&str]| {
        let own = place.own_binary.to_string_lossy().into_owned();
        let mut argv = vec![own, "work".to_owned(), functions(place.settings)];
        argv.extend(flags.iter().map(|flag| (*flag).to_owned()));
        if program.stream {
            argv.push("--stream".to_owned());
        }
        argv.extend(["--server".to_owned(), place.servers.join(","), "--".to_owned()]);
        argv
    };
    match program.protocol {
        PoolProtocol::Gearman | PoolProtocol::None => command.collect(),
        PoolProtocol::Exec => adapter(&[]).into_iter().chain(command).collect(),
        PoolProtocol::Lines => adapter(&["--lines"]).into_iter().chain(command).collect(),
    }
}

fn env(
    place: Place<'_>,
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
) -> BTreeMap<OsString, OsString> {
    let program = &place.settings.program;
    let is_dropped = |name: &OsStr| {
        let any = |names: &[&str]| names.iter().any(|dropped| name == *dropped);
        let is_unclean = program.clean_env && !any(KEPT_CLEAN);
        is_unclean
            || any(DAEMON_ONLY)
            || any(BROKER)
            || (program.account.is_some() && any(USER_ONLY))
    };
    let mut env: BTreeMap<OsString, OsString> =
        inherited.into_iter().filter(|(name, _)| !is_dropped(name)).collect();
    env.entry("PATH".into()).or_insert_with(|| PATH_DEFAULT.into());
    if let Some(Login { user, home, shell }) = &program.login {
        env.insert("USER".into(), user.into());
        env.insert("LOGNAME".into(), user.into());
        env.insert("HOME".into(), home.into());
        env.insert("SHELL".into(), shell.into());
    }
    if program.tty {
        // Whoever attaches has an xterm or something that understands one; the size is asked of the
        // terminal itself.
        env.insert("TERM".into(), TERM.into());
        env.remove(OsStr::new("COLUMNS"));
        env.remove(OsStr::new("LINES"));
    }
    let words = words(place);
    for (name, word) in [("HOST", "{host}"), ("PORT", "{port}")] {
        if let Some((_, value)) = words.iter().find(|(of, _)| *of == word) {
            env.insert(format!("GEARMAN_{name}").into(), value.into());
        }
    }
    // What the file says wins; a worker's identity does not change.
    let own = program.env.iter();
    env.extend(own.map(|(name, value)| (name.into(), substitute(value, &words).into())));
    env.insert("GEAR_POOL".into(), place.settings.name.as_str().into());
    env.insert("GEAR_WORKER".into(), place.worker.to_string().into());
    env.insert("GEAR_INDEX".into(), place.worker.index.to_string().into());
    env.insert("GEAR_FUNCTIONS".into(), functions(place.settings).into());
    env
}

/// The words that are replaced in a command and in the values of `env`, and what by.
fn words(place: Place<'_>) -> Vec<(&'static str, String)> {
    let mut words =
        vec![("{worker}", place.worker.to_string()), ("{index}", place.worker.index.to_string())];
    if let Some((host, port)) = place.servers.first().and_then(|first| first.rsplit_once(':')) {
        words.push(("{host}", host.trim_matches(['[', ']']).to_owned()));
        words.push(("{port}", port.to_owned()));
        words.push(("{servers}", place.servers.join(",")));
    }
    words
}

/// Replaces the words in one pass: what was put in is not looked at again.
fn substitute(argument: &str, words: &[(&'static str, String)]) -> String {
    let mut text = String::with_capacity(argument.len());
    let mut rest = argument;
    while let Some((before, from)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        text.push_str(before);
        let hit = words.iter().find_map(|(word, value)| Some((value, from.strip_prefix(word)?)));
        rest = match (hit, from.strip_prefix('{')) {
            (Some((value, after)), _) => {
                text.push_str(value);
                after
            }
            (None, after) => {
                text.push('{');
                after.unwrap_or_default()
            }
        };
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{
        Account, Count, Deploys, Limits, LogSettings, Order, RunSettings, ScalingSettings, Upkeep,
        WorkerFiles,
    };

    fn settings(protocol: PoolProtocol, command: &[&str]) -> PoolSettings {
        PoolSettings {
            name: "mail".parse().unwrap(),
            program: Program {
                command: command.iter().map(|&word| word.to_owned()).collect(),
                worker_files: WorkerFiles::default(),
                functions: Vec::new(),
                protocol,
                stream: false,
                account: None,
                login: None,
                directory: PathBuf::from("/srv"),
                env: BTreeMap::new(),
                clean_env: false,
                umask: None,
                limits: Limits::default(),
                tty: false,
            },
            count: Count { min: 1, max: 1 },
            min_at: Vec::new(),
            scaling: ScalingSettings::default(),
            stop: Vec::new(),
            upkeep: Upkeep::default(),
            run: RunSettings::default(),
            order: Order::default(),
            deploys: Deploys::default(),
            log: LogSettings::default(),
        }
    }

    fn made(settings: &PoolSettings, servers: &[&str], inherited: &[(&str, &str)]) -> Launch {
        let worker = settings.name.worker(3);
        let servers: Vec<String> = servers.iter().map(|&server| server.to_owned()).collect();
        let own_binary = Path::new("/bin/gear");
        let place = Place { settings, worker: &worker, servers: &servers, own_binary };
        launch(place, inherited.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn get<'a>(launch: &'a Launch, name: &str) -> Option<&'a str> {
        launch.env.get(OsStr::new(name)).and_then(|value| value.to_str())
    }

    #[test]
    fn exactly_the_known_words_are_replaced() {
        let command =
            ["w", "{host}:{port}", "--at={servers}", "{worker}/{index}", "{x} {{host}} {"];
        let settings = settings(PoolProtocol::Gearman, &command);
        let launch = made(&settings, &["127.0.0.1:9", "[::1]:10"], &[]);
        let expected =
            ["w", "127.0.0.1:9", "--at=127.0.0.1:9,[::1]:10", "mail:3/3", "{x} {127.0.0.1} {"];
        assert_eq!(launch.argv, expected);
    }

    #[test]
    fn a_worker_knows_its_name_and_its_broker_and_nothing_of_the_daemons_own() {
        let settings = settings(PoolProtocol::Gearman, &["w"]);
        let inherited = [
            ("GEARMAN_SERVERS", "old"),
            ("NOTIFY_SOCKET", "/x"),
            ("WATCHDOG_USEC", "1"),
            ("LANG", "C"),
            ("PATH", "/p"),
        ];
        let launch = made(&settings, &["[::1]:10"], &inherited);
        let expected = [
            ("GEARMAN_HOST", Some("::1")),
            ("GEARMAN_PORT", Some("10")),
            ("GEARMAN_SERVERS", None),
            ("GEAR_POOL", Some("mail")),
            ("GEAR_WORKER", Some("mail:3")),
            ("GEAR_INDEX", Some("3")),
            ("GEAR_FUNCTIONS", Some("")),
            ("LANG", Some("C")),
            ("PATH", Some("/p")),
            ("NOTIFY_SOCKET", None),
            ("WATCHDOG_USEC", None),
        ];
        for (name, value) in expected {
            assert_eq!(get(&launch, name), value, "{name}");
        }
    }

    #[test]
    fn a_worker_that_reads_another_variable_is_given_it_by_the_file() {
        let mut settings = settings(PoolProtocol::Gearman, &["w"]);
        let servers = ("GEARMAN_SERVERS".to_owned(), "{servers}".to_owned());
        settings.program.env.extend([servers, ("JSON".to_owned(), "{}".to_owned())]);
        let launch = made(&settings, &["127.0.0.1:9", "[::1]:10"], &[]);
        assert_eq!(get(&launch, "GEARMAN_SERVERS"), Some("127.0.0.1:9,[::1]:10"));
        assert_eq!(get(&launch, "JSON"), Some("{}"));
    }

    #[test]
    fn a_worker_with_a_terminal_knows_its_kind_and_asks_it_for_its_size() {
        let mut settings = settings(PoolProtocol::None, &["w"]);
        let inherited = [("TERM", "dumb"), ("COLUMNS", "200"), ("LINES", "50")];
        assert_eq!(get(&made(&settings, &[], &inherited), "TERM"), Some("dumb"));
        settings.program.tty = true;
        let launch = made(&settings, &[], &inherited);
        let of = |name| get(&launch, name);
        assert_eq!((of("TERM"), of("COLUMNS"), of("LINES")), (Some(TERM), None, None));
        settings.program.env.insert("TERM".to_owned(), "vt100".to_owned());
        assert_eq!(get(&made(&settings, &[], &inherited), "TERM"), Some("vt100"));
    }

    #[test]
    fn a_plain_program_is_told_of_no_broker() {
        let settings = settings(PoolProtocol::None, &["w", "{port}"]);
        let launch = made(&settings, &[], &[("GEARMAN_SERVERS", "old")]);
        assert_eq!(get(&launch, "GEARMAN_SERVERS"), None);
        assert_eq!(launch.argv, ["w", "{port}"]);
        assert_eq!(get(&launch, "PATH"), Some(PATH_DEFAULT));
    }

    #[test]
    fn exec_and_lines_run_through_the_adapter() {
        let mut lines = settings(PoolProtocol::Lines, &["py", "w.py"]);
        lines.program.functions = vec!["a".to_owned(), "b".to_owned()];
        lines.program.stream = true;
        let expected = [
            "/bin/gear",
            "work",
            "a,b",
            "--lines",
            "--stream",
            "--server",
            "h:1,[::1]:2",
            "--",
            "py",
            "w.py",
        ];
        assert_eq!(made(&lines, &["h:1", "[::1]:2"], &[]).argv, expected);
        let exec = made(&settings(PoolProtocol::Exec, &["wc", "-w"]), &["h:1"], &[]);
        assert_eq!(exec.argv, ["/bin/gear", "work", "mail", "--server", "h:1", "--", "wc", "-w"]);
        assert_eq!(get(&exec, "GEAR_FUNCTIONS"), Some("mail"));
    }

    #[test]
    fn a_clean_environment_has_what_the_file_says_and_who_the_worker_is() {
        let mut settings = settings(PoolProtocol::Gearman, &["w"]);
        settings.program.clean_env = true;
        settings.program.env.insert("APP".to_owned(), "1".to_owned());
        let inherited =
            [("LANG", "C"), ("SECRET", "x"), ("PATH", "/p"), ("HOME", "/h"), ("SHELL", "/s")];
        let launch = made(&settings, &["127.0.0.1:9"], &inherited);
        let names: Vec<_> = launch.env.keys().filter_map(|name| name.to_str()).collect();
        let expected = [
            "APP",
            "GEARMAN_HOST",
            "GEARMAN_PORT",
            "GEAR_FUNCTIONS",
            "GEAR_INDEX",
            "GEAR_POOL",
            "GEAR_WORKER",
            "HOME",
            "PATH",
            "SHELL",
        ];
        assert_eq!(names, expected);
        assert_eq!(get(&launch, "PATH"), Some("/p"));
    }

    #[test]
    fn another_user_has_its_own_home_and_the_file_wins() {
        let mut settings = settings(PoolProtocol::Gearman, &["w"]);
        settings.program.account = Some(Account { uid: 33, gid: 33, groups: vec![33] });
        settings.program.login = Some(Login {
            user: "www-data".to_owned(),
            home: PathBuf::from("/var/www"),
            shell: PathBuf::from("/bin/dash"),
        });
        let made_by_root = made(&settings, &[], &[("SHELL", "/bin/zsh")]);
        assert_eq!(get(&made_by_root, "SHELL"), Some("/bin/dash"));
        settings.program.env.insert("SHELL".to_owned(), "/bin/bash".to_owned());
        settings.program.env.insert("GEAR_WORKER".to_owned(), "x".to_owned());
        let launch = made(&settings, &["h:1"], &[("HOME", "/root"), ("XDG_RUNTIME_DIR", "/r")]);
        let expected = [
            ("HOME", Some("/var/www")),
            ("USER", Some("www-data")),
            ("LOGNAME", Some("www-data")),
            ("SHELL", Some("/bin/bash")),
            ("GEAR_WORKER", Some("mail:3")),
            ("XDG_RUNTIME_DIR", None),
        ];
        for (name, value) in expected {
            assert_eq!(get(&launch, name), value, "{name}");
        }
    }
}
