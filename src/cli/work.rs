//! `gear-supervisor work`: the one way to `work`.

use super::args::WorkArgs;
use super::exit::{CliError, Exit};
use crate::gearman::{InvalidAddress, ServerAddress};
use crate::work::{self, Mode, Output, WorkOptions};

/// Serves functions with a plain program until it is told to stop. Call it on the main thread.
pub(super) fn run(args: &WorkArgs) -> Result<Exit, CliError> {
    let variable = |name: &str| std::env::var(name).ok();
    let named = ServerAddress::parse_list(&args.servers.join(","));
    let servers =
        if args.servers.is_empty() { ServerAddress::from_environment(variable) } else { named };
    let wrong = |error: InvalidAddress| CliError::new(Exit::Usage, error.to_string());
    let output = if args.stream { Output::Streamed } else { Output::Whole };
    let options = WorkOptions {
        servers: servers.map_err(wrong)?,
        functions: args.functions.iter().map(|name| name.as_str().into()).collect(),
        mode: if args.lines { Mode::Lines } else { Mode::Exec(output) },
        command: args.command.iter().map(Into::into).collect(),
        client_id: variable("GEAR_WORKER"),
    };
    work::run(options)
        .map_err(|error| CliError::failed(format!("work: {:#}", anyhow::Error::from(error))))?;
    Ok(Exit::Done)
}
