//! Accepting the connections of one worker process.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::shell::Shell;
use super::wire;
use crate::model::WorkerId;

/// How long accepting pauses when it fails, as without a file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts from a process's private listener until it is stopped.
pub(super) fn start(
    shell: &Rc<Shell>,
    worker: WorkerId,
    listener: StdTcpListener,
) -> CancellationToken {
    let stop = CancellationToken::new();
    match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
        Ok(listener) => {
            shell.tasks.spawn_local(run(Rc::clone(shell), worker, listener, stop.clone()));
        }
        Err(error) => error!(%worker, %error, "a worker's socket cannot be served"),
    }
    stop
}

async fn run(shell: Rc<Shell>, worker: WorkerId, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => {
                let wire = shell.act(|core| core.accepted(worker, stream));
                shell.tasks.spawn_local(wire::serve(Rc::clone(&shell), wire));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                debug!(%error, "a connection could not be accepted");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}
