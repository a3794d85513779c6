//! Turns of connections, one at a time.

use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::connection;
use super::core::{Core, Turn};
use super::ledger::Ledger;
use super::session::Sends;
use super::shell::Shell;
use super::stream::Stream;
use crate::broker::state::State;
use crate::broker::state::tests::settings;
use crate::broker::store::{MemoryStore, StoreThread};
use crate::model::SessionId;
use crate::protocol::{Decoder, Reader, Request};

const PACKET_LEN_MAX: usize = 1 << 20;

fn core() -> Core {
    let settings = settings(1, 1000);
    let started_at = settings.started_at;
    let (store, _) = StoreThread::start(Box::new(MemoryStore::new("H:x", started_at))).unwrap();
    let (events, _) = mpsc::channel(1);
    Core::new(State::new(settings), Ledger::new(store), None, events, PACKET_LEN_MAX)
}

/// A connection to the core, and the client's end of it.
fn connect(core: &mut Core) -> (SessionId, UnixStream) {
    let (ours, client) = UnixStream::pair().unwrap();
    let (session, _) = core.open(&Rc::new(Stream::Unix(ours)), None).unwrap();
    (session, client)
}

/// How many packets lie in the client's socket.
fn answers(client: &UnixStream) -> usize {
    let mut buffer = BytesMut::with_capacity(1 << 20);
    if client.try_read_buf(&mut buffer).is_err() {
        return 0;
    }
    let decoder = Decoder::new(PACKET_LEN_MAX);
    std::iter::from_fn(|| decoder.next(&mut buffer).unwrap()).count()
}

fn echoes(count: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    for _ in 0..count {
        Request::Echo("x".into()).encode(&mut bytes);
    }
    bytes
}

#[tokio::test]
async fn a_flood_of_packets_is_cut_into_turns_and_another_connection_comes_between() {
    let mut core = core();
    let (flood, mut many) = connect(&mut core);
    let (other, mut one) = connect(&mut core);
    many.write_all(&echoes(400)).await.unwrap();
    one.write_all(&echoes(1)).await.unwrap();
    core.sessions[&flood].stream.readable().await.unwrap();
    core.sessions[&other].stream.readable().await.unwrap();

    let (mut reader, mut others) = (Reader::default(), Reader::default());
    assert_eq!(core.turn(flood, &mut reader), Turn::Cut);
    assert_eq!(core.turn(other, &mut others), Turn::Done);
    many.readable().await.unwrap();
    one.readable().await.unwrap();
    assert_eq!((answers(&many), answers(&one)), (128, 1));

    let mut rest = Vec::new();
    while reader.backlog {
        core.turn(flood, &mut reader);
        many.readable().await.unwrap();
        rest.push(answers(&many));
    }
    assert_eq!(rest, [128, 128, 16], "nothing is lost where a turn is cut");
}

#[tokio::test]
async fn a_turn_takes_fewer_registrations_than_other_packets() {
    let mut core = core();
    let (worker, mut client) = connect(&mut core);
    let mut bytes = BytesMut::new();
    for n in 0..100 {
        let function = format!("f{n}").as_str().into();
        Request::CanDo { function, timeout: None }.encode(&mut bytes);
    }
    client.write_all(&bytes).await.unwrap();
    core.sessions[&worker].stream.readable().await.unwrap();
    let mut reader = Reader::default();
    let turns = [(); 4].map(|()| core.turn(worker, &mut reader));
    assert_eq!(turns, [Turn::Cut, Turn::Cut, Turn::Cut, Turn::Done]);
}

#[tokio::test]
async fn a_turn_takes_at_most_64_kib_however_much_has_come() {
    let mut core = core();
    let (flood, mut client) = connect(&mut core);
    let mut bytes = BytesMut::new();
    for _ in 0..3 {
        Request::Echo(vec![b'x'; 40_000].into()).encode(&mut bytes);
    }
    client.write_all(&bytes).await.unwrap();
    core.sessions[&flood].stream.readable().await.unwrap();
    let mut reader = Reader::default();
    assert_eq!(core.turn(flood, &mut reader), Turn::Cut);
    client.readable().await.unwrap();
    assert_eq!(answers(&client), 1, "the second packet came only in part");
}

#[tokio::test]
async fn who_sends_little_waits_for_few_turns_of_those_who_send_much() {
    const MANY: usize = 200;
    const ASKED: usize = 20;
    let shell = Rc::new(Shell::new(core()));
    let mut floods = Vec::new();
    let asking = async {
        for _ in 0..MANY {
            let (ours, mut client) = UnixStream::pair().unwrap();
            client.write_all(&echoes(5000)).await.unwrap();
            connection::start(&shell, Stream::Unix(ours), None);
            floods.push(client);
        }
        let (ours, mut little) = UnixStream::pair().unwrap();
        connection::start(&shell, Stream::Unix(ours), None);
        for _ in 0..ASKED {
            little.write_all(&echoes(1)).await.unwrap();
            little.read_exact(&mut [0; 13]).await.unwrap();
        }
    };
    LocalSet::new().run_until(asking).await;
    let mut answered = 0;
    for client in &floods {
        client.readable().await.unwrap();
        answered += answers(client);
    }
    assert!(answered < ASKED * MANY * 128 / 4, "{answered} packets of others were before");
}

#[tokio::test]
async fn a_connection_with_many_functions_that_has_gone_is_forgotten_in_a_turn_of_its_own() {
    let mut core = core();
    let mut reader = Reader::default();
    for (functions, wanted) in [(1, Turn::Ended), (300, Turn::Leaving)] {
        let (session, mut client) = connect(&mut core);
        let mut bytes = BytesMut::new();
        for n in 0..functions {
            let function = format!("f{n}").as_str().into();
            Request::CanDo { function, timeout: None }.encode(&mut bytes);
        }
        client.write_all(&bytes).await.unwrap();
        core.sessions[&session].stream.readable().await.unwrap();
        while core.turn(session, &mut reader) == Turn::Cut {}
        drop(client);
        core.sessions[&session].stream.readable().await.unwrap();
        assert_eq!(core.turn(session, &mut reader), wanted);
        assert_eq!(core.sessions.contains_key(&session), wanted == Turn::Leaving);
        core.leave(session);
        assert!(core.sessions.is_empty());
    }
}

#[tokio::test]
async fn packets_that_are_looked_at_first_are_taken_once() {
    let mut core = core();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let fd = accepted.as_raw_fd();
    let stream = Rc::new(Stream::Tcp(accepted));
    let (session, _) = core.open(&stream, None).unwrap();
    let mut reader = Reader::default();
    for (count, sends) in [(2, Sends::Pairs), (2, Sends::Pairs), (200, Sends::Otherwise)] {
        client.write_all(&echoes(count)).await.unwrap();
        let mut answers = vec![0; 13 * count];
        let mut answered = pin!(client.read_exact(&mut answers));
        loop {
            tokio::select! {
                biased;
                read = &mut answered => break assert_eq!(read.unwrap(), 13 * count),
                ready = stream.readable() => ready.unwrap(),
            }
            core.turn(session, &mut reader);
            while reader.backlog {
                core.turn(session, &mut reader);
            }
        }
        assert_eq!(core.sessions[&session].sends, sends, "{count} packets");
        let left = recv(fd, &mut [0; 64], MsgFlags::MSG_DONTWAIT);
        assert_eq!(left, Err(Errno::EAGAIN), "{count} packets");
    }
}
