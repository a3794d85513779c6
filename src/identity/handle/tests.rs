//! Real children that connect.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
/// Set in the run of one test inside another's child, with fewer rights.
const INNER: &str = "GEAR_TEST_INNER";

/// A child that is the worker of the same number, and is killed at the end.
struct Worker {
    id: u64,
    child: Child,
}

impl Worker {
    fn spawn(id: u64, command: &[&str]) -> Self {
        let (program, arguments) = command.split_first().unwrap();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { id, child }
    }

    fn candidate(&self) -> Candidate {
        Candidate { worker: WorkerId(self.id), pid: i32::try_from(self.child.id()).unwrap() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.candidate().pid);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        self.child.wait().unwrap();
    }
}

/// A bash script that connects and stays until its standard input ends.
fn connect(listener: &TcpListener) -> String {
    let port = listener.local_addr().unwrap().port();
    format!("exec 9<>/dev/tcp/127.0.0.1/{port}; read x")
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Accepts the next connection and asks whose it is.
async fn who(listener: &TcpListener, candidates: &[Candidate]) -> Option<WorkerId> {
    let (stream, peer) = listener.accept().unwrap();
    let local = stream.local_addr().unwrap();
    let identity = Identity::start().unwrap();
    let who = identity.who(Connection::Tcp { peer, local }, candidates.to_vec());
    timeout(DEADLINE, who).await.unwrap()
}

#[tokio::test]
async fn the_process_that_connected_is_found_among_others() {
    let listener = listener();
    let script = connect(&listener);
    let idle = Worker::spawn(1, &["cat"]);
    let direct = Worker::spawn(2, &["bash", "-c", &script]);
    let candidates = [idle.candidate(), direct.candidate()];
    assert_eq!(who(&listener, &candidates).await, Some(WorkerId(2)));
}

#[tokio::test]
async fn what_a_worker_starts_counts_as_the_worker() {
    let listener = listener();
    let script = connect(&listener);
    let idle = Worker::spawn(1, &["cat"]);
    let port = listener.local_addr().unwrap().port();
    let wrappers = [
        // In the place of its standard input.
        format!("exec 9<&0; bash -c 'exec 0<>/dev/tcp/127.0.0.1/{port}; read x <&9'"),
        format!("bash -c '{script}' <&0; true"),
        format!("setsid -w bash -c '{script}' <&0; true"),
        // Its parent has gone; the group is what is left.
        format!("exec 3<&0; (bash -c '{script}' <&3 &); read x"),
    ];
    for (id, wrapper) in (2..).zip(&wrappers) {
        let worker = Worker::spawn(id, &["sh", "-c", wrapper]);
        let candidates = [idle.candidate(), worker.candidate()];
        assert_eq!(who(&listener, &candidates).await, Some(WorkerId(id)), "{wrapper}");
    }
}

#[tokio::test]
async fn a_stranger_is_nobody() {
    let listener = listener();
    let stranger = Worker::spawn(1, &["bash", "-c", &connect(&listener)]);
    let idle = Worker::spawn(2, &["cat"]);
    assert_eq!(who(&listener, &[idle.candidate()]).await, None);
    drop(stranger);
}

#[tokio::test]
async fn a_unix_peer_is_found_by_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let perl = format!(
        "perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => \"{}\"); <STDIN>' <&0; true",
        path.display()
    );
    let idle = Worker::spawn(1, &["cat"]);
    let worker = Worker::spawn(2, &["sh", "-c", &perl]);
    let (stream, _) = listener.accept().unwrap();
    let credentials = nix::sys::socket::sockopt::PeerCredentials;
    let pid = nix::sys::socket::getsockopt(&stream, credentials).unwrap().pid();
    assert_ne!(pid, worker.candidate().pid);
    let identity = Identity::start().unwrap();
    let candidates = vec![idle.candidate(), worker.candidate()];
    let ask = |candidates| identity.who(Connection::Unix { pid }, candidates);
    assert_eq!(ask(candidates).await, Some(WorkerId(2)));
    assert_eq!(ask(vec![idle.candidate()]).await, None);
}

#[tokio::test]
async fn many_that_connect_at_once_are_all_found() {
    let listener = listener();
    let script = connect(&listener);
    let workers: Vec<_> = (0..30).map(|id| Worker::spawn(id, &["bash", "-c", &script])).collect();
    let candidates: Vec<_> = workers.iter().map(Worker::candidate).collect();
    let identity = Identity::start().unwrap();
    let mut streams = Vec::new();
    let mut answers = Vec::new();
    for _ in &workers {
        let (stream, peer) = listener.accept().unwrap();
        let connection = Connection::Tcp { peer, local: stream.local_addr().unwrap() };
        answers.push(identity.who(connection, candidates.clone()));
        streams.push(stream);
    }
    let answers = timeout(DEADLINE, futures_util::future::join_all(answers)).await.unwrap();
    let mut found: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().0).collect();
    found.sort_unstable();
    assert_eq!(found, (0..30).collect::<Vec<_>>());
}

/// The child's user is another and the daemon may not trace: its links are read as that user.
#[tokio::test]
async fn workers_of_other_users_are_found_by_a_root_that_may_not_trace() {
    if !geteuid().is_root() {
        return;
    }
    if std::env::var_os(INNER).is_none() {
        let test = "identity::handle::tests::\
            workers_of_other_users_are_found_by_a_root_that_may_not_trace";
        let kept = "--bounding-set=-all,+setuid,+setgid,+kill";
        let outcome = Command::new("setpriv")
            .args([kept.as_ref(), std::env::current_exe().unwrap().as_os_str()])
            .args(["--exact", test])
            .env(INNER, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
        assert!(outcome.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let listener = listener();
    let script = connect(&listener);
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let direct = [&as_nobody[..], &["bash", "-c", &script]].concat();
    let wrapper = format!("{} bash -c '{script}' <&0; true", as_nobody.join(" "));
    for (id, command) in [(1, &direct[..]), (2, &["sh", "-c", &wrapper][..])] {
        let worker = Worker::spawn(id, command);
        assert_eq!(who(&listener, &[worker.candidate()]).await, Some(WorkerId(id)));
        assert!(nix::sys::prctl::get_dumpable().unwrap());
    }
}
