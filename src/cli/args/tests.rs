use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn question(line: &str) -> Question {
    match parse(line).unwrap().verb {
        Some(Verb::Ask(question)) => question,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn an_order_about_many_jobs_says_which() {
    for line in [
        "gear-supervisor queue cancel -f a* --older 1h --dry-run",
        "gear-supervisor queue retry H:x:1 H:x:2",
        "gear-supervisor queue import --from 127.0.0.1:4730 --functions a,b",
        "gear-supervisor queue export --to 127.0.0.1:4730",
        "gear-supervisor queue export -",
        "gear-supervisor jobs --dead",
        "gear-supervisor pause a b*",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for line in [
        "gear-supervisor queue cancel",
        "gear-supervisor queue purge --dry-run",
        "gear-supervisor queue export",
        "gear-supervisor queue export a.jsonl --to 127.0.0.1:4730",
        "gear-supervisor jobs --newest --oldest",
        "gear-supervisor pause",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn the_daemon_runs_without_a_verb() {
    let cli = parse("gear-supervisor -c workers.toml -vv").unwrap();
    assert!(cli.is_daemon());
    assert_eq!((cli.target.config, cli.verbose), (Some("workers.toml".into()), 2));
}

#[test]
fn a_pool_can_be_run_without_a_file() {
    let line = "gear-supervisor run --count 1..4 --functions a,b --protocol exec -- php -v w.php";
    let Some(Verb::Run(run)) = parse(line).unwrap().verb else { panic!("not run") };
    assert_eq!(run.count, Some(Bounds { min: 1, max: 4 }));
    assert_eq!((run.functions, run.protocol), (vec!["a".into(), "b".into()], Protocol::Exec));
    assert_eq!(run.command, ["php", "-v", "w.php"]);
}

#[test]
fn the_target_may_stand_before_or_after_the_verb() {
    for line in [
        "gear-supervisor -c a.toml --socket /s status",
        "gear-supervisor status slow -c a.toml --socket /s",
    ] {
        let target = parse(line).unwrap().target;
        assert_eq!(target.config, Some("a.toml".into()), "{line}");
        assert_eq!(target.socket, Some("/s".into()), "{line}");
    }
}

#[test]
fn supervisords_words_are_understood() {
    for (word, verb) in [
        ("tail slow", "Logs"),
        ("fg slow:1", "Attach"),
        ("update", "Reload"),
        ("reread", "Check"),
        ("pid", "Pid"),
        ("pid slow:1", "Pid"),
        ("avail", "Avail"),
    ] {
        let parsed = format!("{:?}", parse(&format!("gear-supervisor {word}")).unwrap().verb);
        assert!(parsed.contains(verb), "{word}: {parsed}");
    }
}

#[test]
fn scale_takes_a_number_bounds_or_auto() {
    let scale = |to: &str| {
        let line = format!("gear-supervisor scale slow {to} --for 2h");
        match parse(&line).map(|cli| cli.verb) {
            Ok(Some(Verb::Ask(Question::Scale(args)))) => Some((args.to, args.hold)),
            _ => None,
        }
    };
    let for_two_hours = Some(Duration::from_hours(2));
    let held = |min, max| Some((Scale::Held(Bounds { min, max }), for_two_hours));
    assert_eq!(scale("4"), held(4, 4));
    assert_eq!(scale("0"), held(0, 0));
    assert_eq!(scale("1..4"), held(1, 4));
    assert_eq!(scale("auto"), Some((Scale::Auto, for_two_hours)));
    for bad in ["4..1", "-1", "x", "1..", "..4", ""] {
        assert_eq!(scale(bad), None, "{bad}");
    }
}

#[test]
fn logs_take_ages_times_and_expressions() {
    let Question::Logs(logs) =
        question("gear-supervisor logs slow th* -n 5 -f --since 10m --grep ^a+$")
    else {
        panic!("not logs")
    };
    assert_eq!((logs.names.len(), logs.lines, logs.follow), (2, Some(5), true));
    assert_eq!(logs.since.as_deref(), Some("600"));
    assert!(logs.grep.unwrap().is_match(b"aaa"));
    let time = "gear-supervisor logs slow --since 2026-11-24T14:00:00+01:00";
    assert!(parse(time).is_ok());
    for bad in ["--since noon", "--grep (", "-n many"] {
        assert!(parse(&format!("gear-supervisor logs slow {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn signal_names_the_signal_first() {
    let Question::Signal(args) = question("gear-supervisor signal HUP slow:1 th*") else {
        panic!("not signal")
    };
    assert_eq!((args.signal.as_str(), args.names.names.len()), ("HUP", 2));
}

#[test]
fn a_payload_may_be_anything_even_a_dash() {
    for (line, payload) in [
        ("gear-supervisor submit wc", None),
        ("gear-supervisor submit wc -", Some("-")),
        ("gear-supervisor submit wc text --unique u --high", Some("text")),
        ("gear-supervisor submit wc -- --text", Some("--text")),
    ] {
        let Question::Submit(args) = question(line) else { panic!("not submit") };
        assert_eq!(args.payload.as_deref().and_then(|text| text.to_str()), payload, "{line}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for line in [
        "submit wc x --high --low",
        "stop all --no-wait --timeout 3s",
        "stop",
        "attach",
        "attach a:1 --steal",
        "attach -i a:1 --json",
        "attach a:1 --detach-key ctrl-m",
        "send a:1",
        "run --count 4",
        "work fn",
        "work fn --lines --stream -- cat",
        "status --watch --json",
    ] {
        assert!(parse(&format!("gear-supervisor {line}")).is_err(), "{line}");
    }
}
