//! The rules with everything that one turn of them touches: connections, store, events.
//!
//! A turn takes what one connection sent, or one command, gives it to the rules, and carries their
//! effects out: changes go to the store as one batch, each touched connection gets one write. It
//! runs without an await, so nobody sees a half of it; its length is bounded, so nobody waits long.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, error, info, warn};

use super::intake::understand;
use super::ledger::Ledger;
use super::news::News;
use super::session::{Brought, Sends, Session};
use super::show::{ShowPeer, TARGET};
use super::signals::Signals;
use super::stream::{Got, LOOK_LEN_MAX, Stream};
use super::tape::Tape;
use crate::broker::record::Death;
use crate::broker::state::{Effects, Input, State};
use crate::broker::store::{ReadThread, StoreReport, StoreStopped};
use crate::broker::{BrokerEvent, Command};
use crate::model::{JobId, Network, SessionId, WorkerId, WorkerName};
use crate::protocol::{Decoder, FrameError, Reader, Request};

/// Packets of one connection in one turn at most: a turn costs a write, which a window of 64 jobs in
/// flight shares.
const TURN_PACKETS_MAX: usize = 128;
/// Packets that a registration, or a grab, counts as. While 200 workers register 5,000 functions
/// each, a submission beside them takes 64–77 ms (p99) when a turn has 256 of them and 10–13 ms with 32.
const HEAVY_WEIGHT: usize = 4;
/// How long a turn may take before it is cut.
const TURN_TIME_MAX: Duration = Duration::from_millis(1);
/// Packets between two looks at the clock.
const CLOCK_EVERY: usize = 16;
/// Least bound of a connection's unsent output.
const OUTPUT_LEN_MAX: usize = 64 << 20;
/// What the bound leaves beside one largest packet.
const OUTPUT_SLACK: usize = 1 << 20;

/// Everything that a turn touches; owned by the broker's thread.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) state: State,
    pub(super) fx: Effects,
    pub(super) sessions: HashMap<SessionId, Session>,
    /// Those with something to write or to close in this turn.
    pub(super) touched: Vec<SessionId>,
    /// Those that turned out to have ended while they were written to.
    pub(super) ended: Vec<SessionId>,
    pub(super) ledger: Ledger,
    /// `None` when the store keeps nothing.
    pub(super) reads: Option<ReadThread>,
    /// Stored jobs that are dead letters and have not come yet.
    pub(super) deaths: BTreeMap<JobId, Death>,
    /// Stored jobs that have come so far, but for dead letters.
    pub(super) jobs_read: usize,
    /// What is asked of jobs while stored ones are still to come.
    pub(super) postponed: Vec<Command>,
    pub(super) news: News,
    /// While somebody records the jobs that end.
    pub(super) tape: Option<Tape>,
    pub(super) drains: HashMap<WorkerId, Vec<oneshot::Sender<()>>>,
    pub(super) names: HashMap<WorkerId, WorkerName>,
    pub(super) signals: Rc<Signals>,
    /// What the timer is set to.
    pub(super) armed: Option<Instant>,
    /// Set by the shutdown: nothing is read any more.
    pub(super) stopping: bool,
    /// Unsent bytes at which a connection is dropped.
    pub(super) output_len_max: usize,
    /// Networks that may connect beside this host.
    pub(super) allow: Vec<Network>,
    /// Empty output buffers.
    pub(super) spare: Vec<BytesMut>,
    /// Whether the last commit failed.
    store_fails: bool,
    last_session: SessionId,
    decoder: Decoder,
    /// The read buffer of whoever has its turn.
    shared: BytesMut,
}

/// What was made of a connection's bytes.
struct Decoded {
    packets: usize,
    /// Whether the turn was cut before they were through.
    is_cut: bool,
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
    /// It has gone, and forgetting it takes long: others come first.
    Leaving,
}

impl Core {
    pub(super) fn new(
        state: State,
        ledger: Ledger,
        reads: Option<ReadThread>,
        events: mpsc::Sender<BrokerEvent>,
        packet_len_max: usize,
    ) -> Self {
        Self {
            state,
            fx: Effects::default(),
            sessions: HashMap::new(),
            touched: Vec::new(),
            ended: Vec::new(),
            ledger,
            reads,
            deaths: BTreeMap::new(),
            jobs_read: 0,
            postponed: Vec::new(),
            news: News::new(events),
            tape: None,
            drains: HashMap::new(),
            names: HashMap::new(),
            signals: Rc::default(),
            armed: None,
            stopping: false,
            output_len_max: OUTPUT_LEN_MAX.max(packet_len_max.saturating_add(OUTPUT_SLACK)),
            allow: Vec::new(),
            spare: Vec::new(),
            store_fails: false,
            last_session: SessionId(0),
            decoder: Decoder::new(packet_len_max),
            shared: BytesMut::new(),
        }
    }

    /// Takes in a new connection; its task is woken through the returned signal.
    pub(super) fn open(
        &mut self,
        stream: &Rc<Stream>,
        worker: Option<WorkerId>,
    ) -> io::Result<(SessionId, Rc<Notify>)> {
        let peer = stream.peer()?;
        let session = SessionId(self.last_session.0 + 1);
        self.last_session = session;
        let shown = ShowPeer(&peer);
        if let Some(name) = worker.and_then(|worker| self.names.get(&worker)) {
            debug!(target: TARGET, "conn {session} opened by {name} ({shown})");
        } else {
            debug!(target: TARGET, "conn {session} opened by {shown}");
        }
        let wake = Rc::new(Notify::new());
        let opened = Session::new(Rc::clone(stream), peer.clone(), Rc::clone(&wake));
        self.sessions.insert(session, opened);
        self.input(Input::Opened { session, peer, worker });
        Ok((session, wake))
    }

    /// One turn of a connection: reads, decodes, applies, answers.
    pub(super) fn turn(&mut self, session: SessionId, reader: &mut Reader) -> Turn {
        let Some(open) = self.sessions.get(&session) else { return Turn::Ended };
        let stream = Rc::clone(&open.stream);
        let began = now();
        let mut buffer = reader.take(&mut self.shared);
        // What the last turn left comes before what the socket holds.
        let (before, mut looked) = (buffer.len(), 0);
        let got = match open.sends {
            _ if reader.backlog => Ok(Got::All),
            Sends::Otherwise => stream.read(&mut buffer),
            Sends::Pairs => {
                let got = stream.look(&mut buffer);
                looked = buffer.len() - before;
                got
            }
        };
        // What was looked at has to fit into a look.
        let fits = before == 0 && buffer.len() < LOOK_LEN_MAX;
        if matches!(got, Ok(Got::All | Got::Much)) {
            let decoded = self.decode(session, &mut buffer, began);
            reader.backlog = decoded.is_cut;
            let adds = self.fx.changes.iter().any(|(_, change)| change.adds());
            let is_answered = self.fx.sends.iter().any(|(to, _)| *to == session);
            if let Some(read) = self.sessions.get_mut(&session) {
                read.brought = if adds { Brought::JobsToStore } else { Brought::NothingToStore };
                let is_pair = decoded.packets == 2 && fits && matches!(got, Ok(Got::All));
                let sends = if is_pair && is_answered { Sends::Pairs } else { Sends::Otherwise };
                read.sends = sends;
            }
        }
        reader.put_back(buffer, &mut self.shared);
        let turn = match got {
            Ok(Got::All) if !reader.backlog => Turn::Done,
            Ok(Got::All | Got::Much) => Turn::Cut,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::Done,
            Ok(Got::End) | Err(_) => Turn::Ended,
        };
        let slow = turn == Turn::Ended && self.state.leaves_slowly(began, session, &mut self.fx);
        if turn == Turn::Ended && !slow {
            self.end(session, began);
        }
        self.deliver(began);
        if looked > 0 {
            stream.skip(looked);
        }
        if slow { Turn::Leaving } else { turn }
    }

    /// Forgets a connection whose last turn found it gone.
    pub(super) fn leave(&mut self, session: SessionId) {
        let now = now();
        self.end(session, now);
        self.deliver(now);
    }

    /// Gives the rules an input at a time of its own.
    pub(super) fn input(&mut self, input: Input) {
        let now = now();
        self.state.handle(now, input, &mut self.fx);
        self.deliver(now);
    }

    /// Passes on what became of a commit.
    pub(super) fn committed(&mut self, report: StoreReport) {
        let was_full = self.ledger.is_full();
        let (through, input) = match report {
            StoreReport::Committed(seq) => (seq, Input::Committed(seq)),
            StoreReport::Recorded(seq) => (seq, Input::Recorded(seq)),
            StoreReport::NotCommitted { through, reason } => {
                if !self.store_fails {
                    warn!(target: TARGET, reason, "background jobs cannot be stored");
                }
                (through, Input::NotCommitted { through, reason })
            }
        };
        let fails = match input {
            Input::Committed(_) => false,
            Input::NotCommitted { .. } => true,
            // It had no room for jobs before, or it would have said so.
            _ => self.store_fails,
        };
        if self.store_fails && !fails {
            info!(target: TARGET, "background jobs can be stored again");
        }
        self.store_fails = fails;
        self.ledger.settle(through);
        self.input(input);
        if was_full && !self.ledger.is_full() {
            self.signals.thaw.notify_waiters();
        }
    }

    /// Refuses what the store took and will never commit.
    pub(super) fn store_ended(&mut self) {
        let reason = StoreStopped.to_string();
        error!(target: TARGET, "{reason}: background jobs are refused until a restart");
        if let Some(through) = self.ledger.last_open() {
            self.committed(StoreReport::NotCommitted { through, reason });
        }
    }

    /// Reads nothing any more, and lets no change wait.
    pub(super) fn begin_stopping(&mut self) {
        self.stopping = true;
        self.ledger.hurry(now());
    }

    /// Forgets a connection and tells the rules; its task ends by itself.
    pub(super) fn end(&mut self, session: SessionId, now: Instant) {
        let Some(ended) = self.sessions.remove(&session) else { return };
        debug!(target: TARGET, "conn {session} closed");
        ended.wake.notify_one();
        self.signals.drained.notify_one();
        self.state.handle(now, Input::Closed { session }, &mut self.fx);
    }

    /// Decodes and applies.
    fn decode(&mut self, session: SessionId, buffer: &mut BytesMut, began: Instant) -> Decoded {
        let (mut left, mut look_in, mut packets) = (TURN_PACKETS_MAX, CLOCK_EVERY, 0);
        while left > 0 {
            let weight = match self.decoder.next(buffer) {
                Ok(None) => return Decoded { packets, is_cut: false },
                Ok(Some(incoming)) => {
                    let input = understand(session, incoming);
                    let weight = weight(&input);
                    self.state.handle(began, input, &mut self.fx);
                    weight
                }
                Err(error) => {
                    self.give_up_reading(session, error, began);
                    buffer.clear();
                    return Decoded { packets, is_cut: false };
                }
            };
            packets += 1;
            left = left.saturating_sub(weight);
            look_in = look_in.saturating_sub(weight);
            if look_in == 0 {
                if now().duration_since(began) > TURN_TIME_MAX {
                    break;
                }
                look_in = CLOCK_EVERY;
            }
        }
        Decoded { packets, is_cut: !buffer.is_empty() }
    }

    fn give_up_reading(&mut self, session: SessionId, error: FrameError, now: Instant) {
        let Some(deaf) = self.sessions.get_mut(&session) else { return };
        deaf.stop_reading();
        let peer = ShowPeer(&deaf.peer);
        let reason = match error {
            FrameError::TooLarge { .. } => {
                warn!(target: TARGET, "conn {session} from {peer}: {error}; closing it");
                Some(error.to_string())
            }
            FrameError::BadMagic(_) | FrameError::UnknownKind(_) | FrameError::LineTooLong => {
                debug!(target: TARGET, "conn {session} from {peer}: {error}; closing it");
                None
            }
        };
        self.state.handle(now, Input::Unreadable { session, reason }, &mut self.fx);
    }
}

/// How many packets of a turn an input counts as.
fn weight(input: &Input) -> usize {
    match input {
        // A grab is answered with a payload, which may be long.
        Input::Request { request: Request::CanDo { .. } | Request::Grab(_), .. } => HEAVY_WEIGHT,
        // A listing may be long.
        Input::Admin { .. } => CLOCK_EVERY,
        _ => 1,
    }
}

/// The clock that the rules are driven by; it follows tokio's in tests.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
