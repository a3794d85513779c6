//! `gear-supervisor bench`: the one way to `bench`.

use super::args::BenchArgs;
use super::exit::{CliError, Exit};
use super::output::Screen;
use crate::bench::{self, Amount, BenchOptions, Mode, Uniques, Writes};
use crate::gearman::InvalidAddress;

/// Jobs of a mode that needs to know how many, when nothing is said.
const COUNT_DEFAULT: u64 = 100_000;
/// How long the others run then.
const SECONDS_DEFAULT: u64 = 5;

pub(super) fn run(args: &BenchArgs, screen: &mut Screen) -> Result<Exit, CliError> {
    let wrong = |error: InvalidAddress| CliError::new(Exit::Usage, error.to_string());
    let amount = match (args.count, args.duration) {
        (Some(count), _) => Amount::Count(count),
        (None, Some(duration)) => Amount::Time(duration),
        (None, None) if args.mode == Mode::Drain => Amount::Count(COUNT_DEFAULT),
        (None, None) => Amount::Time(std::time::Duration::from_secs(SECONDS_DEFAULT)),
    };
    let options = BenchOptions {
        server: args.server.parse().map_err(wrong)?,
        mode: args.mode,
        connections: args.connections,
        in_flight: args.in_flight,
        workers: args.workers,
        functions: args.functions,
        payload_len: args.size,
        uniques: if args.no_unique { Uniques::None } else { Uniques::Own },
        writes: if args.shared_writes { Writes::Shared } else { Writes::Single },
        amount,
        server_pid: args.server_pid,
    };
    // Thousands of connections need thousands of descriptors.
    crate::pool::process::raise_file_limit()
        .map_err(|error| CliError::failed(format!("the limit of open files: {error}")))?;
    let report = bench::run(&options).map_err(|error| CliError::failed(error.to_string()))?;
    if args.json {
        let text = serde_json::to_string(&report).map_err(|e| CliError::failed(e.to_string()))?;
        screen.bytes(format!("{text}\n").as_bytes())?;
    } else {
        screen.bytes(report.to_string().as_bytes())?;
    }
    Ok(Exit::Done)
}
