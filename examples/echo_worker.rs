//! A Gearman worker in Rust: answers each job of `echo` with the job's own payload.
//!
//! ```text
//! cargo run --example echo_worker
//! cargo run --example client -- echo hello
//! ```
//! It finds its server in `GEARMAN_HOST` and `GEARMAN_PORT`, where gear-supervisor puts it, and
//! otherwise at 127.0.0.1:4730. TERM lets a job in hand finish.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

use anyhow::Result;
use futures_util::StreamExt;
use gear_supervisor::gearman::{ServerAddress, Worker, WorkerEvent};
use gear_supervisor::protocol::WorkReport;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let servers = ServerAddress::from_environment(|name| std::env::var(name).ok())?;
    let mut worker = Worker::new(servers, vec!["echo".into()]);
    let mut stop = Signals::new([SIGINT, SIGTERM])?;
    loop {
        let event = tokio::select! {
            _ = stop.next() => return Ok(()),
            event = worker.next_event() => event,
        };
        match event {
            WorkerEvent::Connected(server) => println!("waiting for jobs of {server}"),
            WorkerEvent::Job(job) => {
                println!("{} has {} bytes", job.handle.escape_ascii(), job.payload.len());
                worker.report(&job, WorkReport::Complete(job.payload.clone())).await?;
            }
            // Lost servers are tried again by the worker itself.
            other => println!("{other:?}"),
        }
    }
}
