//! Waits for one pipe and has the hub read it.

use std::cell::RefCell;
use std::future::pending;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, sleep_until};

use super::hub::Hub;
use super::pipe::PipeId;
use super::pipes::Turn;

/// A pipe that was read within this time is left alone for as long, so that a worker that prints
/// line by line costs a read per millisecond and not per line. Its pipe holds 64 KiB meanwhile.
const PACE: Duration = Duration::from_millis(1);
/// What a pipe holds at first (pipe(7)).
const PIPE_LEN: usize = 64 * 1024;
/// A pipe that is found full is made larger up to this, so that its worker need not wait for the
/// next read. Not all pipes from the start: the kernel grants a user without privileges 64 MiB.
const PIPE_LEN_MAX: usize = 16 * PIPE_LEN;

/// Reads a pipe until it ends.
pub(super) async fn run(hub: Rc<RefCell<Hub>>, id: PipeId, fd: Rc<pipe::Receiver>) {
    let mut paced_until: Option<Instant> = None;
    let mut pipe_len = PIPE_LEN;
    let mut read_len = 0;
    loop {
        let due = hub.borrow().due(id);
        let turn = tokio::select! {
            ready = fd.readable() => {
                if ready.is_err() {
                    return;
                }
                read(&hub, id, &fd)
            }
            () = until(due) => {
                if settle(&mut hub.borrow_mut(), id) == Turn::Ended {
                    return;
                }
                continue;
            }
        };
        match turn {
            Turn::Ended => return,
            Turn::More(len) => {
                read_len += len;
                // A full pipe may hold a little less than it could: its pages need not be full.
                if read_len > pipe_len / 2 && pipe_len < PIPE_LEN_MAX {
                    pipe_len = widen(&fd, pipe_len * 2);
                }
                tokio::task::yield_now().await;
            }
            Turn::Drained => {
                // Of a flood each read is worth its wake-up, and its writer is not kept waiting.
                let is_flood = std::mem::take(&mut read_len) > 0;
                if !is_flood && paced_until.is_some_and(|until| Instant::now() < until) {
                    sleep(PACE).await;
                }
                paced_until = Some(Instant::now() + PACE);
            }
        }
    }
}

/// Has the pipe read once, and notes it when it is empty.
fn read(hub: &RefCell<Hub>, id: PipeId, fd: &pipe::Receiver) -> Turn {
    let turn = fd.try_io(|| match hub.borrow_mut().read(id) {
        // Said after a short read too: new bytes wake us again, and the end of the pipe is a state
        // of its own that stays noted.
        Turn::Drained => Err(ErrorKind::WouldBlock.into()),
        turn => Ok(turn),
    });
    turn.unwrap_or(Turn::Drained)
}

/// Makes a pipe hold `len` bytes; where that is refused it is left as it is for good.
fn widen(fd: &pipe::Receiver, len: usize) -> usize {
    let asked = i32::try_from(len).map(|len| fcntl(fd, FcntlArg::F_SETPIPE_SZ(len)));
    if matches!(asked, Ok(Ok(_))) { len } else { PIPE_LEN_MAX }
}

/// Does what is due, unless the rest of a line has come: on a busy machine both may be late.
fn settle(hub: &mut Hub, id: PipeId) -> Turn {
    let turn = hub.read(id);
    hub.settle(id);
    turn
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
