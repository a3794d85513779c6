//! What is wrong with a file is told with its place and in a sentence.

use std::fs;
use std::path::Path;

use gear_supervisor::config::{Surroundings, load};

use crate::{dev, folder, lines, load_in};

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = r#"[supervisor]
shutdown_grace = 60
log_level = "inof"

[broker]
listen = ["127.0.0.1:4730", "4731"]

[pool.wordcount]
command = "wc -w"
cuont = 2

[pool.mail]
command = "php mail.php | tee log"
count = { min = 8, max = 4 }
user = "root"
stream = true

[pool."a/b"]
command = "x"

[pool.slow]
functions = ["a", "b", "a"]

[pools.x]
"#;
    let expected = r#"
workers.toml:2:18: supervisor.shutdown_grace: a duration needs its unit; write "60s" for seconds
workers.toml:3:13: supervisor.log_level: 'inof' is not a level; did you mean info?
workers.toml:6:29: broker.listen: '4731' is not an address to listen on; write "127.0.0.1:4731"
workers.toml:10:1: pool.wordcount.cuont: unknown key; did you mean count?
workers.toml:13:11: pool.mail.command: '|' needs a shell, and none is used; quote it, or write ["sh", "-c", "php mail.php | tee log"]
workers.toml:14:9: pool.mail.count: min = 8 is above max = 4; raise max or lower min
workers.toml:15:8: pool.mail.user: a daemon of dev cannot start workers as root; start it as root, or remove user
workers.toml:16:10: pool.mail.stream: only protocol = "exec" has a stream; remove it
workers.toml:18:7: pool.a/b: 'a/b' cannot name a pool; use letters, digits, '_', '-' and '.', at most 64, and begin with a letter, a digit or '_'
workers.toml:21:7: pool.slow.command: is missing; write command = "PROGRAM ARGUMENTS"
workers.toml:22:24: pool.slow.functions: a is listed twice; remove one
workers.toml:24:2: pools: unknown key; did you mean pool?"#;
    assert_eq!(lines(text, &dev()), expected.trim_start().lines().collect::<Vec<_>>());
}

#[test]
fn doors_and_rules_that_cannot_be_meant_are_refused() {
    check(&[
        (
            "broker.listen = \"192.168.7.1:4730\"",
            "1:17: broker.listen: 192.168.7.1:4730 is open to other hosts, and nothing says to which; add allow = [\"192.168.0.0/16\"], with your own networks, to [broker]",
        ),
        (
            "broker.allow = [\"10.0.0.7/8\"]",
            "1:17: broker.allow: '10.0.0.7/8' has bits behind its prefix; write \"10.0.0.0/8\"",
        ),
        (
            "broker.handle_prefix = \"H: x\"",
            "1:24: broker.handle_prefix: 'H: x' cannot begin a handle; write 1 to 42 ASCII characters without blanks or '//', as in \"H:web-1\"",
        ),
        (
            "broker.store = \"memory\"\nfunction.a.store = \"disk\"",
            "2:20: function.a.store: [broker] store = \"memory\" has no disk to keep it on; set [broker] store = \"disk\", or remove the key",
        ),
        (
            "function.a.expire = \"0s\"",
            "1:21: function.a.expire: every job would be dropped at once; write more than 0s",
        ),
        (
            "function.a.maxqueue = 1",
            "1:12: function.a.maxqueue: unknown key; did you mean max_queued?",
        ),
        (
            "function.\"a*\" = { max_attempts = 0 }",
            "1:34: function.a*.max_attempts: no job could ever run; write 1 or more, or remove the key",
        ),
    ]);
}

#[test]
fn a_value_of_another_kind_is_refused() {
    check(&[
        (
            "x = 1",
            "1:1: x: unknown key; use broker, defaults, function, host, include, pool, supervisor",
        ),
        (
            "pool = 1",
            "1:8: pool: a table is wanted, not an integer; write [pool] or { KEY = VALUE, … }",
        ),
        (
            "supervisor.name = 7",
            "1:19: supervisor.name: a string is wanted, not an integer; write \"7\"",
        ),
        (
            "host.max_workers = -1",
            "1:20: host.max_workers: -1 is not a whole number from 0 to 4294967295; write one, as in 4",
        ),
        (
            "host.max_workers = 1.5",
            "1:20: host.max_workers: a whole number is wanted, not a float; write one without quotes, as in 4",
        ),
        (
            "host.reserve_memory = \"101%\"",
            "1:23: host.reserve_memory: '101%' is not a share of the memory; write \"0%\" to below \"100%\", or a size",
        ),
        ("host.max_load = 0", "1:17: host.max_load: at 0 nothing could grow; write as in 2.0"),
        ("host.max_psi_cpu = 101", "1:20: host.max_psi_cpu: 101 is above 100 percent; write less"),
        (
            "host.max_psi_memory = \"many\"",
            "1:23: host.max_psi_memory: 'many' is not a number; write one, as in 2.0",
        ),
        (
            "defaults.mode = \"economic\"",
            "1:17: defaults.mode: 'economic' is not known here; did you mean economy?",
        ),
        (
            "defaults.weight = 0",
            "1:19: defaults.weight: 0 is not a weight from 1 to 1000; write one, as in 4",
        ),
        (
            "defaults.scale_priority = 0.5",
            "1:27: defaults.scale_priority: 0.5 is not a whole number from -100 to 100; write one, as in 1",
        ),
        (
            "defaults.max_wait = \"1ms\"",
            "1:21: defaults.max_wait: no count of workers keeps that; write \"10ms\" or more",
        ),
        (
            "pool.p = { command = \"x\", count = 1.5 }",
            "1:35: pool.p.count: a whole number is wanted, not a float; write one without quotes, as in 4",
        ),
        (
            "broker.store = \"dsik\"",
            "1:16: broker.store: 'dsik' is not known here; did you mean disk?",
        ),
        (
            "broker.store = \"${STORE}\"",
            "1:16: broker.store: environment variable STORE is not set; set it, or write ${STORE:-default}, or $${STORE} for the text itself",
        ),
        (
            "broker.max_packet = 64",
            "1:21: broker.max_packet: a size needs its unit; write \"64B\", or as in \"64MiB\"",
        ),
        (
            "supervisor.socket_mode = 600",
            "1:26: supervisor.socket_mode: permission bits are octal; write \"0600\"",
        ),
    ]);
}

#[test]
fn an_unknown_key_is_answered_with_what_could_be_meant() {
    check(&[
        (
            "defaults.wizardry = 5",
            "1:10: defaults.wizardry: unknown key; use after, backoff, canary, cgroup, clean_env, command, count, cpu_affinity, cron, directory, env, env_file, essential, exit_codes, functions, group, idle_exit, idle_ttl, ionice, job_timeout, labels, liveness, log, max_age, max_jobs, max_recycling, max_rss, max_wait, min_at, mode, nice, no_new_privileges, oneshot, oom_score_adj, payload, protocol, ready, reserve, restart, rlimit, runner, scale_priority, spare, start_timeout, startup, stop, strays, stream, surge, timezone, tty, umask, user, watch, weight, worker_dir, worker_exclude, worker_prefix, zero_after",
        ),
        (
            "defaults.exit_code = 5",
            "1:10: defaults.exit_code: unknown key; did you mean exit_codes?",
        ),
    ]);
}

#[test]
fn pools_that_run_at_times_or_after_others_are_checked() {
    check(&[
        (
            "pool.p = { command = \"x\", after = \"dbs\" }\n[pool.db]\ncommand = \"x\"",
            "1:35: pool.p.after: no pool is called 'dbs'; did you mean db?",
        ),
        (
            "[pool.a]\ncommand = \"x\"\nafter = [\"b\"]\n[pool.b]\ncommand = \"x\"\nafter = [\"a\"]",
            "3:9: pool.a.after: waits for itself: a → b → a; remove one of these from its after",
        ),
        (
            "defaults.after = \"p\"\npool.p = { command = \"x\" }\npool.q = { command = \"x\" }",
            "1:18: defaults.after: waits for itself: p → p; remove one of these from its after",
        ),
        (
            "pool.p = { command = \"x\", labels = [\"a\", \"@b\"] }",
            "1:42: pool.p.labels: '@b' cannot be a label; use letters, digits, '_', '-' and '.', at most 64",
        ),
        (
            "pool.p = { command = \"x\", count = \"1..4\", min_at = [{ cron = \"0 8 * * *\", for = \"1h\", min = 8 }] }",
            "1:52: pool.p.min_at: min = 8 is above max = 4; raise max or lower min",
        ),
        (
            "pool.p = { command = \"x\", count = 4, min_at = [{ cron = \"0 8 * * *\", for = \"1h\", min = 2 }] }",
            "1:47: pool.p.min_at: a fixed count has no min to raise; write count = { min = 1, max = 8 }",
        ),
        (
            "pool.p = { command = \"x\", count = \"1..4\", min_at = [{ cron = \"0 8 * * *\", min = 2 }] }",
            "1:52: pool.p.min_at: each entry has cron, for and min; write { cron = \"0 8 * * 1-5\", for = \"10h\", min = 8 }",
        ),
        (
            "pool.p = { command = \"x\", oneshot = true, functions = \"a\", protocol = \"exec\" }",
            "1:37: pool.p.oneshot: only a plain program, protocol = \"none\", runs once; remove one of the two",
        ),
        (
            "pool.p = { command = \"x\", oneshot = true, restart = \"always\" }",
            "1:53: pool.p.restart: what runs to its end is not started again each time; write unexpected or never",
        ),
        (
            "pool.p = { command = \"x\", oneshot = true, count = \"1..2\" }",
            "1:51: pool.p.count: a program that runs to its end does not grow; write a number",
        ),
        (
            "pool.p = { command = \"x\", cron = \"* * * * *\", count = 2 }",
            "1:55: pool.p.count: with cron there is never more than one run at once; remove it",
        ),
        (
            "pool.p = { command = \"x\", cron = \"* * * * *\", payload = \"y\" }",
            "1:57: pool.p.payload: only the job that cron submits has it; remove it",
        ),
        (
            "pool.p = { command = \"x\", cron = \"* 24 * * *\" }",
            "1:34: pool.p.cron: '24' is no hour from 0 to 23; write as in \"5\", \"1-5\", \"*/10\" or \"1,15\"",
        ),
        (
            "pool.p = { command = \"x\", cron = \"* * * * *\", timezone = \"Mars/Base\" }",
            "1:58: pool.p.timezone: this host knows no time zone 'Mars/Base'; write a name of /usr/share/zoneinfo, as in \"Europe/Berlin\", or \"UTC\"",
        ),
        (
            "pool.p = { command = \"x\", cron = \"* * * * *\", functions = [\"a\", \"b\"] }",
            "1:34: pool.p.cron: it is not known which function's job is meant; list one in functions, in a pool of its own",
        ),
        (
            "pool.p = { command = \"x\", cron = \"* * * * *\" }\npool.q = { command = \"x\", after = \"p\" }",
            "2:35: pool.q.after: p has cron and so is never ready; name another pool",
        ),
    ]);
}

#[test]
fn a_pool_that_does_not_go_together_is_refused() {
    check(&[
        (
            "pool.p = { command = \"\" }",
            "1:22: pool.p.command: the command is empty; write a program to run",
        ),
        (
            "pool.p = { command = [] }",
            "1:22: pool.p.command: the command is empty; write a program to run",
        ),
        (
            "pool.p = { command = \"A=b x\" }",
            "1:22: pool.p.command: the command begins with a variable, 'A=b'; write env = { A = \"…\" } beside it",
        ),
        (
            "pool.p = { command = \"x\", worker_dir = \"w\" }",
            "1:40: pool.p.worker_dir: only a runner looks at it; write runner = \"gearman-manager\" beside it",
        ),
        (
            "pool.p = { runner = \"gearman-manager\" }",
            "1:6: pool.p.worker_dir: is missing; write the folder of the workers' files",
        ),
        (
            "pool.p = { runner = \"gearman-manager\", worker_dir = \"w\", protocol = \"none\" }",
            "1:69: pool.p.protocol: a runner speaks Gearman itself; remove one of the two",
        ),
        (
            "pool.p = { command = \"x\", count = { min = 1 } }",
            "1:35: pool.p.count: max is missing; write { min = 1, max = 8 }",
        ),
        (
            "pool.p = { command = \"x\", count = { max = 2, mim = 1 } }",
            "1:46: pool.p.count.mim: unknown key; did you mean min?",
        ),
        (
            "pool.p = { command = \"x\", env = { \"A B\" = 1 } }",
            "1:35: pool.p.env.A B: not the name of a variable; write one without spaces",
        ),
        (
            "pool.p = { command = \"x\", protocol = \"exec\", tty = true }",
            "1:52: pool.p.tty: the jobs of exec and lines are on the streams of their program; write tty = false, or another protocol",
        ),
        (
            "pool.p = { command = \"x\", protocol = \"none\", functions = [\"f\"] }",
            "1:58: pool.p.functions: protocol = \"none\" serves no functions; remove one of the two",
        ),
        (
            "pool.p = { command = \"x\", log = { max_size = \"1KiB\" } }",
            "1:46: pool.p.log.max_size: 1024 bytes are below 4 KiB; write as in \"10MiB\", or false for no limit",
        ),
        (
            "pool.p = { command = \"x\", log = { target = \"syslog\", keep = 3 } }",
            "1:61: pool.p.log.keep: means nothing to this target; remove one of the two",
        ),
        (
            "pool.p = { command = \"x\", log = { continuation = \"(\" } }",
            "1:50: pool.p.log.continuation: '(' is no regular expression: error: unclosed group; write true for lines that begin with a blank, or a regular expression",
        ),
        (
            "pool.p = { command = \"x\", log = { max_age = \"1ms\" } }",
            "1:45: pool.p.log.max_age: is below a second; write as in \"1day\" or \"12h\"",
        ),
    ]);
}

#[test]
fn a_mistake_of_syntax_has_a_plain_sentence() {
    for (text, expected) in [
        ("a = \n[b]", "1:5: a value is missing; write it behind the '='"),
        ("[pool.p\ncount = 1", "1:8: unclosed table; write `]`"),
        ("[pool.p]\ncommand = \"x\n", "2:13: a string without its closing quote; add it"),
        ("[host]\n\n[host]\n", "3:2: host stands here a second time; remove one of them"),
        ("name", "1:5: a key without a value; write KEY = VALUE"),
        ("ä = 1", "1:1: a key of other than letters, digits, '_' and '-'; write it in quotes"),
    ] {
        let lines = lines(text, &dev());
        assert!(lines[0].starts_with(&format!("workers.toml:{expected}")), "{lines:?}");
    }
    // Text without quotes leaves the rest of the file readable.
    let text = "[supervisor]\nshutdown_grace = 5s\n[pool.p]\ncommand = wc -w\ncuont = 1";
    let places = [
        "workers.toml:2:18: text without quotes; write \"5s\"",
        "workers.toml:4:11: text without quotes; write \"wc -w\"",
        "workers.toml:5:1: pool.p.cuont: unknown key; did you mean count?",
    ];
    assert_eq!(lines(text, &dev()), places);
}

#[test]
fn mistakes_of_included_files_are_told_with_those_of_the_file() {
    let folder = folder(&[
        (
            "workers.toml",
            "include = \"conf.d/*.toml, gone.toml\"\nhots = 1\n[pool.a]\ncommand = \"x\"",
        ),
        ("conf.d/a.toml", "[pool.a]\ncommand = \"y\"\n[defaults]\ncount = 1"),
        ("conf.d/b.toml", "[pool.b"),
        ("conf.d/c.toml", "[function.f]\nexpire = \"5m\""),
        ("conf.d/d.toml", "\n[function.f]\nexpire = \"6m\"\n[function.g]\nexpires = 1"),
    ]);
    let expected = [
        "workers.toml:2:1: hots: unknown key; did you mean host?",
        "conf.d/a.toml:1:7: pool.a: this pool stands in workers.toml:3 too; rename or remove one of the two",
        "conf.d/a.toml:3:2: defaults: an included file holds nothing but [pool.NAME] and [function.NAME]; move it to the file that includes this one",
        "conf.d/b.toml:1:8: unclosed table; write `]`",
        "conf.d/d.toml:2:11: function.f: this pattern stands in conf.d/c.toml:1 too; write all its rules in one of the two",
        "conf.d/d.toml:5:1: function.g.expires: unknown key; did you mean expire?",
        "gone.toml: cannot be read: there is no such file",
    ];
    assert_eq!(load_in(&folder).unwrap_err(), expected);
}

#[test]
fn files_that_are_no_settings_are_refused() {
    let folder = folder(&[("latin1.toml", ""), ("no name.toml", "")]);
    fs::write(folder.path().join("latin1.toml"), b"a = 1\nb = \"\xe4\"").unwrap();
    let line = |name: &str| {
        let surroundings = Surroundings { directory: folder.path().into(), ..dev() };
        load(Path::new(name), &surroundings).unwrap_err().to_string()
    };
    let text = "latin1.toml:2:6: a byte that is not UTF-8 text; save the file as UTF-8";
    assert_eq!(line("latin1.toml"), text);
    assert_eq!(line("."), ".: cannot be read: it is a folder");
    assert_eq!(line("gone.toml"), "gone.toml: cannot be read: there is no such file");
    assert!(line("no name.toml").contains("supervisor.name: 'no name' cannot be a name"));
    assert!(load(Path::new("/dev/null"), &dev()).is_ok());
}

/// Each text has this one mistake.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(lines(text, &dev()), [format!("workers.toml:{expected}")]);
    }
}

#[test]
fn what_needs_to_know_jobs_in_hand_is_refused_where_nobody_does() {
    let head = "[broker]\nservers = \"gm1\"\ndirect = true\n[pool.p]\ncommand = \"x\"\n";
    let nobody = "with [broker] direct = true nobody here knows";
    for (key, at, what, instead) in [
        (
            "count = \"1..4\"",
            "6:9: pool.p.count",
            "which worker is idle and may be stopped",
            "write one number",
        ),
        (
            "job_timeout = \"1m\"",
            "6:15: pool.p.job_timeout",
            "which worker has which job",
            "remove it",
        ),
        ("max_jobs = 5", "6:12: pool.p.max_jobs", "how many jobs a worker has done", "remove it"),
        ("idle_exit = \"1m\"", "6:13: pool.p.idle_exit", "which worker is idle", "remove it"),
        (
            "ready = \"registered\"",
            "6:9: pool.p.ready",
            "what a worker has registered",
            "remove it",
        ),
    ] {
        let expected =
            format!("workers.toml:{at}: {nobody} {what}; {instead}, or remove direct = true");
        assert_eq!(lines(&format!("{head}{key}"), &dev()), [expected]);
        // A plain program has no jobs, and through us all are known.
        if key.starts_with("count") {
            continue;
        }
        assert_eq!(
            lines(&format!("{}{key}", head.replace("direct = true\n", "")), &dev()),
            [""; 0]
        );
    }
    check(&[(
        "broker.direct = true",
        "1:17: broker.direct: without servers workers have nobody to connect to; set servers, or remove it",
    )]);
}

#[test]
fn what_tells_that_a_worker_is_well_is_checked() {
    let pool = "[pool.p]\ncommand = \"x\"\n";
    for (keys, expected) in [
        (
            "ready = \"regsitered\"",
            "3:9: pool.p.ready: 'regsitered' is not known here; write alive, registered, notify, \
             log:REGEX, http://HOST:PORT/PATH or exec:COMMAND",
        ),
        (
            "ready = \"http:localhost\"",
            "3:9: pool.p.ready: 'http:localhost' is not an address; write as in \
             \"http://127.0.0.1:8080/health\"",
        ),
        (
            "ready = { on = \"notify\", timeout = \"1s\" }\nstart_timeout = \"2s\"",
            "3:9: pool.p.ready: timeout is start_timeout, which is set too; remove one of the two",
        ),
        (
            "ready = \"registered\"\nprotocol = \"none\"",
            "3:9: pool.p.ready: protocol = \"none\" registers nothing; wait for something else",
        ),
        (
            "protocol = \"none\"\nidle_exit = \"1m\"",
            "4:13: pool.p.idle_exit: protocol = \"none\" has no jobs; remove it",
        ),
        (
            "oneshot = true\njob_timeout = \"1m\"",
            "4:15: pool.p.job_timeout: a program that runs to its end has no jobs; remove it",
        ),
        (
            "cron = \"* * * * *\"\nmax_jobs = 5",
            "4:12: pool.p.max_jobs: a program that runs to its end has no jobs; remove it",
        ),
        (
            "oneshot = true\nready = \"registered\"",
            "4:9: pool.p.ready: a program that runs to its end registers nothing; wait for something else",
        ),
        (
            "oneshot = true\nfunctions = \"f\"",
            "4:13: pool.p.functions: a program that runs to its end serves no functions; remove it",
        ),
        (
            "liveness = { period = \"1s\" }",
            "3:12: pool.p.liveness: on is missing; write on = \"http:…\", \"exec:…\" or \"notify\"",
        ),
        (
            "exit_codes = [0, 256]",
            "3:14: pool.p.exit_codes: 256 is not an exit code; write 0 to 255",
        ),
        (
            "job_timeout = \"0s\"",
            "3:15: pool.p.job_timeout: no job could be done in no time; write as in \"10m\", or \
             leave the key out",
        ),
    ] {
        check(&[(&format!("{pool}{keys}"), expected)]);
    }
}
