//! Words of supervisorctl that are no other verb's alias: `pid` and `avail`.

use super::args::{AvailArgs, PidArgs};
use super::exit::{CliError, Exit};
use super::format;
use super::output::Screen;
use super::status::select;
use super::table::{Cell, Column, Table};
use crate::control::api::PoolStatus;
use crate::control::client::ControlClient;

/// Prints the daemon's process id, or one for each worker that is named; 0 where none runs.
pub(super) async fn pid(
    client: &ControlClient,
    screen: &mut Screen,
    args: &PidArgs,
) -> Result<Exit, CliError> {
    let status = client.status().await?;
    if args.names.is_empty() {
        screen.line(&status.pid.to_string())?;
        return Ok(Exit::Done);
    }
    let meant = select(&status, &args.names)?;
    for worker in meant.pools.iter().flat_map(|pool| &pool.workers) {
        screen.line(&worker.pid.unwrap_or(0).to_string())?;
    }
    Ok(Exit::Done)
}

/// Lists the pools.
pub(super) async fn avail(
    client: &ControlClient,
    screen: &mut Screen,
    args: &AvailArgs,
) -> Result<Exit, CliError> {
    let status = client.status().await?;
    if args.json {
        screen.json(&status.pools.iter().map(|pool| &pool.name).collect::<Vec<_>>())?;
    } else {
        let table = table(&status.pools).render(screen.colours());
        screen.text(&table)?;
    }
    Ok(Exit::Done)
}

fn table(pools: &[PoolStatus]) -> Table {
    let mut table = Table::new(&[
        Column::Left("POOL"),
        Column::Right("COUNT"),
        Column::Left("PROTOCOL"),
        Column::Left("FUNCTIONS"),
    ]);
    for pool in pools {
        table.row(vec![
            Cell::plain(&pool.name),
            Cell::plain(format::bounds(pool.min, pool.max)),
            Cell::plain(&pool.protocol),
            Cell::plain(pool.functions.join(", ")),
        ]);
    }
    table
}
