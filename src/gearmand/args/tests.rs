use super::*;

fn read_words(words: &[&str]) -> Result<Asked, GearmandError> {
    parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
}

fn serve(words: &[&str]) -> Box<Args> {
    match read_words(words) {
        Ok(Asked::Serve(args)) => args,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn debians_unit_and_the_usual_command_lines_are_taken() {
    for line in [
        "-L 127.0.0.1 -p 4730 -vvv",
        "--pid-file=/run/g.pid --listen=localhost --daemon --log-file=/var/log/g.log",
        "-d -b 10 -f 100 -j 3 -w 2 -R -t 4 -u gearman --verbose DEBUG --syslog --coredump",
        "--job-handle-prefix=X --hashtable-buckets=100 --exceptions",
        "--keepalive --keepalive-idle=3 --keepalive-interval=-1 --keepalive-count 4",
        "-q libsqlite3 --libsqlite3-db=/x --libsqlite3-table t --store-queue-on-shutdown",
        "-q MySQL --mysql-host h --mysql-port 1 --mysql-user u --mysql-password p --mysql-db d",
        "-q redis --redis-server s --redis-port 1 --redis-password p --redis-prefix x",
        "-p4731 -lstderr --config-file=/dev/null",
    ] {
        serve(&line.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn what_changes_nothing_is_told_and_what_is_missing_is_refused() {
    let args = serve(&["-t", "4", "--libsqlite3-db=/x"]);
    assert_eq!(args.notices.len(), 2, "{:?}", args.notices);
    for option in ["--ssl", "--ssl-key=/k", "--protocol=http", "-rhttp", "--http-port=80"] {
        let error = read_words(&[option]).unwrap_err().to_string();
        assert!(error.contains("is not supported"), "{option}: {error}");
    }
}

#[test]
fn wrong_options_are_refused() {
    for words in [["--verbose", "loud"], ["--bogus", "x"], ["-t", "x"], ["foo", "bar"]] {
        let error = read_words(&words);
        assert!(matches!(error, Err(GearmandError::Usage(_))), "{words:?}: {error:?}");
    }
}

#[test]
fn the_file_holds_options_and_the_command_line_wins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gearmand.conf");
    fs::write(&file, "--port 5000 -j 3\n# a remark\n--listen=localhost\n").unwrap();
    for name in [format!("--config-file={}", file.display()), format!("@{}", file.display())] {
        let args = serve(&[&name, "--port=6000"]);
        assert_eq!((args.port, args.job_retries), (Some(6000), 3), "{name}");
        assert_eq!(args.listen.as_deref(), Some("localhost"));
    }
    assert!(read_words(&["--config-file=/nonexistent"]).is_err());
}

#[test]
fn the_version_is_the_second_word() {
    let Ok(Asked::Text(text)) = read_words(&["-V"]) else { panic!() };
    assert_eq!(text.split(' ').nth(1), Some(env!("CARGO_PKG_VERSION")));
}
