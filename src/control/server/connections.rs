//! Answers on the control socket's connections, and closes those that ask for nothing.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::Caller;
use super::door::Door;

/// A connection whose next request has not come for this long is closed, so that its place at the
/// door is free again. While an answer is under way, for however long, none is waited for.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// Answers whoever comes through the door, until `stop` is cancelled and the answers under way are
/// sent.
pub(super) async fn serve(mut door: Door, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    while let Some((stream, place)) = stop.run_until_cancelled(door.accept()).await {
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let caller = Caller::of(&stream);
            answer(stream, caller, router, &stop).await;
            drop(place);
        });
    }
    drop(door);
    connections.close();
    connections.wait().await;
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    caller: Caller,
    router: Router,
    stop: &CancellationToken,
) {
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(caller));
        TowerToHyperService::new(router.clone()).call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    if stop.run_until_cancelled(served.as_mut()).await.is_none() {
        served.as_mut().graceful_shutdown();
        // How a connection ends is its client's to know.
        served.await.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use futures_util::stream::{StreamExt as _, once, pending};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::net::UnixStream;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    /// What a client of these bytes is answered, and after how many times [`IDLE_MAX`] the server
    /// closes its connection; `None` when it is open after ten times.
    async fn fate(asked: &str) -> (String, Option<u64>) {
        let router = Router::new()
            .route("/fast", get(|| async { "done" }))
            .route("/slow", get(|| async { sleep(3 * IDLE_MAX).await }))
            .route(
                "/stream",
                get(|| async {
                    let begin = once(ready(Ok::<_, Infallible>(Bytes::from("begun"))));
                    Body::from_stream(begin.chain(pending()))
                }),
            );
        let (mut client, server) = duplex(4096);
        let caller = Caller::of(&UnixStream::pair().unwrap().0);
        let stop = CancellationToken::new();
        let serving = answer(server, caller, router, &stop);
        let asking = async move {
            client.write_all(asked.as_bytes()).await.unwrap();
            let (begun, mut answer) = (Instant::now(), Vec::new());
            let read = timeout(10 * IDLE_MAX, client.read_to_end(&mut answer)).await;
            let periods = begun.elapsed().as_secs() / IDLE_MAX.as_secs();
            (String::from_utf8(answer).unwrap(), read.is_ok().then_some(periods))
        };
        tokio::join!(serving, asking).1
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_when_it_has_asked_for_nothing_for_a_minute() {
        for (asked, word, closed_after) in [
            ("", "", Some(1)),
            ("GET /fast HTTP/1.1\r\nhos", "", Some(1)),
            ("GET /fast HTTP/1.1\r\nhost: x\r\n\r\n", "done", Some(1)),
            ("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n", "200 OK", Some(4)),
            ("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n", "begun", None),
        ] {
            let (answer, closed) = fate(asked).await;
            assert_eq!(closed, closed_after, "{asked}");
            assert!(answer.contains(word), "{asked}: {answer}");
        }
    }
}
