//! `check`: every mistake of a file, or what it would run.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{CheckArgs, Target};
use super::exit::{CliError, Exit};
use super::file::{self, DEFAULT_FILE};
use super::format::{bounds, counted};
use super::output::{self, Screen};
use crate::config::{ServersWay, Settings};

/// Checks the file that is named, or else the default one.
pub(super) fn run(
    args: &CheckArgs,
    target: &Target,
    screen: &mut Screen,
) -> Result<Exit, CliError> {
    let named = args.file.as_ref().or(target.config.as_ref());
    let path = named.cloned().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match file::load(&path) {
        Ok(settings) if args.json => {
            screen.json(&json!({ "file": path, "errors": [], "pools": settings.pools.len() }))?;
            Ok(Exit::Done)
        }
        Ok(settings) => {
            screen.line(&summary(&path, &settings))?;
            Ok(Exit::Done)
        }
        Err(errors) if args.json => {
            screen.json(&json!({ "file": path, "errors": errors }))?;
            Ok(Exit::BadFile)
        }
        Err(errors) => {
            // As compilers do it, so that editors find the places.
            for error in &errors {
                output::remark(error);
            }
            Ok(Exit::BadFile)
        }
    }
}

/// `workers.toml is right: 2 pools with 3..18 workers, broker on 127.0.0.1:4730`
fn summary(path: &Path, settings: &Settings) -> String {
    let total = |of: fn(&crate::config::Count) -> u32| {
        settings.pools.values().map(|pool| of(&pool.count)).fold(0, u32::saturating_add)
    };
    let pools = counted(settings.pools.len(), "pool");
    let workers = bounds(total(|count| count.min), total(|count| count.max));
    let broker = &settings.broker;
    let listeners = || broker.listen.iter().map(ToString::to_string).collect::<Vec<_>>();
    let jobs = if broker.servers.is_empty() {
        format!("broker on {}", listeners().join(", "))
    } else {
        let way = match broker.way {
            ServersWay::Forward => "",
            ServersWay::Direct => ", directly: jobs in hand unknown",
        };
        format!("jobs from {}{way}", broker.servers.join(", "))
    };
    format!("{} is right: {pools} with {workers} workers, {jobs}", path.display())
}
