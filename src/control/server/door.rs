//! The control socket's door: so many connections at once, and a refusal for one more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::control::api::{Failure, FailureCode};

/// Connections at once: each follower, viewer and watcher keeps one.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// Refusals on their way at once; beyond them a connection is closed without a word.
const REFUSALS_MAX: usize = 64;
/// What a refusal waits for its request.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// What is read of a request that is refused anyway.
const REQUEST_LEN_MAX: usize = 16 * 1024;

/// Accepts connections as long as there is room for them.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    connections_max: usize,
    is_full: bool,
    tasks: TaskTracker,
}

impl Door {
    /// Lets in `connections_max` at once; refusals go on `tasks`.
    pub(super) fn new(listener: UnixListener, connections_max: usize, tasks: TaskTracker) -> Self {
        let room = Arc::new(Semaphore::new(connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        Self { listener, room, refusals, connections_max, is_full: false, tasks }
    }

    /// The next connection that there is room for, and its place, which is free when it is dropped.
    pub(super) async fn accept(&mut self) -> (UnixStream, OwnedSemaphorePermit) {
        loop {
            let (stream, _) = Listener::accept(&mut self.listener).await;
            match Arc::clone(&self.room).try_acquire_owned() {
                Ok(place) => {
                    // Told anew only after it was far from full: places come and go at the bound.
                    if self.room.available_permits() > self.connections_max / 10 {
                        self.is_full = false;
                    }
                    return (stream, place);
                }
                Err(_) => self.refuse(stream),
            }
        }
    }

    fn refuse(&mut self, stream: UnixStream) {
        let connections_max = self.connections_max;
        if !self.is_full {
            self.is_full = true;
            warn!(connections_max, "the control socket is full and refuses connections");
        }
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        self.tasks.spawn(async move {
            // Who does not wait for the answer needs none.
            tokio::time::timeout(REFUSAL_TIMEOUT, send_refusal(stream, connections_max)).await.ok();
            drop(place);
        });
    }
}

/// The request is read first: a client that is still sending it would see a broken connection.
async fn send_refusal(mut stream: UnixStream, connections_max: usize) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_LEN_MAX {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let body = serde_json::to_vec(&Failure {
        code: FailureCode::Failed,
        message: format!("the control socket has {connections_max} connections and takes no more"),
        hint: Some("end some of the attach, logs -f and status --watch that are open".to_owned()),
    })?;
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio_util::sync::CancellationToken;

    use super::super::connections;
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// Asks on a connection and reads the answer up to `end`.
    async fn ask(stream: &mut UnixStream, end: &str) -> String {
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).ends_with(end) {
            let read = stream.read_buf(&mut answer);
            let len = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
            assert!(len > 0, "{}", String::from_utf8_lossy(&answer));
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_and_those_before_it_go_on() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s.sock");
        let tasks = TaskTracker::new();
        let door = Door::new(UnixListener::bind(&path).unwrap(), 2, tasks.clone());
        let router = Router::new().route("/", get(|| async { "{hello}" }));
        tasks.spawn(connections::serve(door, router, CancellationToken::new()));
        let mut first = UnixStream::connect(&path).await.unwrap();
        let mut second = UnixStream::connect(&path).await.unwrap();
        ask(&mut first, "}").await;
        ask(&mut second, "}").await;
        let mut third = UnixStream::connect(&path).await.unwrap();
        let refused = ask(&mut third, "}").await;
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.contains("has 2 connections and takes no more"), "{refused}");
        ask(&mut first, "}").await;
        drop(second);
        // Its end is noticed in a while.
        for attempt in 0.. {
            let mut another = UnixStream::connect(&path).await.unwrap();
            if !ask(&mut another, "}").await.starts_with("HTTP/1.1 503") {
                break;
            }
            assert!(attempt < 10_000, "the place of a connection that ended stays taken");
        }
    }
}
