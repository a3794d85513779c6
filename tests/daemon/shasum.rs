//! Real input through kills, edits and a restart: the SHA-256 of files below /usr.
//!
//! `GEAR_LONG=1` takes 5,000 files, otherwise 400.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::raw;
use crate::rig::{Daemon, until};

/// libgearman refuses a unique of more bytes.
const UNIQUE_LEN_MAX: usize = 63;
const FILE_LEN_MAX: u64 = 4 << 20;
/// Clients of Debian that submit at once.
const CLIENTS: usize = 4;
const KILL_EVERY: Duration = Duration::from_millis(200);

/// Journals the start and the end of a job under the pid that a test kills: the adapter's.
const WORKER: &str = r#"
read -r path || [ -n "$path" ]
echo "start $PPID $GEAR_HANDLE $path" >> "$JOURNAL"
sum=$(sha256sum < "$path") || exit 1
echo "finish $PPID $GEAR_HANDLE $path" >> "$JOURNAL"
echo "${sum%% *}"
"#;

#[test]
fn sums_of_files_are_right_through_kills_edits_and_a_restart() {
    let scene = Scene::new(if std::env::var_os("GEAR_LONG").is_some() { 5000 } else { 400 });
    let over = AtomicBool::new(false);
    let killed = thread::scope(|threads| {
        let killer = threads.spawn(|| scene.kill_until(&over));
        let operator = threads.spawn(|| scene.operate());
        scene.submit_by_foreign_clients();
        scene.submit_by_a_raw_client();
        operator.join().unwrap();
        over.store(true, Ordering::Release);
        killer.join().unwrap()
    });
    scene.check_journal(&killed);
}

struct Scene {
    daemon: Daemon,
    sums: HashMap<String, String>,
    paths: Vec<String>,
    answered: AtomicUsize,
}

impl Scene {
    fn new(files: usize) -> Self {
        let paths = files_below(Path::new("/usr"), files);
        assert_eq!(paths.len(), files, "/usr has too few files of use");
        let sums = sums_of(&paths);
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("sum.sh");
        fs::write(&script, WORKER).unwrap();
        let daemon = Daemon::with_pools_in(
            folder,
            &format!(
                "[pool.sum]\nuser = \"${{USER}}\"\nprotocol = \"exec\"\ncount = 8\n\
                 command = \"sh {script}\"\nenv = {{ JOURNAL = \"{script}.journal\" }}\n",
                script = script.display()
            ),
        );
        Self { daemon, sums, paths, answered: AtomicUsize::new(0) }
    }

    /// All files by Debian's own client, one process for each.
    fn submit_by_foreign_clients(&self) {
        let next = AtomicUsize::new(0);
        let port = self.daemon.port.to_string();
        thread::scope(|threads| {
            for _ in 0..CLIENTS {
                threads.spawn(|| {
                    while let Some(path) = self.paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let mut client = Command::new("gearman");
                        client.args(["-p", &port, "-f", "sum", "-u", path, path]);
                        match client.stdin(Stdio::null()).output() {
                            Ok(output) => {
                                let sum = String::from_utf8_lossy(&output.stdout);
                                assert_eq!(sum.trim_end(), self.sums[path], "{path} {output:?}");
                            }
                            Err(error) => return eprintln!("skipped: gearman: {error}"),
                        }
                        self.answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        self.answered.store(self.paths.len(), Ordering::Relaxed);
    }

    /// All files by a client that would notice a second answer.
    fn submit_by_a_raw_client(&self) {
        let answers = raw::submit_all(self.daemon.port, "sum", &self.paths, || {
            self.answered.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(answers.len(), self.paths.len());
        for (path, answer) in &answers {
            let wanted = format!("{}\n", self.sums[path]);
            assert_eq!(answer.completes, [wanted.as_bytes()], "{path}: {answer:?}");
            assert_eq!(answer.fails, 0, "{path}");
        }
    }

    /// Three edits and a restart, spread over the run.
    fn operate(&self) {
        let total = self.paths.len() * 2;
        let reached = |part: usize| {
            until("so many jobs are answered", || {
                thread::sleep(Duration::from_millis(1));
                self.answered.load(Ordering::Relaxed) >= total * part / 10
            });
        };
        reached(1);
        self.daemon.edit("count = 8", "count = 12");
        reached(3);
        self.daemon.edit("count = 12", "count = 6");
        reached(5);
        self.daemon.edit("command = \"sh ", "command = \"sh -e ");
        reached(8);
        self.daemon.says(&["restart", "sum", "--timeout", "60s"]);
    }

    /// The pids that were killed; every 200 ms one that has a job.
    fn kill_until(&self, over: &AtomicBool) -> HashSet<String> {
        let mut killed = HashSet::new();
        let mut turn = 0;
        while !over.load(Ordering::Acquire) {
            thread::sleep(KILL_EVERY);
            let busy = self.daemon.busy("sum");
            let Some(pid) = busy.get(turn % busy.len().max(1)) else { continue };
            turn += 1;
            killed.insert(pid.to_string());
            // It may have left by itself since it was listed.
            let status = Command::new("kill").args(["-9", &pid.to_string()]).status();
            assert!(status.is_ok());
        }
        eprintln!("{} workers were killed", killed.len());
        killed
    }

    /// Every job that was begun and not finished was in the hands of a worker that the test killed.
    fn check_journal(&self, killed: &HashSet<String>) {
        let journal = self.daemon.folder.path().join("sum.sh.journal");
        let journal = fs::read_to_string(journal).unwrap();
        let of = |word: &str| -> Vec<&str> {
            journal.lines().filter_map(|line| line.strip_prefix(word)).collect()
        };
        let finished: HashSet<_> = of("finish ").into_iter().collect();
        let started = of("start ");
        let unfinished = started.iter().filter(|start| !finished.contains(*start));
        let mut count = 0;
        for start in unfinished {
            let pid = start.split(' ').next().unwrap();
            assert!(killed.contains(pid), "the daemon ended {start}");
            count += 1;
        }
        eprintln!("{} starts, {} finishes, {count} cut off", started.len(), finished.len());
    }
}

fn files_below(folder: &Path, wanted: usize) -> Vec<String> {
    let mut folders = vec![folder.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let small = entry.metadata().is_ok_and(|meta| meta.len() <= FILE_LEN_MAX);
            let Some(path) = path.to_str() else { continue };
            if kind.is_file() && small && path.len() <= UNIQUE_LEN_MAX && !path.contains('\n') {
                found.push(path.to_owned());
            }
        }
        if found.len() >= wanted {
            break;
        }
    }
    found.truncate(wanted);
    found
}

/// What sha256sum says, without the marks of odd names: it is given the bytes, not the name.
fn sums_of(paths: &[String]) -> HashMap<String, String> {
    let sum = |path: &String| {
        let file = fs::File::open(path).unwrap();
        let output = Command::new("sha256sum").stdin(file).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (path.clone(), text.split(' ').next().unwrap().to_owned())
    };
    paths.iter().map(sum).collect()
}
