//! supervisord's files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gear_supervisor::config::{LogFormat, LogTarget, PoolProtocol, Restart, Strays};
use nix::sys::signal::Signal;
use proptest::prelude::*;

use crate::{counts, folder, pool, refusal, remarks, settings, translate};

/// Debian's copy of the sample that supervisord itself prints.
const DEBIANS_SAMPLE: &str = "/usr/share/doc/supervisor/examples/sample.conf";

/// Every key of a program, laid out as in supervisord's sample.
const WHOLE: &str = r#"; Everything that a program can have
[unix_http_server]
file=/tmp/supervisor.sock   ; the path to the socket file
chmod=0700                  ; socket file mode

[supervisord]
logfile=/tmp/supervisord.log ; main log file
loglevel=blather
pidfile=/tmp/supervisord.pid
nodaemon=true
minfds=1024
umask=027
identifier=media
environment=APP="prod, really",QUEUE=fast

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix:///tmp/supervisor.sock

[include]
files = conf.d/*.conf missing.conf

[program:gearmand]
command=/usr/sbin/gearmand --listen=127.0.0.1 -p4731 ; replaced
priority=1

[program:image]
command=/usr/bin/php %(here)s/image.php --home=%(ENV_HOME)s %(ENV_APP)s 'a b' $x ${y}
process_name=%(program_name)s_%(process_num)02d
numprocs=%(ENV_QUEUES)s
directory=app
umask=002
priority=5
autostart=true
startsecs=0
startretries=10
autorestart=unexpected
exitcodes=0,2
stopsignal=SIGQUIT
stopwaitsecs=600
stopasgroup=false
killasgroup=false
user=root
redirect_stderr=true
stdout_logfile=/var/log/%(program_name)s_%(process_num)02d.log
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=3
stdout_capture_maxbytes=1MB
stdout_events_enabled=false
stderr_logfile=/var/log/image.err
environment=PATH="/opt/bin:%(ENV_HOME)s",
    B=2
serverurl=AUTO

[eventlistener:memmon]
command=memmon -a 200MB
events=TICK_60

[fcgi-program:web]
command=/usr/bin/cgi
socket=unix:///tmp/web.sock

[group:media]
programs=image,split
priority=10
"#;

const INCLUDED: &str = "[program:split]
command=sh -c 'echo %(process_num)d; exec sleep 1%(process_num)02d' ; here it ends
process_name=%(program_name)s-%(process_num)02d
numprocs=2
numprocs_start=8
autostart=off
autorestart=true
stopsignal=15
stdout_logfile=NONE
[include]
files=never.conf
";

#[test]
fn every_key_of_a_program_becomes_one_of_ours() {
    let files = [("s.conf", WHOLE), ("conf.d/a.conf", INCLUDED), ("conf.d/.b.conf", "x")];
    let folder = folder(&files);
    let translation = translate(&folder.path().join("s.conf")).unwrap();
    let settings = settings(&translation);
    assert_eq!(settings.supervisor.name, "media");
    assert_eq!(settings.supervisor.log_level, "trace");
    assert_eq!(settings.broker.listen[0].to_string(), "127.0.0.1:4731");

    let image = pool(&settings, "image");
    let script = folder.path().canonicalize().unwrap().join("image.php");
    let script = script.to_str().unwrap();
    let words =
        ["/usr/bin/php", script, "--home=/home/dev", "prod,", "really", "a b", "$x", "${y}"];
    assert_eq!(image.program.command, words);
    assert_eq!(image.program.protocol, PoolProtocol::Gearman);
    assert_eq!(image.program.directory, folder.path().canonicalize().unwrap().join("app"));
    assert_eq!(image.program.umask, Some(0o002));
    // It is whom the daemon runs as.
    assert_eq!(image.program.account, None);
    let env: Vec<_> = image.program.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["APP=prod, really", "B=2", "PATH=/opt/bin:/home/dev", "QUEUE=fast"]);
    assert_eq!(image.upkeep.restart, Restart::Unexpected);
    assert_eq!(image.upkeep.exit_codes, [0, 2]);
    assert_eq!(image.upkeep.backoff.limit, 11);
    assert_eq!(image.upkeep.ready.after, Duration::ZERO);
    assert_eq!(image.upkeep.strays, Strays::Leave);
    assert_eq!(image.stop[0].signal, Signal::SIGQUIT);
    assert_eq!(image.stop[0].wait, Duration::from_mins(10));
    let log = &image.log;
    assert_eq!(log.file(), Some(Path::new("/var/log/image_all.log")));
    assert_eq!((log.size_max, log.keep), (1 << 20, 3));

    let split = pool(&settings, "split-08");
    assert_eq!(split.program.command, ["sh", "-c", "echo 8; exec sleep 108"]);
    // Only as a daemon supervisord looks at its own umask.
    assert_eq!(split.program.umask, None);
    assert_eq!(split.upkeep.restart, Restart::Always);
    assert_eq!((split.stop[0].signal, split.stop[0].wait.as_secs()), (Signal::SIGTERM, 10));
    assert_eq!(split.log.file(), None);
    let expected = [("image", 3), ("split-08", 0), ("split-09", 0)];
    assert_eq!(counts(&settings), expected.map(|(name, count)| (name.to_owned(), count)));
}

#[test]
fn a_group_is_a_label_of_its_programs() {
    let folder = folder(&[("s.conf", WHOLE), ("conf.d/a.conf", INCLUDED)]);
    let settings = settings(&translate(&folder.path().join("s.conf")).unwrap());
    for (name, labels) in [("image", &["media"][..]), ("split-08", &["media", "split"])] {
        assert_eq!(pool(&settings, name).order.labels, labels, "{name}");
    }
}

#[test]
fn what_has_no_equal_is_told_with_its_place_and_is_a_comment() {
    let folder = folder(&[("s.conf", WHOLE), ("conf.d/a.conf", INCLUDED)]);
    let translation = translate(&folder.path().join("s.conf")).unwrap();
    let told = remarks(&translation);
    for expected in [
        "s.conf:2: [unix_http_server] has no equal: [supervisor] socket is the one of our commands",
        "s.conf:25: [program:gearmand] is this server itself now, and is left out",
        "s.conf:12: umask = 027 has no equal: with nodaemon supervisord does not look at it",
        "s.conf:35: priority = 5 has no equal: all workers are started at once",
        "s.conf:52: stderr_logfile = /var/log/image.err has no equal: both streams are in the \
         pool's one log",
        "s.conf:50: stdout_capture_maxbytes = 1MB has no equal: nothing is cut out of the output",
        "s.conf:57: [eventlistener:memmon] has no equal and is left out: pools with their logs, \
         restarts and limits need no listener",
        "s.conf:61: [fcgi-program:web] has no equal and is left out: no socket is handed to workers",
        "s.conf:65: [group:media] is a label of its pools: where supervisorctl takes media:*, \
         gear-supervisor takes @media",
        "a.conf:6: autostart = off: gear-supervisor scale split-08 1 starts it",
    ] {
        assert!(told.iter().any(|remark| remark == expected), "{expected} in {told:#?}");
    }
    // Defaults that were only written down are no news.
    assert!(!told.iter().any(|remark| remark.contains("serverurl = AUTO")), "{told:#?}");
    for remark in &told {
        assert!(translation.toml.contains(remark.as_str()), "{remark} is no comment");
    }
}

#[test]
fn supervisords_own_sample_is_accepted_as_it_is_and_with_all_that_it_shows() {
    let Ok(sample) = fs::read_to_string(DEBIANS_SAMPLE) else {
        eprintln!("skipped: {DEBIANS_SAMPLE} is not there (apt install supervisor)");
        return;
    };
    let key = |line: &str| {
        let line = line.strip_prefix(';')?;
        let is_key = line.starts_with('[')
            || line.split_once(['=', ' ']).is_some_and(|(key, _)| {
                !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            }) && line.contains('=');
        // No such user is on the host.
        (is_key && !line.starts_with("user=")).then(|| line.to_owned())
    };
    let shown: Vec<_> =
        sample.lines().map(|line| key(line).unwrap_or_else(|| line.to_owned())).collect();
    let files = [("plain.conf", sample.as_str()), ("shown.conf", &shown.join("\n"))];
    let folder = folder(&files);
    let plain = translate(&folder.path().join("plain.conf")).unwrap();
    assert_eq!(settings(&plain).pools.len(), 0);
    let shown = translate(&folder.path().join("shown.conf")).unwrap();
    let settings = settings(&shown);
    assert_eq!(counts(&settings), [("theprogramname".to_owned(), 1)]);
    let program = &pool(&settings, "theprogramname").program;
    assert_eq!(program.command, ["/bin/cat"]);
    assert_eq!(program.protocol, PoolProtocol::None);
    let told = remarks(&shown).join("\n");
    assert!(told.contains("theeventlistenername] has no equal"), "{told}");
    assert!(!told.contains("does not know"), "{told}");
}

#[test]
fn a_file_that_supervisord_refuses_is_refused_with_the_place() {
    for (text, expected) in [
        ("[program:a]\nuser=x\n", "s.conf:1: [program:a] has no command"),
        (
            "[program:a]\ncommand=x\nnumprocs=two\n",
            "s.conf:3: numprocs = two is not a whole number from 0",
        ),
        (
            "[program:a]\ncommand=x %(nope)s\n",
            "s.conf:2: %(nope) is not known; there are group_name, here, host_node_name, \
             numprocs, process_num, program_name, ENV_X",
        ),
        (
            "[program:a]\ncommand=x\nautostart=maybe\n",
            "s.conf:3: 'maybe' is neither true nor false",
        ),
        ("[program:a]\ncommand=x\nenvironment=A\n", "s.conf:3: 'A' is not KEY=\"VALUE\""),
        (
            "[program:a]\ncommand=x\nnumprocs=%(ENV_NONE)s\n",
            "s.conf:3: %(ENV_NONE)s: the variable is not set here; set it",
        ),
        ("[include]\n[program:a]\n", "s.conf:1: [include] has no files; supervisord refuses that"),
        ("[x]\ny=1\n", "s.conf has neither [supervisord] and programs nor [GearmanManager]"),
    ] {
        assert_eq!(refusal(&[("s.conf", text)]), expected, "{text}");
    }
}

#[test]
fn a_variable_that_is_not_set_stays_one_and_is_told_of() {
    let text = "[program:a]\ncommand=x %(ENV_LATER)s\n";
    let folder = folder(&[("s.conf", text)]);
    let translation = translate(&folder.path().join("s.conf")).unwrap();
    assert!(translation.toml.contains("command = \"x ${LATER}\""), "{}", translation.toml);
    let told = remarks(&translation);
    assert!(told.contains(&"s.conf:2: ${LATER} has to be set".to_owned()), "{told:?}");
}

proptest! {
    // A failure prints the smallest edits; there is no folder for files of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_garbled_file_brings_it_down_or_comes_out_as_no_toml(
        edits in prop::collection::vec((any::<prop::sample::Index>(), "\\PC{0,3}|[\\n\\t\\r\\[%$\"']"), 1..6),
    ) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for (at, new) in edits {
            let at = at.index(text.len());
            text.splice(at..(at + 2).min(text.len()), new.chars());
        }
        let text: String = text.into_iter().collect();
        let folder = folder(&[("s.conf", &text), ("conf.d/a.conf", INCLUDED)]);
        if let Ok(translation) = translate(&folder.path().join("s.conf")) {
            let parsed = translation.toml.parse::<toml::Table>();
            prop_assert!(parsed.is_ok(), "{:?}\n{}", parsed, translation.toml);
        }
    }
}

#[test]
fn two_programs_with_one_log_get_one_each() {
    let text = "[program:a]\ncommand=x\nstdout_logfile=/x/l.log\nstdout_logfile_maxbytes=0\n\
                [program:b]\ncommand=y\nstdout_logfile=/x/l.log\n\
                [program:c]\ncommand=y\nstdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\n";
    let folder = folder(&[("s.conf", text)]);
    let translation = translate(&folder.path().join("s.conf")).unwrap();
    let settings = settings(&translation);
    let log = |name| pool(&settings, name).log.file().unwrap().to_owned();
    assert_eq!(log("a"), Path::new("/x/l.log"));
    assert!(log("b").ends_with("b.log"));
    assert_eq!(pool(&settings, "c").log.target, LogTarget::Inherit);
    assert_eq!(pool(&settings, "a").log.size_max, u64::MAX);
}

#[test]
fn syslog_and_plain_text_become_the_targets_and_shapes_of_logs() {
    let text = "[supervisord]\nstrip_ansi=true\n\
                [program:a]\ncommand=x\nstdout_syslog=true\nstderr_syslog=true\n\
                [program:b]\ncommand=x\nstdout_logfile=/x/b.log\nstdout_syslog=yes\n\
                [program:c]\ncommand=x\nstdout_logfile=none\nstderr_syslog=true\n\
                [program:d]\ncommand=x\nstdout_logfile=/x/d.log\nstderr_syslog=false\n";
    let folder = folder(&[("s.conf", text)]);
    let translation = translate(&folder.path().join("s.conf")).unwrap();
    let settings = settings(&translation);
    for (name, target) in [
        ("a", LogTarget::Syslog),
        ("b", LogTarget::File("/x/b.log".into())),
        ("c", LogTarget::Syslog),
        ("d", LogTarget::File("/x/d.log".into())),
    ] {
        let log = &pool(&settings, name).log;
        assert_eq!(
            (&log.target, log.format, log.ansi),
            (&target, LogFormat::Text, false),
            "{name}"
        );
    }
    let told = remarks(&translation);
    for expected in [
        "s.conf:2: only raw output keeps colours: lines of logs have their time and worker before \
         them instead",
        "s.conf:10: stdout_syslog = yes has no equal: a pool has one log, and its file is that",
        "s.conf:14: both streams go to syslog: a pool has one log",
    ] {
        assert!(told.iter().any(|remark| remark == expected), "{expected} in {told:#?}");
    }
    assert!(!told.iter().any(|remark| remark.contains(":18:")), "{told:#?}");
}

#[test]
fn included_files_are_found_as_a_shell_finds_them_and_are_here_themselves() {
    let head = "[supervisord]\n[include]\nfiles = d?/*.conf e[!b]/x.conf d1/../y.conf\n";
    let program = |name: &str| format!("[program:{name}]\ncommand=%(here)s/x\n");
    let files = ["d1/a.conf", "d2/b.conf", "d22/c.conf", "ea/x.conf", "eb/x.conf", "y.conf"];
    let names = ["a", "b", "c", "ea", "eb", "y"];
    let texts: Vec<_> = names.iter().map(|name| program(name)).collect();
    let mut all: Vec<_> = files.iter().zip(&texts).map(|(file, text)| (*file, &**text)).collect();
    all.push(("s.conf", head));
    let folder = folder(&all);
    // It is where its name is, and not where a link leads.
    let etc = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path().join("s.conf"), folder.path().join("l.conf")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("s.conf"), etc.path().join("s.conf")).unwrap();
    let settings = settings(&translate(&folder.path().join("l.conf")).unwrap());
    let commands: Vec<_> = settings
        .pools
        .values()
        .map(|pool| pool.program.command[0].replace(&folder.path().display().to_string(), ""))
        .collect();
    assert_eq!(commands, ["/d1/x", "/d2/x", "/ea/x", "/x"]);
    let apart = translate(&etc.path().join("s.conf")).unwrap();
    assert_eq!(apart.pools, 0, "nothing is beside the link");
}

#[test]
fn an_included_file_is_the_one_that_the_kernel_finds_and_a_pattern_for_none_is_told() {
    let head = "[supervisord]\n[include]\nfiles = link/../*.conf none/*.conf\n";
    let program = "[program:a]\ncommand=%(here)s/x\n";
    let folder = folder(&[("s/s.conf", head), ("far/near/x", ""), ("far/a.conf", program)]);
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("../far/near", at("s/link")).unwrap();
    let translation = translate(&at("s/s.conf")).unwrap();
    // By its name alone, as supervisord reckons it.
    let command = pool(&settings(&translation), "a").program.command[0].clone();
    assert_eq!(command, at("s/x").display().to_string());
    let toml = &translation.toml;
    assert!(toml.contains("s.conf:3: no file matches none/*.conf of [include]"), "{toml}");
    assert_eq!(toml.matches("no file matches").count(), 1, "{toml}");
}

#[test]
fn processes_that_differ_share_the_label_of_their_program() {
    let text = "[program:a]\ncommand=x %(process_num)d\nnumprocs=2\nprocess_name=%(process_num)d\n";
    let folder = folder(&[("s.conf", text)]);
    let settings = settings(&translate(&folder.path().join("s.conf")).unwrap());
    for name in ["a_0", "a_1"] {
        assert_eq!(pool(&settings, name).order.labels, ["a"]);
    }
}
