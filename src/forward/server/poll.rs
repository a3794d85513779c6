//! Asks one server for its queues, each second, and so knows whether it is there.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::core::now;
use super::shell::Shell;
use crate::forward::ForwardEvent;
use crate::forward::state::Listed;
use crate::gearman::{Backoff, CONNECT_TIMEOUT, dial};
use crate::model::FunctionName;

/// Between two listings.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a listing may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest listing, in bytes: a million functions.
const LISTING_LEN_MAX: usize = 64 << 20;
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

type Listing = BTreeMap<FunctionName, Listed>;

/// Asks until it is stopped.
pub(super) async fn run(shell: Rc<Shell>, server: usize, stop: CancellationToken) {
    let Some(address) =
        shell.look(|core| core.servers.get(server).map(|server| server.address.clone()))
    else {
        return;
    };
    let mut backoff = Backoff::new(RETRY_PAUSE_FIRST, RETRY_PAUSE_MAX);
    loop {
        let error = tokio::select! {
            () = stop.cancelled() => return,
            error = ask(&shell, server, &address, &mut backoff) => error,
        };
        down(&shell, server, &error);
        let pause = backoff.pause();
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// Asks again and again; ends when the server is lost, with the reason.
async fn ask(shell: &Rc<Shell>, server: usize, address: &str, backoff: &mut Backoff) -> io::Error {
    let mut stream = match timeout(CONNECT_TIMEOUT, dial(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return error,
        Err(elapsed) => return elapsed.into(),
    };
    loop {
        match timeout(ANSWER_WITHIN, listing(&mut stream)).await {
            Ok(Ok(listing)) => up(shell, server, &listing),
            Ok(Err(error)) => return error,
            Err(_) => {
                return io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
            }
        }
        backoff.reset();
        sleep(PERIOD).await;
    }
}

fn up(shell: &Rc<Shell>, server: usize, listing: &Listing) {
    shell.act(|core| {
        let waits = core.state.listed(now(), server, listing);
        if let Some(known) = core.servers.get_mut(server).filter(|known| !known.is_up) {
            info!("the Gearman server {} is there", known.address);
            (known.is_up, known.since) = (true, now());
            known.trouble.clear();
            known.back.notify_waiters();
        }
        if waits {
            // A hint: the next listing gives another one.
            core.tell(ForwardEvent::Waiting);
        }
    });
}

fn down(shell: &Rc<Shell>, server: usize, error: &io::Error) {
    shell.act(|core| {
        core.state.listed(now(), server, &Listing::new());
        let Some(known) = core.servers.get_mut(server) else { return };
        if known.is_up || known.trouble.is_empty() {
            warn!(
                "the Gearman server {} cannot be used: {error}; it is tried again",
                known.address
            );
        }
        if std::mem::take(&mut known.is_up) {
            known.since = now();
        }
        known.trouble = error.to_string();
    });
}

async fn listing(stream: &mut TcpStream) -> io::Result<Listing> {
    stream.write_all(b"status\n").await?;
    let mut text = BytesMut::new();
    while !(text.ends_with(b"\n.\n") || text[..] == b".\n"[..]) {
        if text.len() > LISTING_LEN_MAX || stream.read_buf(&mut text).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
    }
    Ok(text[..].split(|byte| *byte == b'\n').filter_map(row).collect())
}

/// `FUNCTION total running workers`, with tabs between; jobs that run are part of the total.
fn row(line: &[u8]) -> Option<(FunctionName, Listed)> {
    let mut fields = line.rsplitn(4, |byte| *byte == b'\t');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.trim().parse::<usize>().ok();
    let (performers, running, total) = (number()?, number()?, number()?);
    let name = FunctionName(Bytes::copy_from_slice(fields.next()?));
    Some((name, Listed { queued: total.saturating_sub(running), running, performers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_waits_apart_from_what_runs() {
        let listed = Listed { queued: 5, running: 2, performers: 3 };
        assert_eq!(row(b"f\t7\t2\t3"), Some((FunctionName::from("f"), listed)));
        let odd = row(b"a\tb\t0\t0\t0").map(|(name, _)| name);
        assert_eq!(odd, Some(FunctionName::from("a\tb")));
        for other in [&b"."[..], b"", b"f\tx\t0\t0", b"OK"] {
            assert_eq!(row(other), None);
        }
    }
}
