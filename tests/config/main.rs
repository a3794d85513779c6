//! Files as operators write them, read through the public functions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod limits;
mod mistakes;
mod samples;

use std::fs;
use std::path::Path;
use std::time::Duration;

use gear_supervisor::config::{
    Backoff, Continuation, Count, ListenAddress, LogFormat, LogTarget, PoolProtocol, PoolSettings,
    Powers, Settings, Surroundings, load, load_text, socket_of,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Somebody who is not root, with a few variables.
fn dev() -> Surroundings {
    let variables = [
        ("HOME", "/home/dev"),
        ("WORKERS", "6"),
        ("FUNCTIONS", "a, b"),
        ("EMPTY", ""),
        ("USER", "somebody-else"),
    ];
    Surroundings {
        uid: 54_321,
        gid: 54_321,
        user: Some("dev".to_owned()),
        directory: "/srv/app".into(),
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        powers: Powers::default(),
    }
}

fn root() -> Surroundings {
    Surroundings { uid: 0, gid: 0, user: Some("root".to_owned()), ..dev() }
}

fn good(text: &str) -> Settings {
    load_text(Path::new("workers.toml"), text, &dev()).unwrap()
}

/// The one pool of a text.
fn pool(keys: &str) -> PoolSettings {
    let settings = good(&format!("[pool.p]\ncommand = \"x\"\n{keys}"));
    PoolSettings::clone(settings.pools.values().next().unwrap())
}

fn lines(text: &str, surroundings: &Surroundings) -> Vec<String> {
    load_text(Path::new("workers.toml"), text, surroundings)
        .map_or_else(|errors| errors.lines(), |_| Vec::new())
}

/// A folder with files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Loads `workers.toml` of a folder, as somebody who works there.
fn load_in(folder: &TempDir) -> Result<Settings, Vec<String>> {
    let surroundings = Surroundings { directory: folder.path().into(), ..dev() };
    load(Path::new("workers.toml"), &surroundings).map_err(|errors| errors.lines())
}

#[test]
fn an_empty_file_is_a_broker_without_pools() {
    let settings = good("");
    assert!(settings.pools.is_empty());
    assert_eq!(settings.file, Path::new("/srv/app/workers.toml"));
    assert_eq!(settings.broker.listen, [ListenAddress::Tcp("127.0.0.1:4730".parse().unwrap())]);
    assert_eq!(settings.supervisor.name, "workers");
    let state = Path::new("/home/dev/.local/state/gear-supervisor/workers");
    assert_eq!(settings.supervisor.state_dir, state);
    assert_eq!(settings.supervisor.socket, state.join("control.sock"));
    assert_eq!(settings.supervisor.log_dir, state.join("logs"));
}

#[test]
fn default_paths_follow_root_and_systemd() {
    let of = |surroundings: &Surroundings| {
        let settings = load_text(Path::new("w.toml"), "", surroundings).unwrap().supervisor;
        [settings.state_dir, settings.socket, settings.log_dir].map(|p| p.display().to_string())
    };
    let paths = of(&root());
    let expected = ["/var/lib/gear-supervisor/w", "/run/gear-supervisor/w.sock"];
    assert_eq!(paths, [expected[0], expected[1], "/var/log/gear-supervisor/w"]);

    let mut surroundings = dev();
    for (name, value) in [
        ("STATE_DIRECTORY", "/s/one:/s/two"),
        ("RUNTIME_DIRECTORY", "/r"),
        ("LOGS_DIRECTORY", "/l"),
        ("XDG_STATE_HOME", "/unused"),
    ] {
        surroundings.variables.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(of(&surroundings), ["/s/one/w", "/r/w.sock", "/l/w"]);
}

#[test]
fn a_pool_has_sensible_defaults() {
    let pool = pool("");
    assert_eq!(pool.count, Count { min: 1, max: 1 });
    assert_eq!(pool.program.protocol, PoolProtocol::Gearman);
    assert_eq!(pool.program.functions, [""; 0]);
    assert_eq!(pool.program.directory, Path::new("/srv/app"));
    assert_eq!(pool.program.account, None);
    assert_eq!((pool.stop[0].signal, pool.stop[0].wait), (Signal::SIGTERM, Duration::from_secs(5)));
    assert_eq!(pool.stop[1].signal, Signal::SIGKILL);
    let log = "/home/dev/.local/state/gear-supervisor/workers/logs/p.log";
    assert_eq!(pool.log.file(), Some(Path::new(log)));
    assert_eq!((pool.log.size_max, pool.log.keep), (10 << 20, 5));
}

#[test]
fn numbers_and_lists_come_from_variables() {
    let pool = pool("count = \"${WORKERS}\"\nfunctions = \"${FUNCTIONS}\"\nuser = \"${USER}\"");
    assert_eq!(pool.count, Count { min: 6, max: 6 });
    assert_eq!(pool.program.functions, ["a", "b"]);
    // USER is who runs the daemon, whatever the environment says.
    assert_eq!(pool.program.account, None);

    let settings = good(
        "[broker]\nservers = \"${SERVERS:-}\"\nlisten = \"[::1]:1, unix:g.sock\"\n[host]\n\
         max_workers = \"${EMPTY:-40}\"\n[supervisor]\nsocket_mode = 0o660",
    );
    assert_eq!(settings.broker.servers, [""; 0]);
    assert_eq!(settings.broker.listen[1], ListenAddress::Unix("/srv/app/g.sock".into()));
    assert_eq!(settings.host.workers_max, Some(40));
    assert_eq!(settings.supervisor.socket_mode, 0o660);
}

#[test]
fn a_worker_whose_job_is_not_known_is_not_killed_for_it() {
    let plain = ["protocol = \"none\"", "oneshot = true", "cron = \"* * * * *\""];
    let plain = plain.iter().enumerate();
    let plain = plain.map(|(n, key)| format!("[pool.plain{n}]\ncommand = \"x\"\n{key}\n"));
    let pool = format!("[pool.p]\ncommand = \"x\"\n{}", plain.collect::<String>());
    let steps = |broker: &str| {
        let settings = good(&format!("[broker]\nservers = \"gm1\"\n{broker}{pool}"));
        settings.pools.values().map(|pool| pool.stop.len()).collect::<Vec<_>>()
    };
    assert_eq!(steps(""), [2, 2, 2, 2]);
    assert_eq!(steps("direct = true\n"), [1, 2, 2, 2]);
}

#[test]
fn every_form_of_a_key_is_taken() {
    assert_eq!(pool("count = { max = 8 }").count, Count { min: 1, max: 8 });
    assert_eq!(pool("count = { min = \"2\", max = 8 }").count, Count { min: 2, max: 8 });
    assert_eq!(pool("count = \"0..3\"").count, Count { min: 0, max: 3 });
    assert_eq!(pool("count = 0").count, Count { min: 0, max: 0 });
    assert_eq!(pool("log = false").log.file(), None);
    assert_eq!(pool("log = \"p.log\"").log.file(), Some(Path::new("/srv/app/p.log")));
    let log = pool("log = { max_size = \"1MiB\", keep = 0, format = \"raw\" }").log;
    assert_eq!((log.size_max, log.keep, log.format), (1 << 20, 0, LogFormat::Raw));
    assert!(log.file().unwrap().ends_with("logs/p.log"));
    let log = pool(
        "log = { max_size = false, max_age = \"12h\", max_total = \"1GiB\", compress = true }",
    )
    .log;
    assert_eq!((log.size_max, log.age_max), (u64::MAX, Some(Duration::from_hours(12))));
    assert_eq!((log.total_max, log.compress), (Some(1 << 30), true));
    assert_eq!((log.ansi, log.continuation), (false, None));
    for (text, target) in [
        ("inherit", LogTarget::Inherit),
        ("syslog", LogTarget::Syslog),
        ("journald", LogTarget::Journald),
    ] {
        assert_eq!(pool(&format!("log = \"{text}\"")).log.target, target);
        assert_eq!(pool(&format!("log = {{ target = \"{text}\" }}")).log.target, target);
    }
    assert!(pool("log = { format = \"raw\" }").log.ansi, "raw is as it comes");
    let log = pool("log = { ansi = true, continuation = true, target = \"file\" }").log;
    assert_eq!((log.ansi, &log.continuation), (true, &Some(Continuation::Indented)));
    assert!(log.file().unwrap().ends_with("logs/p.log"));
    let log = pool("log = { continuation = '^(\\s|#\\d)' }").log;
    assert_eq!(log.continuation, Some(Continuation::Matching(r"^(\s|#\d)".to_owned())));
    let minute = Duration::from_mins(1);
    let backoff = Backoff { initial: minute, max: minute, limit: 3, window: minute * 10 };
    assert_eq!(pool("backoff = { initial = \"1m\" }").upkeep.backoff, backoff);
    assert_eq!(pool("stop = \"INT 1s, KILL\"").stop[0].signal, Signal::SIGINT);
    assert_eq!(pool("protocol = \"lines\"").program.functions, ["p"]);
    assert_eq!(pool("umask = \"027\"").program.umask, Some(0o27));
    assert!(pool("tty = true").program.tty && !pool("").program.tty);
    let relative = pool("directory = \"current/app\"").program.directory;
    assert_eq!(relative, Path::new("/srv/app/current/app"));
}

#[test]
fn a_pool_takes_from_the_defaults_what_it_does_not_say() {
    let settings = good(
        "[defaults]\ncount = 3\nenv = { A = \"1\", B = \"2\" }\nlog = false\n[pool.one]\n\
         command = \"x\"\nenv = { B = \"3\", C = 4 }\n[pool.two]\ncommand = \"x\"\ncount = 1",
    );
    let [one, two] = ["one", "two"].map(|name| &settings.pools[&name.parse().unwrap()]);
    assert_eq!((one.count.max, two.count.max), (3, 1));
    let env = |pool: &PoolSettings| -> Vec<String> {
        pool.program.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    assert_eq!(env(one), ["A=1", "B=3", "C=4"]);
    assert_eq!(env(two), ["A=1", "B=2"]);
    assert_eq!(one.log.file(), None);
}

#[test]
fn a_daemon_of_root_runs_nothing_as_root_unless_told() {
    let told = |user: &str| format!("[pool.p]\ncommand = \"x\"\n{user}");
    let line = "workers.toml:1:7: pool.p.user: its workers would run as root; add user = \"NAME\", \
                or user = \"root\" if they must, here or in [defaults]";
    assert_eq!(lines(&told(""), &root()), [line]);
    for user in ["user = \"root\"", "user = 0", "user = \"${USER}\"", "defaults.user = \"daemon\""]
    {
        let text = match user.strip_prefix("defaults.") {
            Some(user) => format!("[defaults]\n{user}\n{}", told("")),
            None => told(user),
        };
        assert_eq!(lines(&text, &root()), [""; 0], "{user}");
    }
    // A user that does not exist is told once, not also as missing.
    assert_eq!(lines(&told("user = \"nosuchuser\""), &root()).len(), 1);
}

#[test]
fn a_daemon_of_root_believes_only_files_of_root() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[("workers.toml", "")]);
    let file = folder.path().join("workers.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let line = load(&file, &root()).unwrap_err().to_string();
    assert!(line.contains("decides what root does, and"), "{line}");
    // Whoever runs this test without being root owns the file, which is as bad.
    let commands = [format!("run chmod o-w {}", file.display()), "run chown root".to_owned()];
    assert!(commands.iter().any(|command| line.contains(command)), "{line}");
    assert!(load(&file, &dev()).is_ok());
}

#[test]
fn included_files_hold_pools_and_rules_of_functions() {
    let folder = folder(&[
        ("workers.toml", "include = [\"conf.d/*.toml\", \"more.toml\"]\n[defaults]\ncount = 7\n"),
        ("conf.d/a.toml", "[pool.a]\ncommand = \"x\"\nlog = \"a.log\""),
        ("conf.d/b.toml", "[pool.b]\ncommand = \"x\"\n[function.\"b_*\"]\nmax_attempts = 9"),
        ("conf.d/.hidden.toml", "nonsense"),
        ("conf.d/c.toml~", "nonsense"),
        ("more.toml", ""),
    ]);
    let settings = load_in(&folder).unwrap();
    let names: Vec<_> = settings.pools.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(settings.broker.rules.functions.of(&"b_x".into()).attempts_max, Some(9));
    let a = settings.pools.values().next().unwrap();
    assert_eq!(a.count.max, 7);
    assert_eq!(a.log.file().unwrap().to_owned(), folder.path().join("conf.d/a.log"));
    assert_eq!(a.program.directory, folder.path().join("conf.d"));
    let read: Vec<_> = settings.sources.files().map(Path::to_owned).collect();
    let expected = ["conf.d/a.toml", "conf.d/b.toml", "more.toml", "workers.toml"];
    assert_eq!(read, expected.map(|name| folder.path().join(name)));
}

#[test]
fn two_pools_cannot_write_one_log() {
    let text =
        "[pool.a]\ncommand = \"x\"\nlog = \"x.log\"\n[pool.b]\ncommand = \"x\"\nlog = \"x.log\"";
    let line = "workers.toml:6:7: pool.b.log: pool a writes to /srv/app/x.log already; give each \
                pool its own file";
    assert_eq!(lines(text, &dev()), [line]);
}

#[test]
fn env_files_fill_variables_and_environments() {
    let folder = folder(&[
        (
            "workers.toml",
            "[supervisor]\nenv_file = \"main.env\"\n[defaults]\nenv_file = \"pool.env\"\n[pool.p]\n\
             command = \"${PROGRAM} ${WORKERS}\"\nenv = { B = \"own\" }",
        ),
        ("main.env", "PROGRAM=wc\nexport WORKERS='9' # over the environment\n"),
        ("pool.env", "A=from file\nB=from file\n"),
    ]);
    let settings = load_in(&folder).unwrap();
    let program = &settings.pools.values().next().unwrap().program;
    assert_eq!(program.command, ["wc", "9"]);
    let env: Vec<_> = program.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=from file", "B=own"]);

    fs::write(folder.path().join("pool.env"), "A=1\nnonsense\n").unwrap();
    let path = folder.path().display();
    let bad = format!("{path}/pool.env:2:1: not a variable; write KEY=VALUE");
    assert_eq!(load_in(&folder).unwrap_err(), [bad]);
    fs::remove_file(folder.path().join("pool.env")).unwrap();
    let gone = format!(
        "workers.toml:4:12: defaults.env_file: {path}/pool.env: cannot be read: there is no such file"
    );
    assert_eq!(load_in(&folder).unwrap_err(), [gone]);
}

#[test]
fn a_broken_file_still_names_its_socket() {
    let folder = folder(&[
        ("a.toml", "[supervisor]\nname = \"other\"\nlog_level = 7\n[pool.p]\ncommand = \"open\nx"),
        ("b.toml", "[supervisor]\nsocket = \"b.sock\"\n[pool.p\n"),
    ]);
    let of = |name: &str| socket_of(&folder.path().join(name), &dev());
    let state = Path::new("/home/dev/.local/state/gear-supervisor");
    assert_eq!(of("a.toml"), state.join("other/control.sock"));
    assert_eq!(of("b.toml"), folder.path().join("b.sock"));
    assert_eq!(of("gone.toml"), state.join("gone/control.sock"));
}
