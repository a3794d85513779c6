//! The rules with every socket that one turn of them touches.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::outbox::Outbox;
use crate::forward::state::{Effects, Input, State, Wire};
use crate::forward::{ForwardEvent, ServerView};
use crate::model::{Drain, SessionId, WorkerId, WorkerName};
use crate::protocol::{Decoder, FrameError, Incoming, READ_LEN_MAX, Reader};

/// Largest packet body, in bytes: above any server's own limit, since a job that a server took has
/// to be passed on; this bounds a peer gone mad.
const PACKET_LEN_MAX: usize = 1 << 30;
/// Packets of one connection in one turn at most.
const TURN_PACKETS_MAX: usize = 32;
/// Bytes that wait for one side at which the other side is read no further.
pub(super) const UNSENT_LEN_MAX: usize = 1 << 20;

/// Everything that a turn touches; owned by the forwarding thread.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) state: State,
    pub(super) fx: Effects,
    pub(super) wires: HashMap<Wire, Open>,
    /// What ends the tasks of a session that dial servers.
    pub(super) stops: HashMap<SessionId, CancellationToken>,
    /// Those with something to write or to close in this turn.
    pub(super) touched: Vec<Wire>,
    /// Those that turned out to have ended while they were written to.
    pub(super) ended: Vec<Wire>,
    /// Connections to servers that somebody is to be started for.
    pub(super) opens: Vec<(SessionId, usize)>,
    pub(super) drains: HashMap<WorkerId, Vec<oneshot::Sender<()>>>,
    pub(super) questions: HashMap<WorkerId, Vec<oneshot::Sender<Drain>>>,
    pub(super) names: HashMap<WorkerId, WorkerName>,
    pub(super) servers: Vec<Server>,
    pub(super) events: mpsc::Sender<ForwardEvent>,
    /// Registrations that did not fit into the channel.
    pub(super) unheard: Vec<WorkerId>,
    /// Told when the timer of the main task is set too late.
    pub(super) alarm: Rc<Notify>,
    /// What that is set to.
    pub(super) armed: Option<Instant>,
    decoder: Decoder,
    /// The read buffer of whoever has its turn.
    shared: BytesMut,
    last_session: u64,
}

/// One connected socket.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) stream: Rc<TcpStream>,
    /// Wakes its task when a turn of another one changed something here.
    pub(super) wake: Rc<Notify>,
    pub(super) out: Outbox,
    /// Whether the kernel had no room at the last try.
    pub(super) blocked: bool,
    pub(super) is_touched: bool,
    pub(super) stage: Stage,
}

/// What becomes of a socket's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Read,
    /// Its task waits until there is room for more: the other side has been sent more, or questions
    /// have been answered.
    Paused,
    /// It is to be closed once all is written.
    Closing,
}

/// One server, as the task that asks for its queues finds it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: String,
    pub(super) is_up: bool,
    pub(super) trouble: String,
    pub(super) since: Instant,
    /// Told when it is back.
    pub(super) back: Rc<Notify>,
}

/// How a connection's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// All it had sent was taken.
    Done,
    /// There is more; others come first.
    Cut,
    /// It has gone.
    Ended,
}

impl Core {
    pub(super) fn new(servers: &[String], events: mpsc::Sender<ForwardEvent>) -> Self {
        let server = |address: &String| Server {
            address: address.clone(),
            is_up: false,
            trouble: String::new(),
            since: now(),
            back: Rc::default(),
        };
        Self {
            state: State::new(servers.len()),
            fx: Effects::default(),
            wires: HashMap::new(),
            stops: HashMap::new(),
            touched: Vec::new(),
            ended: Vec::new(),
            opens: Vec::new(),
            drains: HashMap::new(),
            questions: HashMap::new(),
            names: HashMap::new(),
            servers: servers.iter().map(server).collect(),
            events,
            unheard: Vec::new(),
            alarm: Rc::default(),
            armed: None,
            decoder: Decoder::new(PACKET_LEN_MAX),
            shared: BytesMut::new(),
            last_session: 0,
        }
    }

    /// Takes in a worker's connection.
    pub(super) fn accepted(&mut self, worker: WorkerId, stream: TcpStream) -> Wire {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        if let Some(name) = self.names.get(&worker) {
            debug!("conn {session} opened by {name}");
        }
        let wire = Wire::Worker(session);
        self.stops.insert(session, CancellationToken::new());
        self.wires.insert(wire, Open::new(stream));
        self.state.handle(now(), session, Input::Opened { worker }, &mut self.fx);
        wire
    }

    /// Takes in a connection to a server; `None` when the session has ended meanwhile.
    pub(super) fn connected(
        &mut self,
        session: SessionId,
        server: usize,
        stream: TcpStream,
    ) -> Option<Wire> {
        self.stops.get(&session)?;
        let wire = Wire::Server(session, server);
        self.wires.insert(wire, Open::new(stream));
        self.state.handle(now(), session, Input::Connected { server }, &mut self.fx);
        Some(wire)
    }

    /// One turn of a connection: reads, decodes, applies.
    pub(super) fn turn(&mut self, wire: Wire, reader: &mut Reader) -> Turn {
        let Some(open) = self.wires.get(&wire) else { return Turn::Ended };
        let stream = Rc::clone(&open.stream);
        let mut buffer = reader.take(&mut self.shared);
        let got = if reader.backlog { Ok(None) } else { read(&stream, &mut buffer).map(Some) };
        if !matches!(got, Ok(Some(0)) | Err(_)) {
            reader.backlog = self.decode(wire, &mut buffer);
        }
        reader.put_back(buffer, &mut self.shared);
        match got {
            Ok(Some(0)) => self.end(wire),
            Ok(Some(_) | None) if reader.backlog => return Turn::Cut,
            Ok(Some(READ_LEN_MAX)) => return Turn::Cut,
            Ok(Some(_) | None) => return Turn::Done,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Done,
            Err(_) => self.end(wire),
        }
        Turn::Ended
    }

    /// Decodes and applies; true when the turn was cut before the buffer was through.
    fn decode(&mut self, wire: Wire, buffer: &mut BytesMut) -> bool {
        let now = now();
        for _ in 0..TURN_PACKETS_MAX {
            let input = match (self.next(wire, buffer), wire) {
                (Ok(None), _) => return false,
                (Ok(Some(Incoming::Frame(frame))), Wire::Worker(_)) => Input::Packet(frame),
                (Ok(Some(Incoming::Frame(frame))), Wire::Server(_, server)) => {
                    Input::Received { server, frame }
                }
                (Ok(Some(Incoming::Line(line))), Wire::Worker(_)) => {
                    Input::Line([&line[..], b"\n"].concat().into())
                }
                (Ok(Some(Incoming::Line(text))), Wire::Server(_, server)) => {
                    Input::Text { server, text }
                }
                (Err(error), _) => {
                    debug!(?wire, %error, "closing a connection that is not understood");
                    buffer.clear();
                    self.end(wire);
                    return false;
                }
            };
            self.state.handle(now, wire.session(), input, &mut self.fx);
        }
        !buffer.is_empty()
    }

    /// The next packet, or text: a worker's by lines, a server's as it comes, since its lines have
    /// no bound.
    fn next(&self, wire: Wire, buffer: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        match (wire, buffer.first()) {
            (Wire::Server(..), Some(first)) if *first != 0 => {
                let end = memchr::memchr(0, buffer).unwrap_or(buffer.len());
                Ok(Some(Incoming::Line(buffer.split_to(end).freeze())))
            }
            _ => self.decoder.next(buffer),
        }
    }

    /// Forgets a socket and tells the rules; its task ends by itself.
    pub(super) fn end(&mut self, wire: Wire) {
        let Some(open) = self.wires.remove(&wire) else { return };
        open.wake.notify_one();
        let session = wire.session();
        let input = match wire {
            Wire::Worker(_) => {
                if let Some(stop) = self.stops.remove(&session) {
                    stop.cancel();
                }
                // Results that it has reported are still sent.
                for server in 0..self.servers.len() {
                    self.close(Wire::Server(session, server));
                }
                Input::Closed
            }
            Wire::Server(_, server) => Input::Lost { server },
        };
        self.state.handle(now(), session, input, &mut self.fx);
    }

    /// Has a socket closed once all is written.
    pub(super) fn close(&mut self, wire: Wire) {
        if let Some(open) = self.wires.get_mut(&wire) {
            open.stage = Stage::Closing;
            if !std::mem::replace(&mut open.is_touched, true) {
                self.touched.push(wire);
            }
        }
    }

    /// The timer has run out.
    pub(super) fn look_at_deadlines(&mut self) {
        self.armed = None;
        let Self { state, wires, fx, .. } = self;
        let is_full = |id| wires.get(&Wire::Worker(id)).is_some_and(Open::is_full);
        state.deadline(now(), |id| !is_full(id), fx);
    }

    /// Whether an open socket is read; otherwise its task is woken when it is to be again.
    pub(super) fn reads(&mut self, wire: Wire) -> bool {
        let is_full = |wire| self.wires.get(&wire).is_some_and(Open::is_full);
        let reads = match wire {
            Wire::Worker(session) => {
                let mut servers = 0..self.servers.len();
                self.state.has_room(session)
                    && !is_full(wire)
                    && !servers.any(|server| is_full(Wire::Server(session, server)))
            }
            Wire::Server(session, _) => !is_full(Wire::Worker(session)),
        };
        if let Some(open) = self.wires.get_mut(&wire) {
            open.stage = if reads { Stage::Read } else { Stage::Paused };
        }
        reads
    }

    /// What is known of the servers.
    pub(super) fn server_views(&self) -> Vec<ServerView> {
        let now = now();
        let view = |server: &Server| ServerView {
            address: server.address.clone(),
            is_up: server.is_up,
            trouble: server.trouble.clone(),
            since: now.saturating_duration_since(server.since),
        };
        self.servers.iter().map(view).collect()
    }
}

impl Open {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream: Rc::new(stream),
            wake: Rc::default(),
            out: Outbox::default(),
            blocked: false,
            is_touched: false,
            stage: Stage::Read,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= UNSENT_LEN_MAX
    }
}

/// Reads at most [`READ_LEN_MAX`] bytes into the room that the buffer has.
fn read(stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let room = (buffer.capacity() - buffer.len()).min(READ_LEN_MAX);
    stream.try_read_buf(&mut buffer.limit(room))
}

/// The clock that the rules are driven by.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
