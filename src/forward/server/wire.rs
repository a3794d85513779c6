//! The task of one socket: waits for it and takes its turns.

use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::core::{Open, Stage, Turn};
use super::shell::Shell;
use crate::forward::state::Wire;
use crate::protocol::Reader;

/// How long a socket that is to be closed may take for the rest.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How long we listen after the last word to a peer that still sends.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_READ_LEN: usize = 4096;

/// What the task may do now.
enum Standing {
    Gone,
    Closing,
    Open { reads: bool, blocked: bool },
}

/// Serves a socket until it has ended.
pub(super) async fn serve(shell: Rc<Shell>, wire: Wire) {
    let ends = |open: &Open| (Rc::clone(&open.stream), Rc::clone(&open.wake));
    let Some((stream, wake)) = shell.look(|core| core.wires.get(&wire).map(ends)) else { return };
    let mut reader = Reader::default();
    loop {
        match standing(&shell, wire, &stream) {
            Standing::Gone => return farewell(&stream).await,
            Standing::Closing => return close(&shell, wire, &stream, &wake).await,
            Standing::Open { reads, blocked } => {
                let at_once = reads && reader.backlog;
                if !at_once && !may_read(&shell, wire, (&stream, &wake), (reads, blocked)).await {
                    continue;
                }
                match shell.act(|core| core.turn(wire, &mut reader)) {
                    Turn::Ended => return,
                    Turn::Cut => tokio::task::yield_now().await,
                    Turn::Done => {}
                }
            }
        }
    }
}

/// Waits for something to read; false when the standing has to be looked at anew.
async fn may_read(
    shell: &Rc<Shell>,
    wire: Wire,
    (stream, wake): (&TcpStream, &Notify),
    (reads, blocked): (bool, bool),
) -> bool {
    tokio::select! {
        biased;
        () = wake.notified() => false,
        // An error of the socket shows at the next read or write.
        _ = stream.writable(), if blocked => {
            shell.act(|core| core.write_on(wire));
            false
        }
        _ = stream.readable(), if reads => true,
    }
}

/// A socket of the same name may stand for a later connection: only one's own counts.
fn standing(shell: &Shell, wire: Wire, stream: &Rc<TcpStream>) -> Standing {
    shell.look(|core| match core.wires.get(&wire) {
        Some(open) if Rc::ptr_eq(&open.stream, stream) => {
            let (stage, blocked) = (open.stage, open.blocked);
            if stage == Stage::Closing {
                return Standing::Closing;
            }
            Standing::Open { reads: core.reads(wire), blocked }
        }
        Some(_) | None => Standing::Gone,
    })
}

/// Writes the rest of a socket that is to be closed, but not for ever.
async fn close(shell: &Rc<Shell>, wire: Wire, stream: &Rc<TcpStream>, wake: &Notify) {
    let write_rest = async {
        while !matches!(standing(shell, wire, stream), Standing::Gone) {
            tokio::select! {
                () = wake.notified() => {}
                _ = stream.writable() => shell.act(|core| core.write_on(wire)),
            }
        }
    };
    if tokio::time::timeout(CLOSE_WITHIN, write_rest).await.is_err() {
        shell.act(|core| core.end(wire));
    }
    farewell(stream).await;
}

/// Takes what the peer still sends, for a moment: closing a socket with unread bytes resets it,
/// and the peer would lose our last words.
async fn farewell(stream: &TcpStream) {
    // It fails when the peer has gone already, which is as good.
    shutdown(stream.as_raw_fd(), Shutdown::Write).unwrap_or_default();
    let discard = async {
        let mut buffer = BytesMut::with_capacity(FAREWELL_READ_LEN);
        while stream.readable().await.is_ok() {
            buffer.clear();
            match stream.try_read_buf(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    };
    // Running out of time is the peer's choice.
    tokio::time::timeout(FAREWELL, discard).await.unwrap_or_default();
}
