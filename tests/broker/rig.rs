//! A broker for one test, in this process or in a child of it, and a client of raw packets.

use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gear_supervisor::broker::server::{
    Broker, BrokerOptions, BrokerStartError, BrokerThread, SocketOptions,
};
use gear_supervisor::broker::state::Habits;
use gear_supervisor::broker::store::StateDir;
use gear_supervisor::broker::{BrokerEvent, BrokerGone, BrokerHandle, Command, JobView, JobsQuery};
use gear_supervisor::config::{ListenAddress, StoreKind};
use gear_supervisor::model::{FunctionName, Priority};
use gear_supervisor::protocol::{
    Decoder, GrabStyle, Incoming, Request, Response, Submission, SubmitMode, WorkReport,
};
use tokio::sync::{mpsc, oneshot};

/// How long a test waits for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);
/// Largest packet in tests.
pub(crate) const PACKET_LEN_MAX: usize = 4 << 20;
/// Tells a child of the test program to serve a broker on this state folder.
const SERVE: &str = "GEAR_TEST_SERVE";
/// Bytes of payloads that the child holds in memory.
pub(crate) const SERVE_MEMORY: &str = "GEAR_TEST_SERVE_MEMORY";
/// The child's limit of open files.
const SERVE_FILES: &str = "GEAR_TEST_SERVE_FILES";

/// A broker in this process.
pub(crate) struct Rig {
    pub(crate) handle: BrokerHandle,
    pub(crate) events: mpsc::Receiver<BrokerEvent>,
    thread: BrokerThread,
}

pub(crate) fn loopback() -> ListenAddress {
    ListenAddress::Tcp(([127, 0, 0, 1], 0).into())
}

pub(crate) fn start(
    folder: &Path,
    store: StoreKind,
    listen: Vec<ListenAddress>,
) -> Result<Rig, BrokerStartError> {
    let (sender, events) = mpsc::channel(64);
    let options = BrokerOptions {
        listen,
        packet_len_max: PACKET_LEN_MAX,
        memory_budget: memory_budget(),
        store,
        state_dir: Arc::new(StateDir::open(folder).unwrap()),
        attempts_max: 3,
        habits: Habits::default(),
        handle_prefix: None,
        rules: Arc::default(),
        sockets: SocketOptions::default(),
        events: sender,
    };
    let (handle, thread) = Broker::start(options)?;
    Ok(Rig { handle, events, thread })
}

/// Small in children that ask for it.
fn memory_budget() -> usize {
    env::var(SERVE_MEMORY).map_or(64 << 20, |bytes| bytes.parse().unwrap())
}

impl Rig {
    pub(crate) fn new(folder: &Path) -> Self {
        start(folder, StoreKind::Disk, vec![loopback()]).unwrap()
    }

    pub(crate) fn addresses(&self) -> &[ListenAddress] {
        self.thread.addresses()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.addresses()[0] {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => panic!("{} is no TCP address", path.display()),
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address()).unwrap())
    }

    pub(crate) fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, BrokerGone> {
        wait_for(self.handle.ask(command))
    }

    pub(crate) fn tell(&self, command: Command) {
        wait_for(self.handle.tell(command)).unwrap();
    }

    /// Jobs that wait or run, the oldest first.
    pub(crate) fn jobs(&self, function: Option<FunctionName>) -> Vec<JobView> {
        let query = JobsQuery { function, limit: 100, ..JobsQuery::default() };
        self.ask(|reply| Command::Jobs { query, reply }).unwrap()
    }

    pub(crate) fn stop(self) {
        self.ask(Command::Shutdown).unwrap();
        self.thread.join().unwrap();
    }
}

pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(WITHIN, future).await.unwrap() })
}

/// A client or a worker of raw packets.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream.set_write_timeout(Some(WITHIN)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: BytesMut::new() }
    }

    /// The same connection for another thread.
    pub(crate) fn try_clone(&self) -> Self {
        Self::new(self.stream.try_clone().unwrap())
    }

    pub(crate) fn send(&mut self, request: &Request) {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes);
        self.send_raw(&bytes);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn recv(&mut self) -> Response {
        loop {
            let decoder = Decoder::new(2 * PACKET_LEN_MAX);
            match decoder.next(&mut self.buffer).unwrap() {
                Some(Incoming::Frame(frame)) => return Response::decode(frame).unwrap().unwrap(),
                Some(Incoming::Line(line)) => panic!("text: {line:?}"),
                None => assert!(self.fill(), "the broker closed the connection"),
            }
        }
    }

    /// What one read returns.
    pub(crate) fn recv_text(&mut self) -> String {
        self.fill();
        String::from_utf8(self.buffer.split().to_vec()).unwrap()
    }

    /// True when the broker closed the connection without sending anything more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// Reads once; false at the end.
    fn fill(&mut self) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(len) => {
                self.buffer.extend_from_slice(&chunk[..len]);
                len > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // A signal ends a read with a timeout, also one whose handler restarts calls.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        self.send(request);
        self.recv()
    }

    /// Submits and returns the handle.
    pub(crate) fn submit(&mut self, job: Submission) -> Bytes {
        self.send(&Request::Submit(job));
        self.created()
    }

    /// The handle of the next JOB_CREATED.
    pub(crate) fn created(&mut self) -> Bytes {
        match self.recv() {
            Response::JobCreated(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn can_do(&mut self, function: &str) {
        self.send(&Request::CanDo { function: function.into(), timeout: None });
    }

    /// Grabs until there is a job; its handle and payload.
    pub(crate) fn grab(&mut self) -> (Bytes, Bytes) {
        loop {
            match self.ask(&Request::Grab(GrabStyle::Plain)) {
                Response::JobAssign { handle, payload, .. } => return (handle, payload),
                Response::NoJob => self.send(&Request::PreSleep),
                Response::Noop => continue,
                other => panic!("{other:?}"),
            }
            assert_eq!(self.recv(), Response::Noop);
        }
    }

    pub(crate) fn complete(&mut self, handle: &Bytes, result: &str) {
        let report = WorkReport::Complete(Bytes::copy_from_slice(result.as_bytes()));
        self.send(&Request::Work { handle: handle.clone(), report });
    }

    /// Waits until everything sent before was handled.
    pub(crate) fn sync(&mut self) {
        let mark = Bytes::from_static(b"sync");
        assert_eq!(self.ask(&Request::Echo(mark.clone())), Response::Echo(mark));
    }
}

pub(crate) fn job(function: &str, payload: &str, mode: SubmitMode) -> Submission {
    Submission {
        function: function.into(),
        unique: "".into(),
        priority: Priority::Normal,
        mode,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// A broker in a child process, which can be killed as the power cut would.
pub(crate) struct ChildBroker {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl ChildBroker {
    /// `files`: how many the child may open.
    pub(crate) fn new(folder: &Path, files: Option<u64>) -> Self {
        let files = files.map(|files| (SERVE_FILES, files.to_string()));
        Self::with(folder, files)
    }

    /// A child with more in its environment.
    pub(crate) fn with(
        folder: &Path,
        env: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut program = Program::new(env::current_exe().unwrap());
        program.args(["--exact", "rig::child_serves", "--nocapture"]);
        program.env(SERVE, folder).envs(env).stdout(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("serving ").map(str::to_owned))
            .expect("the child ended before it served");
        Self { address: address.parse().unwrap(), child }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }
}

impl Drop for ChildBroker {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// No test of its own: what [`ChildBroker`] runs.
#[test]
fn child_serves() {
    use nix::sys::resource::{Resource, setrlimit};

    let Some(folder) = env::var_os(SERVE) else { return };
    if let Ok(files) = env::var(SERVE_FILES) {
        let files = files.parse().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, files, files).unwrap();
    }
    let rig = Rig::new(Path::new(&folder));
    // A line of its own: the test harness has begun one.
    println!("\nserving {}", rig.address());
    loop {
        std::thread::park();
    }
}
