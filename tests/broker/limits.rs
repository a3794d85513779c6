//! Peers that send or take too much, or too little.

use std::io::Write as _;
use std::net::TcpStream;

use bytes::Bytes;
use gear_supervisor::protocol::{ErrorCode, Request, Response, SubmitMode, WorkReport};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::rig::{ChildBroker, Client, PACKET_LEN_MAX, Rig, WITHIN, job};

#[test]
fn garbage_is_closed_without_a_word_and_others_are_served_on() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut other = rig.connect();
    other.sync();
    let garbage: [&[u8]; 4] = [
        b"\0XYZ\0\0\0\x07\0\0\0\0",
        b"\0REQ\0\0\0\0\0\0\0\0",
        b"\0REQ\x80\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ];
    for bytes in garbage {
        let mut client = rig.connect();
        client.send_raw(bytes);
        assert!(client.is_closed(), "{bytes:?}");
        other.sync();
    }
}

#[test]
fn a_line_without_an_end_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    // The broker may close before all of it is written.
    client.stream.write_all(&vec![b'x'; 20_000]).unwrap_or_default();
    assert!(client.is_closed());
}

#[test]
fn a_claim_of_4_gib_is_refused_with_an_error_after_what_is_still_owed() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    let mut bytes = bytes::BytesMut::new();
    Request::Submit(job("f", "x", SubmitMode::Background)).encode(&mut bytes);
    bytes.extend_from_slice(b"\0REQ\0\0\0\x07\xff\xff\xff\xfff\0\0");
    // More follows, as from a client that really sends it.
    bytes.extend_from_slice(&vec![b'x'; 100_000]);
    client.send_raw(&bytes);
    assert!(matches!(client.recv(), Response::JobCreated(_)));
    let Response::Error { code, text } = client.recv() else { panic!("no error") };
    assert_eq!(code, ErrorCode::InvalidPacket.as_str());
    let wanted =
        format!("a packet of 4294967295 bytes is above max_packet ({PACKET_LEN_MAX} bytes)");
    assert_eq!(text, wanted);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_never_reads_is_dropped_and_the_worker_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let (mut client, mut worker) = (rig.connect(), rig.connect());
    worker.can_do("flood");
    client.submit(job("flood", "", SubmitMode::Foreground));
    let (handle, _) = worker.grab();
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..80 {
        let report = WorkReport::Data(chunk.clone());
        worker.send(&Request::Work { handle: handle.clone(), report });
        worker.sync();
    }
    let overview = rig.ask(gear_supervisor::broker::Command::Overview).unwrap();
    assert_eq!(overview.sessions, 1, "the client is still there");
    worker.complete(&handle, "");
    worker.sync();
}

/// It pipelines requests and reads nothing: we stop reading, and owe no more than we took.
#[test]
fn a_client_that_asks_without_reading_is_not_read_any_further() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    client.stream.set_nonblocking(true).unwrap();
    let mut request = bytes::BytesMut::new();
    Request::Echo(Bytes::from(vec![b'x'; 1 << 20])).encode(&mut request);
    let mut taken = 0;
    let (mut at, deadline) = (0, std::time::Instant::now() + WITHIN);
    let mut refusals = 0;
    // When a round trip of another connection changes nothing, the broker has stopped reading.
    while refusals < 3 {
        assert!(std::time::Instant::now() < deadline && taken < 256 << 20, "it reads on and on");
        if let Ok(len) = client.stream.write(&request[at..]) {
            (taken, refusals) = (taken + len, 0);
            at = (at + len) % request.len();
        } else {
            rig.connect().sync();
            refusals += 1;
        }
    }
}

#[test]
fn two_thousand_connections_are_served() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < 5000 {
        eprintln!("skipped: only {hard} files may be opened here");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(5000), hard).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut clients: Vec<Client> = (0..2000).map(|_| rig.connect()).collect();
    for client in &mut clients {
        client.send(&Request::Echo("sync".into()));
    }
    for client in &mut clients {
        assert_eq!(client.recv(), Response::Echo("sync".into()));
    }
    let overview = rig.ask(gear_supervisor::broker::Command::Overview).unwrap();
    assert_eq!(overview.sessions, 2000);
}

#[test]
fn with_no_file_left_connections_are_refused_and_those_that_are_there_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let broker = ChildBroker::new(folder.path(), Some(40));
    let mut first = broker.connect();
    first.sync();
    let mut many: Vec<Client> = (0..60).map(|_| broker.connect()).collect();
    // The last one is refused by being closed; the broker answers the first all the while.
    assert!(many.pop().unwrap().is_closed());
    first.sync();
    drop(many);
    let deadline = std::time::Instant::now() + WITHIN;
    loop {
        assert!(std::time::Instant::now() < deadline, "it accepts nobody any more");
        let mut client = Client::new(TcpStream::connect(broker.address).unwrap());
        client.send_raw(b"version\n");
        if client.recv_text().starts_with("OK ") {
            break;
        }
    }
}
