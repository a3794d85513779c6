//! Accepting connections, also when file descriptors run out.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::libc::{EMFILE, ENFILE};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::connection;
use super::listen::Listener;
use super::seldom::Seldom;
use super::shell::Shell;
use super::show::TARGET;
use super::stream::Stream;
use crate::model::WorkerId;

/// How long accepting pauses when it fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is told that descriptors ran out.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// One descriptor kept free, so that with none left a connection can be accepted and closed:
/// its peer is told, where it would else wait in the backlog for ever.
#[derive(Debug)]
pub(super) struct Reserve {
    spare: RefCell<Option<File>>,
    warned: RefCell<Seldom>,
}

impl Reserve {
    pub(super) fn new() -> Self {
        let warned = RefCell::new(Seldom::new(WARN_EVERY));
        Self { spare: RefCell::new(open_spare()), warned }
    }

    async fn refuse_one(&self, listener: &Listener) {
        drop(self.spare.take());
        // Only a connection that waits already; the listener itself said that there is one.
        if let Ok(refused) = tokio::time::timeout(Duration::ZERO, accept(listener)).await {
            drop(refused);
        }
        self.spare.replace(open_spare());
        if let Some(before) = self.warned.borrow_mut().permit(Instant::now()) {
            warn!(
                target: TARGET,
                refused_before = before,
                "no file descriptor is left: a connection was refused; raise LimitNOFILE"
            );
        }
    }
}

/// Accepts until `stop`; connections belong to `worker` when the listener is its private one.
pub(super) async fn run(
    shell: Rc<Shell>,
    listener: Listener,
    worker: Option<WorkerId>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(&listener) => accepted,
        };
        match accepted {
            Ok(stream) => {
                // A worker's private listener is on loopback.
                if worker.is_some() || shell.door.admits(&shell.core.borrow(), &stream) {
                    connection::start(&shell, stream, worker);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(EMFILE | ENFILE) = error.raw_os_error() {
                    shell.reserve.refuse_one(&listener).await;
                } else {
                    debug!(target: TARGET, %error, "a connection could not be accepted");
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

async fn accept(listener: &Listener) -> io::Result<Stream> {
    match listener {
        Listener::Tcp(tcp) => tcp.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
        Listener::Unix(unix, _) => unix.accept().await.map(|(stream, _)| Stream::Unix(stream)),
    }
}

fn open_spare() -> Option<File> {
    File::open("/dev/null").ok()
}
