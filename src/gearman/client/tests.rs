//! The client against a server that says what the test tells it to.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::model::Priority;
use crate::protocol::{Decoder, ErrorCode, Incoming};

struct FakeServer {
    socket: DuplexStream,
    inbound: BytesMut,
}

impl FakeServer {
    async fn receive(&mut self) -> Request {
        loop {
            if let Some(Incoming::Frame(frame)) =
                Decoder::new(1 << 20).next(&mut self.inbound).unwrap()
            {
                return Request::decode(frame).unwrap();
            }
            assert_ne!(self.socket.read_buf(&mut self.inbound).await.unwrap(), 0, "hung up");
        }
    }

    async fn send(&mut self, responses: &[Response]) {
        let mut wire = BytesMut::new();
        for response in responses {
            response.encode(&mut wire);
        }
        self.socket.write_all(&wire).await.unwrap();
    }
}

fn pair() -> (Client, FakeServer) {
    let (ours, socket) = duplex(1 << 16);
    (Client::over(Connection::over(ours)), FakeServer { socket, inbound: BytesMut::new() })
}

fn job(mode: SubmitMode) -> Submission {
    Submission {
        function: "f".into(),
        unique: "u".into(),
        priority: Priority::Normal,
        mode,
        payload: "p".into(),
    }
}

fn created(handle: &'static str) -> Response {
    Response::JobCreated(handle.into())
}

fn work(handle: &'static str, report: WorkReport) -> Response {
    Response::Work { handle: handle.into(), report }
}

#[tokio::test]
async fn a_foreground_job_tells_its_story_and_ends() {
    let (mut client, mut server) = pair();
    let status = WorkReport::Status { numerator: "1".into(), denominator: "2".into() };
    server
        .send(&[
            Response::Option(EXCEPTIONS.into()),
            created("H:1"),
            work("H:other", WorkReport::Fail),
            work("H:1", WorkReport::Data("a".into())),
            work("H:1", status),
            work("H:1", WorkReport::Complete("b".into())),
        ])
        .await;
    let mut stream = client.submit(job(SubmitMode::Foreground));
    let mut story = Vec::new();
    while let Some(event) = stream.next().await.unwrap() {
        story.push(event);
    }
    let wanted = [
        JobEvent::Created("H:1".into()),
        JobEvent::Data("a".into()),
        JobEvent::Status { numerator: "1".into(), denominator: "2".into() },
        JobEvent::Complete("b".into()),
    ];
    assert_eq!(story, wanted);
    assert_eq!(server.receive().await, Request::Option(EXCEPTIONS.into()));
    assert_eq!(server.receive().await, Request::Submit(job(SubmitMode::Foreground)));
}

#[tokio::test]
async fn a_background_job_has_a_handle_and_no_more_news() {
    let (mut client, mut server) = pair();
    server.send(&[Response::Option(EXCEPTIONS.into()), created("H:1")]).await;
    let handle = client.submit_background(job(SubmitMode::Foreground)).await.unwrap();
    assert_eq!(&handle[..], b"H:1");
    server.receive().await;
    assert_eq!(server.receive().await, Request::Submit(job(SubmitMode::Background)));
}

#[tokio::test]
async fn a_server_without_the_exceptions_option_serves_all_the_same() {
    let (mut client, mut server) = pair();
    let unknown = Response::error(ErrorCode::UnknownOption, "what?");
    server.send(&[unknown, created("H:1")]).await;
    assert!(client.submit_background(job(SubmitMode::Background)).await.is_ok());
}

#[tokio::test]
async fn a_refusal_has_the_servers_words() {
    let (mut client, mut server) = pair();
    let full = Response::error(ErrorCode::QueueError, "Job queue is full");
    server.send(&[Response::Option(EXCEPTIONS.into()), full]).await;
    let error = client.submit_background(job(SubmitMode::Background)).await.unwrap_err();
    let wanted = "the Gearman server refused: QUEUE_ERROR: Job queue is full";
    assert_eq!(error.to_string(), wanted);
}

#[tokio::test]
async fn an_answer_to_a_dropped_submission_is_not_taken_for_the_next_ones() {
    let (mut client, mut server) = pair();
    drop(client.submit(job(SubmitMode::Foreground)));
    server.send(&[Response::Option(EXCEPTIONS.into()), created("H:1"), created("H:2")]).await;
    let handle = client.submit_background(job(SubmitMode::Background)).await.unwrap();
    assert_eq!(&handle[..], b"H:2");
}

#[tokio::test]
async fn the_status_of_a_job_is_asked_for_by_handle() {
    let (mut client, mut server) = pair();
    let status = JobStatus { known: true, running: true, ..JobStatus::default() };
    let answer = |handle: &'static str, status| Response::Status { handle: handle.into(), status };
    server
        .send(&[
            Response::Option(EXCEPTIONS.into()),
            answer("H:2", JobStatus::default()),
            answer("H:1", status),
        ])
        .await;
    let got = client.status("H:1".into()).await.unwrap();
    assert!(got.known && got.running);
}

#[tokio::test]
async fn no_server_is_an_error_and_not_a_wait() {
    assert!(matches!(Client::connect(&[]).await, Err(ClientError::NoServer)));
}
