//! Connections, packets and listeners.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use bytes::{Bytes, BytesMut};
use gear_supervisor::broker::{BrokerEvent, Command};
use gear_supervisor::config::{ListenAddress, StoreKind};
use gear_supervisor::model::Drain;
use gear_supervisor::model::{Exit, PoolName, WorkerId};
use gear_supervisor::protocol::{Request, Response, SubmitMode, WorkReport};

use crate::rig::{Client, Rig, job, loopback, start, wait_for};

#[test]
fn a_job_goes_to_a_worker_and_its_result_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let (mut client, mut worker) = (rig.connect(), rig.connect());
    worker.can_do("reverse");
    let handle = client.submit(job("reverse", "abc", SubmitMode::Foreground));
    assert_eq!(worker.grab(), (handle.clone(), Bytes::from_static(b"abc")));
    worker.complete(&handle, "cba");
    let report = WorkReport::Complete("cba".into());
    assert_eq!(client.recv(), Response::Work { handle, report });
    rig.stop();
}

#[test]
fn packets_are_understood_however_they_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    let mut bytes = BytesMut::new();
    for payload in ["first", "second"] {
        Request::Submit(job("f", payload, SubmitMode::Background)).encode(&mut bytes);
    }
    for byte in &bytes {
        client.send_raw(std::slice::from_ref(byte));
    }
    let handles = [client.recv(), client.recv()];
    assert!(handles.iter().all(|reply| matches!(reply, Response::JobCreated(_))), "{handles:?}");
    assert_ne!(handles[0], handles[1]);
}

#[test]
fn a_large_packet_passes_whole() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut client = rig.connect();
    let data: Vec<u8> = (0..3 << 20).map(|at: u32| at.to_le_bytes()[at as usize % 3]).collect();
    let data = Bytes::from(data);
    assert_eq!(client.ask(&Request::Echo(data.clone())), Response::Echo(data));
}

/// mod_gearman reads the answers to both with a single read.
#[test]
fn two_text_commands_in_one_write_are_answered_in_one_read() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut worker = rig.connect();
    for number in 0..200 {
        worker.can_do(&format!("a_function_with_a_long_name_{number}"));
    }
    worker.sync();
    let mut client = rig.connect();
    client.send_raw(b"status\nversion\n");
    let text = client.recv_text();
    assert!(text.starts_with("a_function_with"), "{text}");
    assert!(text.ends_with(&format!("\n.\nOK {}\n", env!("CARGO_PKG_VERSION"))), "{text}");
}

#[test]
fn a_unix_socket_serves_and_its_file_goes_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gearman.sock");
    let listen = vec![ListenAddress::Unix(path.clone())];
    let rig = start(&folder.path().join("state"), StoreKind::Memory, listen).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"version\n").unwrap();
    let mut reply = [0; 3];
    std::io::Read::read_exact(&mut client, &mut reply).unwrap();
    assert_eq!(&reply, b"OK ");
    rig.stop();
    assert!(!path.exists());
}

#[test]
fn a_held_port_keeps_the_broker_from_starting_and_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = vec![ListenAddress::Tcp(holder.local_addr().unwrap())];
    let Err(error) = start(folder.path(), StoreKind::Disk, listen) else { panic!("it started") };
    assert!(error.is_held());
    let pid = format!("(pid {}); stop that one, or set another", std::process::id());
    assert!(error.to_string().contains(&pid), "{error}");
}

#[test]
fn listeners_change_while_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let mut old = rig.connect();
    old.sync();
    let path = folder.path().join("new.sock");
    let addresses = vec![ListenAddress::Unix(path.clone())];
    rig.ask(|reply| Command::Listen { addresses, reply }).unwrap().unwrap();
    UnixStream::connect(&path).unwrap();
    old.sync();
    let refused = std::net::TcpStream::connect(rig.address());
    assert!(refused.is_err(), "the old listener is still there");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = vec![ListenAddress::Tcp(holder.local_addr().unwrap())];
    let failed = rig.ask(|reply| Command::Listen { addresses, reply }).unwrap();
    assert!(failed.unwrap_err().contains("is held by"));
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_wildcard_takes_over_the_port_of_the_loopback_listener() {
    let folder = tempfile::tempdir().unwrap();
    let rig = start(folder.path(), StoreKind::Memory, vec![loopback()]).unwrap();
    let port = rig.address().port();
    let on = |ip: [u8; 4]| vec![ListenAddress::Tcp((ip, port).into())];
    for ip in [[127, 0, 0, 1], [0, 0, 0, 0], [127, 0, 0, 1]] {
        let addresses = on(ip);
        rig.ask(|reply| Command::Listen { addresses, reply }).unwrap().unwrap();
        rig.connect().sync();
    }
}

#[test]
fn what_comes_through_a_private_listener_is_the_workers() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let worker = WorkerId(7);
    let name = "thumbnails".parse::<PoolName>().unwrap().worker(3);
    rig.tell(Command::Admit { worker, name, listener });
    let mut process = Client::new(std::net::TcpStream::connect(address).unwrap());
    process.can_do("resize");
    process.sync();
    let registered = wait_for(rig.events.recv());
    assert_eq!(registered, Some(BrokerEvent::Registered(worker)));
    let overview = rig.ask(Command::Overview).unwrap();
    assert_eq!(overview.workers[&worker].sessions, 1);

    let handle = rig.connect().submit(job("resize", "a.png", SubmitMode::Background));
    assert_eq!(process.grab().0, handle);
    let busy = rig.ask(|reply| Command::DrainIfIdle { worker, reply }).unwrap();
    assert_eq!(busy, Drain::Busy(String::from_utf8(handle.to_vec()).unwrap()));
    let drained = std::thread::scope(|scope| {
        let drained = scope.spawn(|| rig.ask(|reply| Command::Drain { worker, reply }));
        process.complete(&handle, "");
        drained.join().unwrap()
    });
    assert_eq!(drained, Ok(()));
    rig.tell(Command::Gone { worker, exit: Exit::Code(0) });
    rig.ask(Command::Overview).unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "its listener is still there");
}
