//! The rules with workers and servers that are played by hand.

mod draining;
mod grabbing;
mod questions;
mod submitting;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::protocol::{Frame, Kind, Magic};

const WORKER: WorkerId = WorkerId(7);
const SESSION: SessionId = SessionId(1);

/// The rules, what they said, and the clock.
struct Scene {
    state: State,
    fx: Effects,
    now: Instant,
}

fn frame(magic: Magic, kind: Kind, parts: &[&str]) -> Frame {
    Frame { magic, kind, body: Bytes::from(parts.join("\0")) }
}

impl Scene {
    /// One worker, connected, with nothing said so far.
    fn new(servers: usize) -> Self {
        let mut scene =
            Self { state: State::new(servers), fx: Effects::default(), now: Instant::now() };
        scene.admit(SESSION, WORKER);
        scene
    }

    /// A worker that can do `f` and sleeps at all of so many servers.
    fn asleep(servers: usize) -> Self {
        let mut scene = Self::new(servers);
        scene.says(Kind::CanDo, &["f"]);
        (0..servers).for_each(|server| scene.up(server));
        scene.says(Kind::PreSleep, &[]);
        scene.told();
        scene
    }

    fn admit(&mut self, session: SessionId, worker: WorkerId) {
        let pool: PoolName = "p".parse().unwrap();
        self.state.admit(worker, pool.worker(1));
        self.input(session, Input::Opened { worker });
    }

    fn input(&mut self, session: SessionId, input: Input) {
        self.state.handle(self.now, session, input, &mut self.fx);
    }

    fn says(&mut self, kind: Kind, parts: &[&str]) {
        self.says_in(SESSION, kind, parts);
    }

    fn says_in(&mut self, session: SessionId, kind: Kind, parts: &[&str]) {
        self.input(session, Input::Packet(frame(Magic::Request, kind, parts)));
    }

    fn server(&mut self, server: usize, kind: Kind, parts: &[&str]) {
        self.server_in(SESSION, server, kind, parts);
    }

    fn server_in(&mut self, session: SessionId, server: usize, kind: Kind, parts: &[&str]) {
        let frame = frame(Magic::Response, kind, parts);
        self.input(session, Input::Received { server, frame });
    }

    /// A server connects and answers.
    fn up(&mut self, server: usize) {
        self.input(SESSION, Input::Connected { server });
        self.server(server, Kind::EchoRes, &["gear-supervisor"]);
    }

    /// The clock goes on to then; what is due is done, and the worker is read or not.
    fn wait_until(&mut self, then: Instant, is_read: bool) {
        self.now = then;
        self.state.deadline(then, |_| is_read, &mut self.fx);
    }

    /// What has been said since: `w JobAssign H:x:1 f p`, `s0 GrabJob`; echoes of probes left out.
    fn told(&mut self) -> Vec<String> {
        let sends = std::mem::take(&mut self.fx.sends).into_iter();
        let told = sends.map(|(wire, packet)| {
            let mut out = bytes::BytesMut::new();
            match packet {
                Packet::Frame(frame) => {
                    out.extend_from_slice(&frame.header());
                    out.extend_from_slice(&frame.body);
                }
                Packet::Request(request) => request.encode(&mut out),
                Packet::Response(response) => response.encode(&mut out),
                Packet::Text(text) => return format!("{} text {text:?}", name(wire)),
            }
            let kind = u32::from_be_bytes(out[4..8].try_into().unwrap());
            let kind = Kind::from_number(kind).unwrap();
            let body = String::from_utf8_lossy(&out[12..]).replace('\0', " ");
            format!("{} {kind:?} {body}", name(wire)).trim_end().to_owned()
        });
        told.filter(|line| !line.contains("EchoReq gear-supervisor")).collect()
    }
}

fn name(wire: Wire) -> String {
    match wire {
        Wire::Worker(SESSION) => "w".to_owned(),
        Wire::Worker(other) => format!("w{other}"),
        Wire::Server(SESSION, server) => format!("s{server}"),
        Wire::Server(other, server) => format!("s{server} of {other}"),
    }
}
