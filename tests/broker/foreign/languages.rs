//! Client libraries of other languages: a worker and a client of each, in `clients`.
//!
//! With `queue` a client leaves jobs of three priorities, whose order the worker then prints, with
//! `twice` it waits for two tasks of one unique; otherwise it tries what its library can do and
//! prints what came of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::time::Instant;

use super::{Running, bounded};
use crate::rig::{Rig, WITHIN};

/// A client library.
struct Library {
    name: &'static str,
    /// What runs its scripts.
    interpreter: PathBuf,
    /// Ends well when the library is installed.
    probe: &'static [&'static str],
    extension: &'static str,
    /// Its package, for whoever wants the test to run.
    package: &'static str,
}

impl Library {
    fn script(&self, interpreter: &str, role: &str) -> Program {
        let file = format!("tests/broker/foreign/clients/{}_{role}.{}", self.name, self.extension);
        let mut program = bounded(interpreter);
        program.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        program
    }

    fn is_installed(&self) -> bool {
        let mut probe = Program::new(&self.interpreter);
        probe.args(self.probe).env("NODE_PATH", installed("node_modules"));
        probe.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        let is_installed = probe.status().is_ok_and(|status| status.success());
        if !is_installed {
            eprintln!("skipped: {} is not installed ({})", self.name, self.package);
        }
        is_installed
    }

    fn run(&self, rig: &Rig, role: &str, mode: Option<&str>) -> Program {
        let mut program = self.script(&self.interpreter.to_string_lossy(), role);
        program.arg(rig.address().port().to_string()).args(mode);
        program.env("NODE_PATH", installed("node_modules")).env_remove("GEARMAN_SERVERS");
        program
    }

    /// The first `count` lines of its worker for what its client has queued.
    fn order(&self, rig: &Rig, count: usize) -> Vec<String> {
        let mut client = self.run(rig, "client", Some("queue"));
        let status = client.stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{} queues: {status}", self.name);
        let mut worker = self.run(rig, "worker", Some("order"));
        worker.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut worker = Running(worker.spawn().unwrap());
        let lines = BufReader::new(worker.0.stdout.take().unwrap()).lines();
        lines.take(count).map(Result::unwrap).collect()
    }

    /// What its client prints for two tasks of one unique, which wait when the worker comes.
    fn coalesce(&self, rig: &Rig) -> String {
        let mut client = self.run(rig, "client", Some("twice"));
        let client = client.stdout(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        let count = || Some("count".into());
        while rig.jobs(count()).first().is_none_or(|job| job.clients < 2) {
            assert!(began.elapsed() < WITHIN, "{}: {:?}", self.name, rig.jobs(count()));
        }
        let mut worker = self.run(rig, "worker", None);
        let _worker = Running(worker.stderr(Stdio::null()).spawn().unwrap());
        String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap()
    }

    /// What its client prints while its worker serves.
    fn talk(&self, rig: &Rig) -> String {
        // Some of them log every packet, or complain of the job that dies.
        let mut worker = self.run(rig, "worker", None);
        let _worker = Running(worker.stderr(Stdio::null()).spawn().unwrap());
        let mut client = self.run(rig, "client", None);
        let output = client.stderr(Stdio::piped()).output().unwrap();
        let (text, errors) = (output.stdout, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {}\n{errors}", self.name, output.status);
        String::from_utf8(text).unwrap()
    }
}

/// Where `.ci/run` puts what is no system package.
fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("foreign").join(path)
}

fn php() -> Library {
    Library {
        name: "php",
        interpreter: "php".into(),
        probe: &["-r", "exit((int) !extension_loaded('gearman'));"],
        extension: "php",
        package: "apt: php-cli php-gearman",
    }
}

fn perl() -> Library {
    Library {
        name: "perl",
        interpreter: "perl".into(),
        probe: &["-MGearman::Client", "-MGearman::Worker", "-e", "1"],
        extension: "pl",
        package: "apt: libgearman-client-perl",
    }
}

fn check(library: &Library, expected: &str) {
    if !library.is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    assert_eq!(library.order(&rig, 3), ["high", "normal", "low"], "{}", library.name);
    assert_eq!(library.talk(&rig).trim_end(), expected.trim(), "{}", library.name);
}

#[test]
fn two_tasks_of_one_unique_are_done_once() {
    for library in [php(), perl()] {
        if library.is_installed() {
            let folder = tempfile::tempdir().unwrap();
            let rig = Rig::new(folder.path());
            assert_eq!(library.coalesce(&rig), "count 1\ncount 1\n", "{}", library.name);
        }
    }
}

#[test]
fn php_gearman_gets_right_answers() {
    let expected = "
ping true
doLow cba
doNormal cba
doHigh cba
news onetwo
fail failed
throw GEARMAN_WORK_EXCEPTION
tasks data one, exception boom, fail, news two, rev zyx, status 1/2, warning careful
again true
queued true
unknown false
by unique true";
    check(&php(), expected);
}

#[test]
fn perls_gearman_client_gets_right_answers() {
    let expected = "
rev cba
empty ''
tasks fail failed, news status 1/2, news two, rev x, throw exception boom
again true
queued true
server status 1/0/0";
    check(&perl(), expected);
}

#[test]
fn pythons_gear_gets_right_answers() {
    let library = Library {
        name: "gear",
        interpreter: installed("venv/bin/python"),
        probe: &["-c", "import gear"],
        extension: "py",
        package: "pip: gear, in target/foreign/venv",
    };
    let expected = "
option True
jobs fail failed, news data one, news status b'1'/b'2', news two, news warning careful, rev cba, throw exception boom
again True
status ['later\\t1\\t0\\t0']
show jobs True
unique jobs True
workers True
version True
cancel OK
cancel ERR UNKNOWN_JOB";
    check(&library, expected);
}

#[test]
fn pygearman_gets_right_answers() {
    let library = Library {
        name: "pygearman",
        interpreter: installed("venv/bin/python"),
        probe: &["-c", "import gearman"],
        extension: "py",
        package: "pip: pygearman, in target/foreign/venv",
    };
    let expected = "
rev COMPLETE b'cba'
rev COMPLETE b'cba'
rev COMPLETE b'cba'
news [b'one'] [b'careful'] (1, 2) b'two'
fail FAILED
status True False
ping True
status [{'task': 'later', 'queued': 1, 'running': 0, 'workers': 0}]
workers ['py-worker']
version True
pid True
unique jobs True
jobs True";
    check(&library, expected);
}

#[test]
fn nodes_gearmanode_gets_right_answers() {
    let library = Library {
        name: "gearmanode",
        interpreter: "node".into(),
        probe: &["-e", "require('gearmanode')"],
        extension: "js",
        package: "npm: gearmanode, in target/foreign",
    };
    let expected = "
rev cba
rev cba
rev cba
news status 1/2, data one, warning careful, two
fail failed
option exceptions
throw exception boom
echo hello
status true false";
    check(&library, expected);
}

#[test]
fn nodes_abraxas_gets_right_answers() {
    let library = Library {
        name: "abraxas",
        interpreter: "node".into(),
        probe: &["-e", "require('abraxas')"],
        extension: "js",
        package: "npm: abraxas, in target/foreign",
    };
    let expected = "
rev cba
rev cba
rev cba
news status 0.5, warning careful, two
throw error Error: boom
echo hello
background true";
    check(&library, expected);
}
