//! Workers with terminals: attached to from a terminal of the test's own, and typed to.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::rig::{DEADLINE, Daemon, kill, until};

/// A terminal with a command of ours in it.
struct Tty {
    child: Child,
    ours: File,
    /// Kept, so that its modes can be looked at when the command has ended.
    theirs: File,
    screen: avt::Terminal,
    seen: Vec<u8>,
}

impl Tty {
    fn open(daemon: &Daemon, arguments: &[&str], (columns, rows): (u16, u16)) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let theirs = OpenOptions::new().read(true).write(true).open(path).unwrap();
        set_size(&theirs, columns, rows);
        let end = || Stdio::from(OwnedFd::from(theirs.try_clone().unwrap()));
        let mut command = daemon.command(arguments);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let screen = avt::Terminal::new(columns.into(), rows.into()).unwrap();
        Self { child, ours: ours.into(), theirs, screen, seen: Vec::new() }
    }

    /// The rows as they stand.
    fn rows(&self) -> Vec<String> {
        let rows = self.screen.screen().visible_lines();
        rows.map(|line| line.text().trim_end().to_owned()).collect()
    }

    /// Reads until the screen shows what is waited for.
    fn until(&mut self, what: &str, shown: impl Fn(&[String]) -> bool) {
        let begun = Instant::now();
        while !shown(&self.rows()) {
            let left = DEADLINE.checked_sub(begun.elapsed());
            let left = left.unwrap_or_else(|| panic!("waited in vain until {what}: {self}"));
            if self.wait_for_output(left) {
                self.read();
            }
        }
    }

    fn until_text(&mut self, text: &str) {
        self.until(text, |rows| rows.iter().any(|row| row.contains(text)));
    }

    fn wait_for_output(&self, timeout: std::time::Duration) -> bool {
        let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&self.ours), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(timeout).unwrap()).unwrap() > 0
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        let len = self.ours.read(&mut bytes).unwrap();
        self.seen.extend_from_slice(&bytes[..len]);
        // A character may be cut; the tests print none of several bytes.
        self.screen.feed(String::from_utf8_lossy(&bytes[..len]).as_ref());
    }

    fn press(&mut self, keys: &[u8]) {
        self.ours.write_all(keys).unwrap();
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        set_size(&self.theirs, columns, rows);
        self.screen.resize(columns.into(), rows.into());
        kill("-WINCH", self.child.id().into());
    }

    /// Waits for the end of the command, and reads what it has said.
    fn ended(&mut self) -> ExitStatus {
        // It waits with its last words until they are read.
        let mut status = None;
        until("the command has ended", || {
            if self.wait_for_output(std::time::Duration::ZERO) {
                self.read();
            }
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        while self.wait_for_output(std::time::Duration::ZERO) {
            self.read();
        }
        status.unwrap()
    }

    /// Whether it is as a shell wants it.
    fn is_plain(&self) -> bool {
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

impl std::fmt::Display for Tty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{:?}", self.rows().join("\n"), String::from_utf8_lossy(&self.seen))
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn set_size(terminal: &File, ws_col: u16, ws_row: u16) {
    tcsetwinsize(terminal, Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// A daemon whose one pool runs a script on a terminal.
fn daemon(script: &str) -> Daemon {
    Daemon::with_pools(&pool("t", script))
}

fn pool(name: &str, script: &str) -> String {
    format!(
        "[pool.{name}]\nuser = \"${{USER}}\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n\
         protocol = \"none\"\ntty = true\nstop = [\"KILL\"]\n"
    )
}

/// Paints with moves of the cursor, then does nothing any more.
const PAINTING: &str =
    r"stty -echo; printf '\033[2J\033[5;10Hmiddle\033[1;1Htop\033[24;76Hlast!\033[3;3H'; exec cat";
/// Tells its size with each line that it reads.
const SIZES: &str =
    "stty -echo; echo ready; while read -r line; do echo \"$line: $(stty size)\"; done";

#[test]
fn the_screen_of_a_full_screen_program_is_painted_for_whoever_attaches() {
    let daemon = daemon(PAINTING);
    for (size, arguments) in [
        ((100, 30), &["attach", "t:1"][..]),
        ((80, 24), &["attach", "t"]),
        ((80, 24), &["attach", "-i", "t"]),
    ] {
        let mut tty = Tty::open(&daemon, arguments, size);
        tty.until_text("last!");
        let rows = tty.rows();
        assert_eq!((rows[0].as_str(), rows[4].as_str()), ("top", "         middle"), "{tty}");
        assert_eq!(&rows[23][75..], "last!", "{tty}");
        assert_eq!(tty.screen.cursor().position(), Some((2, 2)), "{tty}");
        tty.press(b"\x1d");
        assert!(tty.ended().success(), "{tty}");
        assert!(tty.is_plain());
        tty.until_text("-- left t:1, which goes on --");
    }
    // Of a smaller terminal the rows around the cursor are seen.
    let mut tty = Tty::open(&daemon, &["attach", "t"], (20, 4));
    tty.until_text("top");
    kill("-INT", tty.child.id().into());
    assert!(tty.ended().success() && tty.is_plain());
}

#[test]
fn keys_reach_the_worker_and_what_it_prints_comes_back() {
    let daemon = daemon("stty raw -echo; echo ready; exec od -An -tx1 -v -w1");
    let mut tty = Tty::open(&daemon, &["attach", "-i", "t:1"], (80, 24));
    tty.until_text("ready");
    // Those that would be signals, and one that the terminal would eat, are for the worker too.
    tty.press(b"a\x03\x1a\x11\x1b[A");
    tty.until("all keys came", |rows| {
        let codes: Vec<_> =
            rows.iter().map(|row| row.trim()).filter(|row| row.len() == 2).collect();
        codes == ["61", "03", "1a", "11", "1b", "5b", "41"]
    });
}

#[test]
fn the_worker_sees_the_size_of_whoever_types_and_not_of_whoever_looks() {
    let daemon = daemon(SIZES);
    let mut writer = Tty::open(&daemon, &["attach", "-i", "t"], (70, 20));
    writer.until_text("ready");
    writer.press(b"a\r");
    writer.until_text("a: 20 70");
    let mut reader = Tty::open(&daemon, &["attach", "t"], (132, 43));
    reader.until_text("a: 20 70");
    writer.resize(90, 33);
    writer.press(b"b\r");
    // Until the new size has come, the old one may be told.
    writer.until("the size has followed", |rows| {
        rows.iter().any(|row| row == "b: 33 90" || row == "b: 20 70")
    });
    writer.press(b"c\r");
    writer.until_text("c: 33 90");
    reader.until_text("c: 33 90");
}

#[test]
fn leaving_a_terminal_leaves_the_worker_and_its_screen() {
    let daemon = daemon(SIZES);
    let before = daemon.running("t");
    let mut tty = Tty::open(&daemon, &["attach", "-i", "t", "--detach-key", "ctrl-q"], (80, 24));
    tty.until_text("ready");
    tty.press(b"first\r\x11");
    assert!(tty.ended().success(), "{tty}");
    let mut again = Tty::open(&daemon, &["attach", "-i", "t"], (80, 24));
    again.until_text("first: 24 80");
    assert_eq!(daemon.running("t"), before);
}

#[test]
fn the_key_that_leaves_is_typed_when_it_is_pressed_twice() {
    let daemon =
        daemon("echo ready; while read -r line; do printf '%s' \"$line\" | od -An -c; done");
    let mut tty = Tty::open(&daemon, &["attach", "-i", "t"], (80, 24));
    tty.until_text("ready");
    tty.press(b"a\x1d\x1db\r");
    tty.until_text("   a 035   b");
    tty.press(b"\x1d");
    assert!(tty.ended().success(), "{tty}");
}

#[test]
fn one_types_at_a_time_and_the_next_is_told_who_or_takes_the_keyboard() {
    let daemon = daemon(SIZES);
    let mut first = Tty::open(&daemon, &["attach", "-i", "t"], (80, 24));
    first.until_text("ready");
    let mut second = Tty::open(&daemon, &["attach", "-i", "t"], (80, 24));
    assert_eq!(second.ended().code(), Some(1));
    let pid = format!("(pid {})", first.child.id());
    let said = second.rows().concat();
    assert!(said.contains("the keyboard of t:1 is with") && said.contains(&pid), "{second}");
    let status = daemon.says(&["status", "t"]);
    let told = status.lines().find(|line| line.contains("keyboard: "));
    assert!(told.is_some_and(|line| line.contains(&pid)), "{status}");
    assert!(second.is_plain());
    let mut third = Tty::open(&daemon, &["attach", "-i", "t", "--steal"], (80, 24));
    third.until_text("ready");
    assert_eq!(first.ended().code(), Some(1));
    let said = first.rows().concat();
    assert!(said.contains("the keyboard of t:1 was taken by") && first.is_plain(), "{first}");
    third.press(b"mine\r");
    third.until_text("mine: 24 80");
    let log = daemon.says(&["logs", "t"]);
    assert!(log.contains("mine: 24 80"), "{log}");
    third.press(b"\x1d");
    assert!(third.ended().success());
    // It was given back.
    until("status tells", || !daemon.says(&["status", "t"]).contains("keyboard: "));
    let mut fourth = Tty::open(&daemon, &["attach", "-i", "t"], (80, 24));
    fourth.until_text("mine");
}

#[test]
fn our_terminal_is_as_before_however_the_stay_ends() {
    let mut daemon = daemon(SIZES);
    for signal in ["-TERM", "-HUP", "-INT", "-QUIT"] {
        for arguments in [&["attach", "-i", "t"][..], &["attach", "t"]] {
            let mut tty = Tty::open(&daemon, arguments, (80, 24));
            tty.until_text("ready");
            assert!(!tty.is_plain());
            kill(signal, tty.child.id().into());
            assert!(tty.ended().success() && tty.is_plain(), "{signal} {arguments:?} {tty}");
        }
    }
    let mut tty = Tty::open(&daemon, &["attach", "-i", "t"], (80, 24));
    tty.until_text("ready");
    tty.press(b"x\r");
    tty.until_text("x: 24 80");
    daemon.signal("-KILL");
    daemon.child.wait().unwrap();
    assert_eq!(tty.ended().code(), Some(1), "{tty}");
    assert!(tty.is_plain());
    let said = tty.rows().concat();
    assert!(said.contains("broke off the connection"), "{tty}");
    daemon.child = crate::rig::spawn(daemon.folder.path());
    daemon.until_up();
}

#[test]
fn whoever_does_not_read_never_delays_the_worker_and_sees_its_last_screen() {
    let daemon = daemon(
        "stty -echo; echo ready; read line; yes 'a line of some length' | head -n 1000000; \
         echo the end; exec cat",
    );
    let mut tty = Tty::open(&daemon, &["attach", "t"], (80, 24));
    tty.until_text("ready");
    kill("-STOP", tty.child.id().into());
    daemon.says(&["send", "t", "go"]);
    until("all is printed", || daemon.says(&["logs", "t", "-n", "1"]).contains("the end"));
    kill("-CONT", tty.child.id().into());
    tty.until_text("the end");
    assert!(tty.seen.len() < 5_000_000, "{} bytes were painted", tty.seen.len());
}

#[test]
fn a_line_is_sent_to_workers_with_a_terminal_and_only_to_them() {
    let plain = "[pool.plain]\nuser = \"${USER}\"\ncommand = \"sleep 1000\"\nprotocol = \"none\"\n";
    let two = pool("two", SIZES).replace("tty = true", "tty = true\ncount = 2");
    let daemon = Daemon::with_pools(&format!("{two}{plain}"));
    assert_eq!(daemon.says(&["send", "two:2", "grüße"]), "typed into two:2\n");
    until("it is read", || daemon.says(&["logs", "two:2"]).contains("grüße: 24 80"));
    assert_eq!(daemon.says(&["send", "two", "both"]), "typed into two:1\ntyped into two:2\n");
    until("both read it", || daemon.says(&["logs", "two"]).matches("both: ").count() == 2);
    assert!(!daemon.says(&["logs", "two:1"]).contains("grüße"));
    for (arguments, code, told) in [
        (&["send", "plain", "x"][..], 1, "no terminal; write tty = true in [pool.plain]"),
        (&["send", "pain", "x"], 4, "did you mean 'plain'?"),
        (&["send", "two", &"x".repeat(5000)], 2, "send at most 4094"),
        (&["attach", "-i", "two:1"], 2, "needs a terminal"),
    ] {
        let output = daemon.ask(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(told), "{errors}");
    }
    let mut tty = Tty::open(&daemon, &["attach", "-i", "two"], (100, 24));
    assert!(!tty.ended().success());
    tty.until_text("name one of them, such as two:1");
}

#[test]
fn a_successor_takes_the_place_of_a_worker_that_ended() {
    let daemon =
        daemon("stty -echo; echo \"I am $$$$\"; while read -r line; do echo $$$$ $line; done");
    let (_, first) = daemon.running("t").remove(0);
    let mut tty = Tty::open(&daemon, &["attach", "-i", "t"], (90, 20));
    tty.until_text(&format!("I am {first}"));
    kill("-KILL", first);
    let mut second = first;
    until("a successor runs", || {
        second = daemon.running("t").first().map_or(first, |(_, pid)| *pid);
        second != first
    });
    tty.until_text(&format!("I am {second}"));
    let seen = String::from_utf8_lossy(&tty.seen).into_owned();
    assert!(seen.contains("-- no process is there; Ctrl-] leaves --"), "{tty}");
    tty.press(b"hello\r");
    tty.until_text(&format!("{second} hello"));
}

#[test]
fn a_program_that_asks_its_terminal_is_answered_with_and_without_anybody() {
    let daemon = daemon(
        r"stty raw -echo; while :; do printf '\033[2;5H\033[6n'; \
          dd bs=1 count=6 2>/dev/null | od -An -c; head -c 1 >/dev/null; done",
    );
    let answers = || daemon.says(&["logs", "t"]).matches("033   [   2   ;   5   R").count();
    until("the daemon has answered", || answers() == 1);
    let mut tty = Tty::open(&daemon, &["attach", "-i", "t"], (80, 24));
    tty.until_text("R");
    // The next answer is that of our terminal, which this test is.
    tty.press(b"x\x1b[2;5R");
    until("our terminal has answered", || answers() == 2);
}

#[test]
fn the_log_has_lines_without_control_sequences() {
    let daemon = daemon(
        r"printf '\033[1;31mred\033[0m\r\n10%%\r100%%\n\033[?1049h\033[Hpainted\033[?1049l'; echo end; \
         exec sleep 1000",
    );
    until("it is logged", || daemon.says(&["logs", "t"]).contains("end"));
    let log = daemon.says(&["logs", "t:1"]);
    assert_eq!(log, "red\n100%\nend\n");
    // Where its output is no terminal, attach shows lines.
    let mut attached = daemon.command(&["attach", "t:1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = attached.stdout.take().unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"end\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    assert!(String::from_utf8(text).unwrap().ends_with("red\n100%\nend\n"));
    kill("-TERM", attached.id().into());
    assert!(attached.wait().unwrap().success());
}
