//! `gear-supervisor work`: the one way to `work`.

use super::args::WorkArgs;
use super::exit::{CliError, Exit};
use crate::gearman::ServerAddress;
use crate::work::{self, WorkOptions};

/// Where jobs come from when nothing names a server.
const DEFAULT_SERVER: &str = "127.0.0.1:4730";

/// Serves functions with a plain program until it is told to stop.
pub(super) fn run(args: &WorkArgs) -> Result<Exit, CliError> {
    let from_env = || std::env::var("GEARMAN_SERVERS").unwrap_or_else(|_| DEFAULT_SERVER.into());
    let list = if args.servers.is_empty() { from_env() } else { args.servers.join(",") };
    let servers = ServerAddress::parse_list(&list)
        .map_err(|error| CliError::new(Exit::Usage, error.to_string()))?;
    let options = WorkOptions {
        functions: args.functions.clone(),
        servers,
        stream: args.stream,
        command: args.command.clone(),
    };
    work::run(&options).map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Exit::Done)
}
