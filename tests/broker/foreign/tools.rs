//! Debian's own Gearman tools.

use std::io::Write;
use std::process::{Command as Program, Stdio};

use super::{Running, bounded};
use crate::rig::{Rig, job};
use gear_supervisor::protocol::SubmitMode;

/// The tool with its arguments and our port; `None`, with a note, when it is not installed.
fn tool(rig: &Rig, name: &str, arguments: &[&str]) -> Option<Program> {
    let mut probe = Program::new(name);
    if probe.arg("-H").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: {name} is not installed (apt: gearman-tools)");
        return None;
    }
    let mut program = bounded(name);
    program.args(["-h", "127.0.0.1", "-p", &rig.address().port().to_string()]).args(arguments);
    Some(program)
}

fn output_of(program: &mut Program, input: &str) -> String {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_gearman_command_gets_right_answers() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let Some(mut worker) = tool(&rig, "gearman", &["-w", "-f", "wc", "--", "wc", "-c"]) else {
        return;
    };
    let _worker = Running(worker.stderr(Stdio::null()).spawn().unwrap());
    for options in [&["-f", "wc"][..], &["-I", "-f", "wc"], &["-L", "-u", "one", "-f", "wc"]] {
        for text in ["to be or not", "x"] {
            let mut client = tool(&rig, "gearman", options).unwrap();
            assert_eq!(output_of(&mut client, text).trim(), text.len().to_string(), "{options:?}");
        }
    }
    // A job for each line, with its end.
    let mut lines = tool(&rig, "gearman", &["-n", "-f", "wc"]).unwrap();
    assert_eq!(
        output_of(&mut lines, "a\nbcd\n").split_whitespace().collect::<Vec<_>>(),
        ["2", "4"]
    );
    let mut background = tool(&rig, "gearman", &["-b", "-f", "wc"]).unwrap();
    output_of(&mut background, "abc");
    assert!(background.status().unwrap().success());
}

#[test]
fn gearadmin_reads_our_tables_and_gives_its_orders() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let (mut worker, mut client) = (rig.connect(), rig.connect());
    worker.can_do("resize");
    worker.sync();
    let mut later = job("later", "x", SubmitMode::Background);
    later.unique = "key".into();
    let handle = String::from_utf8(client.submit(later).to_vec()).unwrap();
    let pid = format!("{}\n", std::process::id());
    let jobs = format!("{handle}\t0\t0\t1\n.\n");
    let tables = "later\t1\t0\t0\nresize\t0\t0\t1\n.\n";
    // It tells errors on stderr.
    let cases = [
        (&["--status"][..], tables),
        (&["--priority-status"], "later\t0\t1\t0\t0\nresize\t0\t0\t0\t1\n.\n"),
        (&["--getpid"], &pid),
        (&["--server-version"], concat!(env!("CARGO_PKG_VERSION"), "\n")),
        (&["--server-verbose"], "INFO\n"),
        (&["--show-jobs"], &jobs),
        (&["--show-unique-jobs"], "key\n.\n"),
        (&["--create-function", "fresh"], "OK\n"),
        (&["--drop-function", "fresh"], "OK\n"),
        (&["--drop-function", "fresh"], ""),
        (&["--cancel-job", &handle], "OK\n"),
        (&["--cancel-job", &handle], ""),
        (&["--show-jobs"], ".\n"),
    ];
    for (options, wanted) in cases {
        let Some(mut admin) = tool(&rig, "gearadmin", options) else { return };
        assert_eq!(output_of(&mut admin, ""), wanted, "{options:?}");
    }
    let mut admin = tool(&rig, "gearadmin", &["--workers"]).unwrap();
    let text = output_of(&mut admin, "");
    let performs = |line: &str| line.ends_with("127.0.0.1 - : resize");
    assert_eq!(text.lines().filter(|line| performs(line)).count(), 1, "{text}");
}
