//! The worker against servers that say what the test tells them to.

use std::path::Path;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::protocol::{Decoder, ErrorCode, GrabStyle, Incoming, Request, Response};

struct FakeServer {
    socket: UnixStream,
    inbound: BytesMut,
}

impl FakeServer {
    async fn accept(listener: &UnixListener) -> Self {
        Self { socket: listener.accept().await.unwrap().0, inbound: BytesMut::new() }
    }

    /// The next request; `None` when the worker hung up.
    async fn receive(&mut self) -> Option<Request> {
        loop {
            if let Some(Incoming::Frame(frame)) =
                Decoder::new(1 << 20).next(&mut self.inbound).unwrap()
            {
                return Some(Request::decode(frame).unwrap());
            }
            if self.socket.read_buf(&mut self.inbound).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn expect(&mut self, wanted: Request) {
        assert_eq!(self.receive().await, Some(wanted));
    }

    async fn send(&mut self, response: Response) {
        let mut wire = BytesMut::new();
        response.encode(&mut wire);
        self.socket.write_all(&wire).await.unwrap();
    }

    /// Takes a new connection up to the worker's first sleep.
    async fn put_to_sleep(&mut self) {
        self.expect(Request::SetClientId("me".into())).await;
        self.expect(Request::CanDo { function: "f".into(), timeout: None }).await;
        self.expect(Request::Grab(GrabStyle::Unique)).await;
        self.send(Response::NoJob).await;
        self.expect(Request::PreSleep).await;
    }

    /// Wakes the worker and gives it a job.
    async fn give(&mut self, handle: &'static str) {
        self.send(Response::Noop).await;
        self.expect(Request::Grab(GrabStyle::Unique)).await;
        let unique = Some("u".into());
        let (handle, function) = (handle.into(), "f".into());
        let (reducer, payload) = (None, "p".into());
        self.send(Response::JobAssign { handle, function, unique, reducer, payload }).await;
    }
}

fn listen(path: &Path) -> (UnixListener, ServerAddress) {
    (UnixListener::bind(path).unwrap(), ServerAddress::Unix(path.to_owned()))
}

fn worker(servers: Vec<ServerAddress>) -> Worker {
    Worker::new(servers, vec!["f".into()]).with_client_id("me")
}

async fn job(worker: &mut Worker) -> Assignment {
    loop {
        if let WorkerEvent::Job(job) = worker.next_event().await {
            return job;
        }
    }
}

fn complete() -> WorkReport {
    WorkReport::Complete("r".into())
}

#[tokio::test]
async fn a_worker_sleeps_until_there_is_a_job_and_reports_it() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, address) = listen(&dir.path().join("s"));
    let serve = async {
        let mut server = FakeServer::accept(&listener).await;
        server.put_to_sleep().await;
        server.give("H:1").await;
        server.expect(Request::Work { handle: "H:1".into(), report: complete() }).await;
        server.expect(Request::Grab(GrabStyle::Unique)).await;
    };
    let work = async {
        let mut worker = worker(vec![address]);
        let job = job(&mut worker).await;
        assert_eq!((&job.handle[..], &job.payload[..]), (&b"H:1"[..], &b"p"[..]));
        assert_eq!((job.function.clone(), job.unique.clone()), ("f".into(), "u".into()));
        worker.report(&job, complete()).await.unwrap();
        worker.next_event().await;
    };
    tokio::select! { () = serve => {}, () = work => panic!("an event too many") }
}

#[tokio::test]
async fn a_job_given_back_is_not_answered_and_the_worker_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, address) = listen(&dir.path().join("s"));
    let serve = async {
        let mut server = FakeServer::accept(&listener).await;
        server.put_to_sleep().await;
        server.give("H:1").await;
        assert_eq!(server.receive().await, None);
        FakeServer::accept(&listener).await.put_to_sleep().await;
    };
    let work = async {
        let mut worker = worker(vec![address]);
        let first = job(&mut worker).await;
        worker.give_back(&first);
        assert!(worker.report(&first, complete()).await.is_err());
        job(&mut worker).await;
    };
    tokio::select! { () = serve => {}, () = work => panic!("an event too many") }
}

#[tokio::test]
async fn a_lost_server_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, address) = listen(&dir.path().join("s"));
    let serve = async {
        FakeServer::accept(&listener).await.put_to_sleep().await;
        FakeServer::accept(&listener).await.put_to_sleep().await;
    };
    let mut told = Vec::new();
    let work = async {
        let mut worker = worker(vec![address]);
        loop {
            told.push(match worker.next_event().await {
                WorkerEvent::Connected(_) => "connected",
                WorkerEvent::Lost { error: ConnectionError::Closed, .. } => "lost",
                other => panic!("{other:?}"),
            });
        }
    };
    tokio::select! { () = serve => {}, () = work => {} }
    assert_eq!(told[..3], ["connected", "lost", "connected"]);
}

#[tokio::test]
async fn a_dead_server_does_not_keep_the_worker_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, address) = listen(&dir.path().join("s"));
    let dead = ServerAddress::Unix(dir.path().join("nobody"));
    let serve = async {
        let mut server = FakeServer::accept(&listener).await;
        server.put_to_sleep().await;
        server.give("H:1").await;
        server.receive().await
    };
    let mut worker = worker(vec![dead, address]);
    let (_, job) = tokio::join!(serve, async {
        let job = job(&mut worker).await;
        worker.report(&job, complete()).await.unwrap();
        job
    });
    assert_eq!(&job.handle[..], b"H:1");
}

#[tokio::test]
async fn servers_take_turns_and_only_one_is_asked_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (first, address1) = listen(&dir.path().join("1"));
    let (second, address2) = listen(&dir.path().join("2"));
    let serve = async {
        let mut first = FakeServer::accept(&first).await;
        let mut second = FakeServer::accept(&second).await;
        first.put_to_sleep().await;
        second.put_to_sleep().await;
        first.give("H:1").await;
        // Woken while the first one's job is in hand: it has to wait, and is next.
        second.send(Response::Noop).await;
        first.expect(Request::Work { handle: "H:1".into(), report: complete() }).await;
        second.expect(Request::Grab(GrabStyle::Unique)).await;
        second.send(Response::NoJob).await;
        first.expect(Request::Grab(GrabStyle::Unique)).await;
    };
    let work = async {
        let mut worker = worker(vec![address1, address2]);
        let job = job(&mut worker).await;
        worker.report(&job, complete()).await.unwrap();
        worker.next_event().await;
    };
    tokio::select! { () = serve => {}, () = work => panic!("an event too many") }
}

#[tokio::test]
async fn a_refused_report_is_told_and_the_work_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, address) = listen(&dir.path().join("s"));
    let serve = async {
        let mut server = FakeServer::accept(&listener).await;
        server.put_to_sleep().await;
        server.send(Response::error(ErrorCode::JobNotFound, "Job does not exist")).await;
        server.give("H:2").await;
        server.receive().await
    };
    let work = async {
        let mut worker = worker(vec![address]);
        worker.next_event().await;
        let refused = worker.next_event().await;
        let WorkerEvent::Refused { text, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(text, "JOB_NOT_FOUND: Job does not exist");
        let job = job(&mut worker).await;
        worker.report(&job, WorkReport::Fail).await.unwrap();
    };
    tokio::join!(serve, work);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_a_grab_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (_listener, address) = listen(&dir.path().join("s"));
    let mut worker = worker(vec![address]);
    assert!(matches!(worker.next_event().await, WorkerEvent::Connected(_)));
    let event = worker.next_event().await;
    assert!(matches!(event, WorkerEvent::Lost { error: ConnectionError::Silent(_), .. }));
}
