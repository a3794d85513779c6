//! What workers print, from their pipes to files, followers and the daemon's own stdout.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::rig::{Daemon, PROGRAM, command_of, kill, until};

/// Lines of one worker: 50 MB of 100 bytes each.
const LINES: usize = 500_000;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A pool whose worker tells that it waits until the file `quiet` appears, prints its lines when the
/// file `go` does, and then sleeps.
fn loud(folder: &Path, log: &str) -> String {
    let script = format!(
        "until [ -e quiet ]; do echo waiting; sleep 0.02; done; echo quiet; \
         until [ -e go ]; do sleep 0.02; done; yes {} | head -n {LINES}; \
         echo the end; exec sleep 1000",
        "x".repeat(99)
    );
    format!(
        "[pool.loud]\ncommand = [\"sh\", \"-c\", \"{script}\"]\nprotocol = \"none\"\n\
         user = \"${{USER}}\"\ndirectory = \"{}\"\nlog = {log}\n",
        folder.display()
    )
}

/// `attach` with its records in a file.
fn follow(daemon: &Daemon, path: &Path) -> Child {
    let mut command = daemon.command(&["attach", "-n", "0", "--json", "loud:1"]);
    command.stdout(fs::File::create(path).unwrap()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The last lines of a file that may be long.
fn end_of(path: &Path) -> String {
    let mut file = fs::File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(len.saturating_sub(4096))).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("log")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_line_is_in_the_rotated_files_and_at_the_follower_or_counted_as_missed() {
    let folder = folder();
    let log = "{ max_size = \"4MiB\", keep = 100, format = \"raw\" }";
    let pools = loud(folder.path(), log);
    let daemon = Daemon::with_pools_in(folder, &pools);
    let folder = daemon.folder.path();
    let records = folder.join("followed");
    let mut follower = follow(&daemon, &records);
    let has = |text: &str| end_of(&records).contains(text);
    until("the follower is attached", || has("waiting"));
    fs::write(folder.join("quiet"), "").unwrap();
    until("the follower has read all so far", || has("quiet"));
    fs::write(folder.join("go"), "").unwrap();
    until("the follower has read to the end", || has("the end"));
    kill("-INT", follower.id().into());
    follower.wait().unwrap();

    let (mut lines, mut files) = (0, 0);
    for path in files_of(folder) {
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "{}", path.display());
        lines += bytes.split(|byte| *byte == b'\n').filter(|line| line.len() == 99).count();
        files += 1;
    }
    assert_eq!(lines, LINES);
    assert!(files > 10, "{files}");

    let (mut got, mut missed) = (0, 0);
    for line in fs::read_to_string(&records).unwrap().lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        missed += record["missed"].as_u64().unwrap_or_default();
        got += u64::from(record["text"].as_str().is_some_and(|text| text.len() == 99));
    }
    assert_eq!(got + missed, LINES as u64, "{got} and {missed}");
}

#[test]
fn inherited_output_is_on_the_daemons_own_stdout() {
    let folder = folder();
    let pools = "[pool.p]\ncommand = [\"sh\", \"-c\", \"echo hello; exec sleep 1000\"]\n\
                 protocol = \"none\"\nuser = \"${USER}\"\nlog = \"inherit\"\n";
    let daemon = Daemon::started(folder, pools, |folder| {
        let mut command = command_of(Path::new(PROGRAM), folder);
        command.stdout(fs::File::create(folder.join("stdout")).unwrap());
        command
    });
    let path = daemon.folder.path().join("stdout");
    let text = || fs::read_to_string(&path).unwrap();
    until("the line is there", || text().contains(" p:1 out| hello\n"));
    assert!(!daemon.folder.path().join("log").exists());
    daemon.says(&["stop", "p"]);
    until("its end is told, too", || text().lines().last().unwrap().contains(" p:1 mark| "));
}

#[test]
fn status_tells_what_a_full_disk_has_cost_of_a_log() {
    let folder = folder();
    for name in ["few", "many"] {
        std::os::unix::fs::symlink("/dev/full", folder.path().join(name)).unwrap();
    }
    let (few, many) = ("echo 12345", "seq 1 100000");
    let place = folder.path().display().to_string();
    let pool = |name: &str, script: &str| {
        let log = match name {
            "fine" => "false".to_owned(),
            name => format!("{{ file = \"{place}/{name}\", format = \"raw\" }}"),
        };
        format!(
            "[pool.{name}]\ncommand = [\"sh\", \"-c\", \"{script}; exec sleep 1000\"]\n\
             protocol = \"none\"\nuser = \"${{USER}}\"\nlog = {log}\n"
        )
    };
    let pools = [pool("few", few), pool("many", many), pool("fine", few)].concat();
    let daemon = Daemon::with_pools_in(folder, &pools);
    let lost = |name: &str| {
        let status: serde_json::Value =
            serde_json::from_str(&daemon.says(&["status", name, "--json"])).unwrap();
        status["pools"][0]["log_loss"]["bytes"].as_u64()
    };
    let len = (1..=100_000).map(|n: u32| n.to_string().len() as u64 + 1).sum();
    until("all is counted", || lost("few") == Some(6) && lost("many") == Some(len));
    assert!(daemon.says(&["status", "few"]).contains("· 6 B of its log lost, the last at "));
    assert_eq!(lost("fine"), None);
}

#[test]
fn logrotate_may_move_a_file_and_say_so() {
    let folder = folder();
    let pools = "[pool.p]\ncommand = [\"sh\", \"-c\", \"while read x < F; do echo $x; done\"]\n\
                 protocol = \"none\"\nuser = \"${USER}\"\nlog = { max_size = false }\n";
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let daemon = Daemon::with_pools_in(folder, &pools.replace('F', &fifo.to_string_lossy()));
    let log = daemon.folder.path().join("log/p.log");
    let has = |path: &Path, text: &str| {
        fs::read_to_string(path).is_ok_and(|log| log.contains(&format!("out| {text}")))
    };
    fs::write(&fifo, "one\n").unwrap();
    until("it is written", || has(&log, "one"));
    let moved = daemon.folder.path().join("log/moved");
    fs::rename(&log, &moved).unwrap();
    daemon.signal("-USR2");
    // Lines that come before the signal is heard are in the file that was moved.
    until("a line is in a new file", || {
        fs::write(&fifo, "two\n").unwrap();
        has(&log, "two")
    });
    assert!(has(&moved, "one"));
    fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    // A line that comes between the last read and the end of a reader is lost with the pipe.
    until("the file that was cut short goes on", || {
        fs::write(&fifo, "three\n").unwrap();
        has(&log, "three")
    });
    assert!(!fs::read(&log).unwrap().contains(&0), "without a hole");
}
