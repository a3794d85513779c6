//! `gear-supervisor work`: the one way to `work`.

use super::args::WorkArgs;
use super::exit::{CliError, Exit};

/// Serves functions with a plain program until it is told to stop.
pub(super) fn run(args: &WorkArgs) -> Result<Exit, CliError> {
    Err(CliError::failed(format!("work is not wired yet: {args:?}")))
}
