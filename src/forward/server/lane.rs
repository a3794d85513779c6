//! The task of one session's connection to one server: dials, serves, and dials again.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::shell::Shell;
use super::wire;
use crate::forward::state::{Input, Wire};
use crate::gearman::{Backoff, CONNECT_TIMEOUT, dial};
use crate::model::SessionId;

/// Pauses before a lost server is tried again; one that is heard of again ends them.
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a server may take for its first answer.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// Starts the task.
pub(super) fn start(shell: &Rc<Shell>, session: SessionId, server: usize) {
    let Some(stop) = shell.look(|core| core.stops.get(&session).cloned()) else { return };
    shell.tasks.spawn_local(run(Rc::clone(shell), session, server, stop));
}

async fn run(shell: Rc<Shell>, session: SessionId, server: usize, stop: CancellationToken) {
    let known = |core: &mut super::core::Core| {
        core.servers.get(server).map(|server| (server.address.clone(), Rc::clone(&server.back)))
    };
    let Some((address, back)) = shell.look(known) else { return };
    let mut backoff = Backoff::new(RETRY_PAUSE_FIRST, RETRY_PAUSE_MAX);
    loop {
        // Made before the try, so that no return is missed.
        let mut is_back = pin!(back.notified());
        is_back.as_mut().enable();
        let dialled = tokio::select! {
            () = stop.cancelled() => return,
            dialled = timeout(CONNECT_TIMEOUT, dial(&address)) => dialled,
        };
        if let Ok(Ok(stream)) = dialled {
            let Some(wire) = shell.act(|core| core.connected(session, server, stream)) else {
                return;
            };
            if serve(&shell, wire, server).await {
                backoff.reset();
            }
        } else {
            debug!(%session, address, "a server cannot be reached");
            refused(&shell, session, server);
        }
        let pause = backoff.pause();
        tokio::select! {
            () = stop.cancelled() => return,
            () = is_back => {}
            () = sleep(pause) => {}
        }
    }
}

/// Serves a connection to its end; true when the server had answered.
async fn serve(shell: &Rc<Shell>, wire: Wire, server: usize) -> bool {
    let session = wire.session();
    let is_ready = || shell.look(|core| core.state.is_ready(session, server));
    let mut service = pin!(wire::serve(Rc::clone(shell), wire));
    let mut was_ready = false;
    tokio::select! {
        () = &mut service => return false,
        () = sleep(PROBE_WITHIN) => was_ready |= is_ready(),
    }
    if !was_ready {
        shell.act(|core| core.wires.remove(&wire));
        refused(shell, session, server);
        return false;
    }
    service.await;
    true
}

fn refused(shell: &Rc<Shell>, session: SessionId, server: usize) {
    let input = Input::Unreachable { server };
    shell.act(|core| core.state.handle(super::core::now(), session, input, &mut core.fx));
}
