//! A terminal: one shell that is given line after line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::readme::is_shown;

/// No command of the tour takes longer on the slowest machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// Follows the output of each command, with its status.
const END: &str = "<end of the command> ";

pub(crate) struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    /// Starts a shell; `command` has its folder and its environment.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "exec 2>&1").unwrap();
        let lines = lines_of(&mut child);
        Self { child, stdin, lines }
    }

    /// Runs a command and gives the lines that came until its end.
    pub(crate) fn run(&mut self, command: &str) -> Vec<String> {
        writeln!(self.stdin, "{{ {command}\n}} </dev/null; echo '{END}'$?").unwrap();
        let mut shown = Vec::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("{command} does not end: {shown:#?}"));
            match line.strip_prefix(END) {
                Some("0") => return shown,
                Some(status) => panic!("{command} ended with {status}: {shown:#?}"),
                None => shown.push(line),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs a command that goes on until Ctrl-C, which comes when all of `shown` was seen.
pub(crate) fn until_shown(command: &mut Command, shown: &[String]) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(&mut child);
    let mut seen = Vec::new();
    let is_seen = |seen: &[String], shown: &str| seen.iter().any(|line| is_shown(shown, line));
    while !shown.iter().all(|shown| is_seen(&seen, shown)) {
        let line = lines.recv_timeout(DEADLINE);
        seen.push(line.unwrap_or_else(|_| panic!("{shown:#?} is not in {seen:#?}")));
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}");
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let (lines, received) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let read = stdout.lines().map_while(Result::ok);
        // The test may have seen enough.
        read.map(|line| lines.send(line)).take_while(Result::is_ok).for_each(drop);
    });
    received
}
