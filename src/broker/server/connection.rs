//! The task of one connection: waits for its socket and takes its turns.
//!
//! Most output never passes here: the turn that makes it writes it. The task writes only what the
//! kernel had no room for. An idle connection costs a task and no buffer.

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use tracing::debug;

use super::core::{Core, Turn, now};
use super::job_list;
use super::session::{Brought, Owed};
use super::shell::Shell;
use super::show::TARGET;
use super::stream::{Got, Stream};
use crate::model::{SessionId, WorkerId};
use crate::protocol::Reader;

/// Answers that wait for the disk at which a connection is read no further.
const ANSWERS_OWED_MAX: usize = 4096;
/// How long a connection that is to be closed may take to read the rest.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How long we listen after the last word to a peer that still sends.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_READ_LEN: usize = 4096;

/// What a connection's task may do now.
enum Standing {
    Gone,
    Closing,
    /// The next piece of a listing is to be sent.
    Listing,
    Open(Waits),
}

/// What an open connection's task waits for.
#[derive(Clone, Copy)]
struct Waits {
    /// Whether its packets are wanted.
    reads: bool,
    /// Whether output waits for room in the kernel.
    blocked: bool,
    /// Whether reading waits for the store.
    frozen: bool,
}

/// Takes in an accepted connection and starts its task.
pub(super) fn start(shell: &Rc<Shell>, stream: Stream, worker: Option<WorkerId>) {
    let stream = Rc::new(stream);
    let opened = shell.core.borrow_mut().open(&stream, worker);
    match opened {
        Ok((session, wake)) => {
            let task = run(Rc::clone(shell), session, stream, wake);
            shell.tasks.spawn_local(task);
        }
        // It has gone already.
        Err(error) => debug!(target: TARGET, %error, "a connection ended as it was accepted"),
    }
}

async fn run(shell: Rc<Shell>, session: SessionId, stream: Rc<Stream>, wake: Rc<Notify>) {
    let mut reader = Reader::default();
    loop {
        let standing = standing(&mut shell.core.borrow_mut(), session);
        match standing {
            Standing::Gone => return farewell(&stream).await,
            Standing::Closing => return close(&shell, session, &stream, &wake).await,
            Standing::Listing => {
                job_list::go_on(&shell, session).await;
                tokio::task::yield_now().await;
            }
            Standing::Open(waits) => {
                let at_once = waits.reads && reader.backlog;
                if !at_once && !may_read(&shell, session, &stream, &wake, waits).await {
                    continue;
                }
                let lane = if at_once { Some(shell.cut.acquire().await) } else { None };
                // Much may have happened while others had the lane.
                if lane.is_some() && !is_read(&mut shell.core.borrow_mut(), session) {
                    continue;
                }
                let turn = shell.core.borrow_mut().turn(session, &mut reader);
                match turn {
                    Turn::Ended => return,
                    Turn::Leaving => {
                        drop(lane);
                        return leave(&shell, session).await;
                    }
                    // Sockets are looked at before the next one has the lane.
                    Turn::Cut => tokio::task::yield_now().await,
                    Turn::Done => {}
                }
            }
        }
    }
}

/// Forgets a connection that has gone, one such at a time, and sockets are looked at in between.
async fn leave(shell: &Shell, session: SessionId) {
    let lane = shell.cut.acquire().await;
    tokio::task::yield_now().await;
    shell.core.borrow_mut().leave(session);
    drop(lane);
}

/// Waits for something to read; false when the connection's standing has to be looked at anew.
async fn may_read(
    shell: &Shell,
    session: SessionId,
    stream: &Stream,
    wake: &Notify,
    waits: Waits,
) -> bool {
    // Made before the wait, so that no thaw is missed.
    let thaw = shell.signals.thaw.notified();
    tokio::select! {
        biased;
        () = wake.notified() => false,
        // An error of the socket shows at the next read or write.
        _ = stream.writable(), if waits.blocked => {
            shell.core.borrow_mut().write_on(session, now());
            false
        }
        _ = stream.readable(), if waits.reads => true,
        () = thaw, if waits.frozen => false,
    }
}

fn is_read(core: &mut Core, id: SessionId) -> bool {
    matches!(standing(core, id), Standing::Open(waits) if waits.reads)
}

fn standing(core: &mut Core, id: SessionId) -> Standing {
    let owed = core.state.answers_owed(id);
    match core.sessions.get_mut(&id) {
        None => Standing::Gone,
        Some(open) if open.is_closing() => Standing::Closing,
        Some(open) if open.owed == Owed::JobList && open.output.is_empty() && !core.stopping => {
            Standing::Listing
        }
        Some(open) => {
            open.held = owed > ANSWERS_OWED_MAX;
            let frozen = open.brought == Brought::JobsToStore && core.ledger.is_full();
            let reads = open.reads() && !open.held && !frozen && !core.stopping;
            Standing::Open(Waits { reads, blocked: open.blocked, frozen })
        }
    }
}

/// Writes the rest of a connection that is to be closed, but not for ever.
async fn close(shell: &Shell, session: SessionId, stream: &Stream, wake: &Notify) {
    let write_rest = async {
        while !matches!(standing(&mut shell.core.borrow_mut(), session), Standing::Gone) {
            tokio::select! {
                () = wake.notified() => {}
                _ = stream.writable() => shell.core.borrow_mut().write_on(session, now()),
            }
        }
    };
    if tokio::time::timeout(CLOSE_WITHIN, write_rest).await.is_err() {
        let mut core = shell.core.borrow_mut();
        core.end(session, now());
        core.deliver(now());
    }
    farewell(stream).await;
}

/// Takes what the peer still sends, for a moment: closing a socket with unread bytes resets it,
/// and the peer would lose our last words.
async fn farewell(stream: &Stream) {
    stream.end_writing();
    let discard = async {
        let mut buffer = BytesMut::with_capacity(FAREWELL_READ_LEN);
        while stream.readable().await.is_ok() {
            match stream.read(&mut buffer) {
                Ok(Got::End) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => buffer.clear(),
            }
        }
    };
    // Running out of time is the peer's choice.
    tokio::time::timeout(FAREWELL, discard).await.unwrap_or_default();
}
