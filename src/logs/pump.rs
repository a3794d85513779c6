//! Waits for one pipe and has the hub read it.

use std::cell::RefCell;
use std::future::pending;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, sleep_until};

use super::hub::{Hub, PipeId, Turn};

/// A pipe that was read within this time is left alone for as long, so that a worker that prints
/// line by line costs a read per millisecond and not per line. Its pipe holds 64 KiB meanwhile.
const PACE: Duration = Duration::from_millis(1);

/// Reads a pipe until it ends.
pub(super) async fn run(hub: Rc<RefCell<Hub>>, id: PipeId, fd: Rc<pipe::Receiver>) {
    let mut paced_until: Option<Instant> = None;
    loop {
        let flush_due = hub.borrow().flush_due(id);
        let turn = tokio::select! {
            ready = fd.readable() => {
                if ready.is_err() {
                    return;
                }
                read(&hub, id, &fd)
            }
            () = until(flush_due) => {
                hub.borrow_mut().flush(id);
                continue;
            }
        };
        match turn {
            Turn::Ended => return,
            Turn::More => tokio::task::yield_now().await,
            Turn::Drained => {
                let now = Instant::now();
                if paced_until.is_some_and(|until| now < until) {
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

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
