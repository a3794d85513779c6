//! One check: a GET that is answered well, or a program that ends with 0.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::config::Check;
use crate::model::{Exit, WorkerId, WorkerName};
use crate::pool::WorkerIds;
use crate::pool::process::{Child, Ended, Launch, Processes};

/// Bytes of an answer that are looked at.
const ANSWER_LEN_MAX: u64 = 4096;

/// Runs checks of one process.
#[derive(Clone, Debug)]
pub(in crate::pool) struct Prober {
    pub(in crate::pool) processes: Processes,
    pub(in crate::pool) ids: WorkerIds,
    pub(in crate::pool) name: WorkerName,
    /// How the worker itself was started: checks run as it, where it does.
    pub(in crate::pool) launch: Launch,
}

impl Prober {
    /// Makes one check; fails with the reason.
    pub(super) async fn check(&self, check: &Check, within: Duration) -> Result<(), String> {
        match check {
            Check::Http { address, path } => {
                let answer = timeout(within, get(address, path));
                let told = |error: io::Error| format!("http://{address}{path}: {error}");
                match answer.await {
                    Ok(status) => status.map_err(told),
                    Err(_) => Err(format!("http://{address}{path}: no answer in {within:?}")),
                }
            }
            Check::Exec(argv) => self.execute(argv, within).await,
        }
    }

    async fn execute(&self, argv: &[String], within: Duration) -> Result<(), String> {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        let launch = Launch { argv: argv.to_vec(), ..self.launch.clone() };
        let worker = self.ids.next();
        let child = self.processes.spawn(worker, &self.name, &launch);
        let Child { stdout, stderr, end, .. } = child.map_err(|error| error.to_string())?;
        let _guard = Guard { processes: &self.processes, worker };
        let ended = async { tokio::join!(end.wait(), read(stdout), read(stderr)) };
        let Ok((ended, _, errors)) = timeout(within, ended).await else {
            return Err(format!("'{program}' took longer than {within:?}"));
        };
        let line = errors.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        match ended {
            Ended::Exited(Exit::Code(0)) => Ok(()),
            Ended::Exited(exit) => Err(format!("'{program}': {exit}{line}")),
            Ended::NotStarted(reason) => Err(reason),
        }
    }
}

/// Kills a check that is left before its end.
struct Guard<'a> {
    processes: &'a Processes,
    worker: WorkerId,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.processes.kill_group(self.worker);
    }
}

/// Everything that a program writes; the first bytes of it are kept.
async fn read(pipe: OwnedFd) -> String {
    let mut kept = Vec::new();
    let read = async {
        let mut pipe = pipe::Receiver::from_owned_fd(pipe)?;
        (&mut pipe).take(ANSWER_LEN_MAX).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await
    };
    let read: io::Result<u64> = read.await;
    if let Err(error) = read {
        tracing::debug!(%error, "the output of a check is lost");
    }
    String::from_utf8_lossy(&kept).into_owned()
}

async fn get(address: &str, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: gear-supervisor\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut stream = stream.take(ANSWER_LEN_MAX);
    while !head.contains(&b'\n') && stream.read_buf(&mut head).await? > 0 {}
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default().trim_end();
    let status: Option<u16> = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    match status {
        Some(status) if line.starts_with("HTTP/") && status < 400 => Ok(()),
        Some(_) => Err(io::Error::other(format!("answers {line}"))),
        None => Err(io::Error::other("answers no HTTP")),
    }
}
