//! A Gearman client in Rust: submits a job, shows what is heard of it, and prints its result.
//!
//! ```text
//! cargo run --example client -- FUNCTION [PAYLOAD]
//! ```
//! It finds a server in `GEARMAN_SERVERS`, and otherwise at 127.0.0.1:4730.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

use std::env;
use std::io::{Write, stdout};

use anyhow::{Context, Result, bail};
use gear_supervisor::gearman::{Client, JobEvent, ServerAddress};
use gear_supervisor::model::{Priority, Unique};
use gear_supervisor::protocol::{Submission, SubmitMode};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let function = args.next().context("usage: client FUNCTION [PAYLOAD]")?;
    let job = Submission {
        function: function.as_str().into(),
        unique: Unique::from(""),
        priority: Priority::Normal,
        mode: SubmitMode::Foreground,
        payload: args.next().unwrap_or_default().into(),
    };
    let servers = ServerAddress::from_environment(|name| env::var(name).ok())?;
    let mut client = Client::connect(&servers).await?;
    let mut news = client.submit(job);
    while let Some(event) = news.next().await? {
        match event {
            JobEvent::Created(handle) => eprintln!("job {}", handle.escape_ascii()),
            JobEvent::Status { numerator, denominator } => {
                eprintln!("{} of {}", numerator.escape_ascii(), denominator.escape_ascii());
            }
            JobEvent::Warning(text) => eprintln!("warning: {}", text.escape_ascii()),
            JobEvent::Data(part) | JobEvent::Complete(part) => stdout().write_all(&part)?,
            JobEvent::Fail => bail!("the job failed"),
            JobEvent::Exception(text) => bail!("the job failed: {}", text.escape_ascii()),
        }
    }
    println!();
    Ok(())
}
