//! A gearmand, adapters and a client, each ended with the test that started it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gear_supervisor::gearman::{Client, JobEvent, ServerAddress};
use gear_supervisor::model::Priority;
use gear_supervisor::protocol::{Submission, SubmitMode};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tokio::time::timeout;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A gearmand on a port of its own.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: ServerAddress,
}

/// An adapter in a process group of its own.
pub(crate) struct Adapter {
    process: Process,
}

/// A process whose stderr is read line by line; its whole group is killed in the end.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    /// Starts gearmand; `None`, and a remark, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("gearmand");
        command.args(["--listen=127.0.0.1", "--verbose=INFO", "--log-file=stderr", "--port"]);
        let Ok(process) = Process::spawn(command.arg(port.to_string())) else {
            println!("skipped: gearmand is not installed");
            return None;
        };
        process.expect("Listening on");
        Some(Self { process, address: format!("127.0.0.1:{port}").parse().unwrap() })
    }

    /// Starts an adapter for `function` that runs a shell script, and waits until it serves.
    pub(crate) fn work(&self, options: &[&str], script: &str) -> Adapter {
        let adapter = self.work_command(options, &["sh", "-c", script]);
        adapter.expect("serving f at");
        adapter
    }

    /// Starts an adapter with any command.
    pub(crate) fn work_command<S: AsRef<OsStr>>(&self, options: &[&str], program: &[S]) -> Adapter {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gear-supervisor"));
        command.args(["work", "f", "--server", &self.address.to_string()]).args(options);
        command.arg("--").args(program);
        Adapter { process: Process::spawn(&mut command).unwrap() }
    }

    /// Starts any worker, told where the server is as a supervisor would; its stdout is read too.
    pub(crate) fn spawn(&self, command: &[&str]) -> Adapter {
        let address = self.address.to_string();
        let (host, port) = address.split_once(':').unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" >&2", "sh"]).args(command);
        shell.env("GEARMAN_HOST", host).env("GEARMAN_PORT", port);
        Adapter { process: Process::spawn(&mut shell).unwrap() }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(std::slice::from_ref(&self.address)).await.unwrap()
    }

    /// Runs a job of `f` and gives all its news but the first, that it was created.
    pub(crate) async fn run(&self, payload: impl Into<Vec<u8>>) -> Vec<JobEvent> {
        self.run_job(job(payload, SubmitMode::Foreground)).await
    }

    /// Runs any job and gives all its news but the first.
    pub(crate) async fn run_job(&self, job: Submission) -> Vec<JobEvent> {
        let mut client = self.client().await;
        let mut stream = client.submit(job);
        let mut events = Vec::new();
        let all = async {
            while let Some(event) = stream.next().await.unwrap() {
                events.push(event);
            }
        };
        timeout(DEADLINE, all).await.expect("the job did not end");
        assert!(matches!(events.remove(0), JobEvent::Created(_)));
        events
    }

    /// Stops gearmand, as a crash would.
    pub(crate) fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }
}

impl Adapter {
    /// Waits for a line on stderr that has `text` in it.
    pub(crate) fn expect(&self, text: &str) -> String {
        self.process.expect(text)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Signals the whole group, as a terminal does for Ctrl-C.
    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(self.process.pid(), signal).unwrap();
    }

    /// Waits for its end: the exit status, and the rest of its stderr.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.process.lines.recv_timeout(deadline - Instant::now()) {
                Ok(line) => rest.push_str(&(line + "\n")),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; it said:\n{rest}"),
            }
        }
        (self.process.child.wait().unwrap(), rest)
    }
}

impl Process {
    fn spawn(command: &mut Command) -> std::io::Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn()?;
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        // Ends with the process, when its stderr is closed or nobody listens.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    fn expect(&self, text: &str) -> String {
        let mut seen = String::new();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push_str(&(line + "\n")),
                Err(error) => panic!("no '{text}' ({error}); it said:\n{seen}"),
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The leader is not reaped before this, so the group is still its own.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            killpg(self.pid(), Signal::SIGKILL).unwrap();
            self.child.wait().unwrap();
        }
    }
}

pub(crate) fn job(payload: impl Into<Vec<u8>>, mode: SubmitMode) -> Submission {
    Submission {
        function: "f".into(),
        unique: "the unique".into(),
        priority: Priority::Normal,
        mode,
        payload: payload.into().into(),
    }
}

pub(crate) fn complete(result: &'static str) -> JobEvent {
    JobEvent::Complete(result.into())
}

pub(crate) fn status(numerator: &'static str, denominator: &'static str) -> JobEvent {
    JobEvent::Status { numerator: numerator.into(), denominator: denominator.into() }
}

/// A place where a program shows that it lives, and may be told to go on.
pub(crate) struct Lifeline {
    dir: tempfile::TempDir,
}

/// A program that lives, until it is seen to be gone.
pub(crate) struct Tied {
    events: Receiver<()>,
}

impl Lifeline {
    pub(crate) fn new() -> Self {
        let lifeline = Self { dir: tempfile::tempdir().unwrap() };
        mkfifo(&lifeline.up(), Mode::S_IRWXU).unwrap();
        mkfifo(&lifeline.go(), Mode::S_IRWXU).unwrap();
        lifeline
    }

    /// Shell words that tie the shell, and what it execs, to this.
    pub(crate) fn tie(&self) -> String {
        format!("exec 5>'{}'; echo up >&5;", self.up().display())
    }

    /// Shell words that wait for [`Lifeline::release`].
    pub(crate) fn wait_for_release(&self) -> String {
        format!("read -r go <'{}';", self.go().display())
    }

    pub(crate) fn release(&self) {
        std::fs::write(self.go(), "go\n").unwrap();
    }

    /// Waits until a program has tied itself.
    pub(crate) fn wait_until_up(&self) -> Tied {
        let path = self.up();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let mut fifo = std::fs::File::open(path).unwrap();
            fifo.read_exact(&mut [0; 3]).unwrap();
            sender.send(()).unwrap();
            fifo.read_to_end(&mut Vec::new()).unwrap();
            sender.send(()).ok();
        });
        events.recv_timeout(DEADLINE).expect("the program does not start");
        Tied { events }
    }

    fn up(&self) -> PathBuf {
        self.dir.path().join("up")
    }

    fn go(&self) -> PathBuf {
        self.dir.path().join("go")
    }
}

impl Tied {
    pub(crate) fn wait_until_gone(self) {
        self.events.recv_timeout(DEADLINE).expect("the program lives on");
    }
}
