//! `simulate`: a recorded load under the settings of a file, in virtual time.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use super::args::{SimulateArgs, Target};
use super::exit::{CliError, Exit};
use super::file::{self, DEFAULT_FILE};
use super::format;
use super::output::{self, Screen};
use super::table::{Cell, Column, Table};
use crate::scaler::simulation::{Autoscaler, Outcome, PoolOutcome, Recording, Stage, plot, run};

/// Plays a recording back and shows what would have come of it.
pub(super) fn simulate(
    args: &SimulateArgs,
    target: &Target,
    screen: &mut Screen,
) -> Result<Exit, CliError> {
    let path = target.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let settings = match file::load(&path) {
        Ok(settings) => settings,
        Err(errors) => {
            for error in &errors {
                output::remark(error);
            }
            return Ok(Exit::BadFile);
        }
    };
    let recording = read(args)?;
    let stage = recording.stage(&settings);
    for line in remarks(&recording, &stage) {
        output::remark(&line);
    }
    let start = Instant::now();
    let outcome = run(stage.clone(), recording.trace.clone(), args.seed, |world| {
        Autoscaler::new(world, start)
    });
    if let Some(svg) = &args.svg {
        let title = format!("{} under {}", args.trace.display(), path.display());
        fs::write(svg, plot(&title, &[("gear-supervisor", &outcome)])).map_err(|error| {
            CliError::failed(format!("cannot write {}: {error}", svg.display()))
        })?;
    }
    if args.json {
        let pools = served(&recording, &stage, &outcome);
        screen.json(&pools.map(|(pool, waits)| value(pool, &waits)).collect::<Vec<_>>())?;
    } else {
        screen.line(&title(&recording, args.seed))?;
        let table = table(served(&recording, &stage, &outcome));
        screen.text(&table.render(screen.colours()))?;
    }
    Ok(Exit::Done)
}

fn read(args: &SimulateArgs) -> Result<Recording, CliError> {
    let wrong = |error: &dyn std::fmt::Display| {
        CliError::failed(format!("cannot read {}: {error}", args.trace.display()))
    };
    let text = fs::read_to_string(&args.trace).map_err(|error| wrong(&error))?;
    Recording::read(&text).map_err(|error| wrong(&error))
}

/// What the numbers do not show.
fn remarks(recording: &Recording, stage: &Stage) -> Vec<String> {
    let functions: BTreeSet<usize> =
        stage.pools.iter().flat_map(|pool| pool.functions.iter().copied()).collect();
    let unserved = recording.trace.functions.iter().enumerate();
    let unserved = unserved.filter(|(place, _)| !functions.contains(place));
    let mut lines: Vec<String> = unserved
        .map(|(place, name)| {
            let jobs = recording.trace.jobs.iter().filter(|job| job.function == place).count();
            format!("no pool serves {name}: {} left out", format::counted(jobs, "job"))
        })
        .collect();
    if recording.missed > 0 {
        lines.push(format!("{} jobs were missed while it was recorded", recording.missed));
    }
    lines
}

/// Pools that serve what was recorded, each with the waits that its functions' jobs had then.
fn served<'a>(
    recording: &'a Recording,
    stage: &'a Stage,
    outcome: &'a Outcome,
) -> impl Iterator<Item = (&'a PoolOutcome, Vec<f64>)> {
    let pools = stage.pools.iter().zip(&outcome.pools);
    pools.filter(|(pool, _)| !pool.functions.is_empty()).map(|(pool, outcome)| {
        let waits = pool.functions.iter().filter_map(|place| recording.waits.get(*place));
        let mut waits: Vec<f64> = waits.flatten().copied().collect();
        waits.sort_by(f64::total_cmp);
        (outcome, waits)
    })
}

fn title(recording: &Recording, seed: u64) -> String {
    format!(
        "{} of {}, recorded {}: {}, seed {seed}",
        format::duration(recording.trace.seconds),
        recording.head.name,
        recording.head.recorded,
        format::counted(recording.trace.jobs.len(), "job"),
    )
}

fn table<'a>(pools: impl Iterator<Item = (&'a PoolOutcome, Vec<f64>)>) -> Table {
    let mut table = Table::new(&[
        Column::Left("POOL"),
        Column::Right("JOBS"),
        Column::Right("WAIT P50"),
        Column::Right("P99"),
        Column::Right("RECORDED P50"),
        Column::Right("P99"),
        Column::Right("LATE"),
        Column::Right("WORKERS"),
        Column::Right("COST"),
        Column::Right("STARTS"),
        Column::Right("TURNS"),
    ]);
    for (pool, then) in pools {
        let then = PoolOutcome { waits: then, ..PoolOutcome::default() };
        let wait = |of: &PoolOutcome, share| Cell::plain(format::duration(of.wait(share)));
        table.row(vec![
            Cell::plain(&pool.name),
            Cell::plain(format::number(pool.waits.len() as u64)),
            wait(pool, 0.5),
            wait(pool, 0.99),
            wait(&then, 0.5),
            wait(&then, 0.99),
            Cell::plain(format!("{:.1}%", pool.misses())),
            Cell::plain(format::bounds(pool.workers_min, pool.workers_max)),
            Cell::plain(format!("{:.2}", pool.cost())),
            Cell::plain(format::number(pool.starts)),
            Cell::plain(format::number(pool.reversals)),
        ]);
    }
    table
}

fn value(pool: &PoolOutcome, then: &[f64]) -> Value {
    let then = PoolOutcome { waits: then.to_vec(), ..PoolOutcome::default() };
    json!({
        "pool": pool.name,
        "jobs": pool.waits.len(),
        "wait_p50": pool.wait(0.5),
        "wait_p99": pool.wait(0.99),
        "recorded_p50": then.wait(0.5),
        "recorded_p99": then.wait(0.99),
        "late_percent": pool.misses(),
        "workers_min": pool.workers_min,
        "workers_max": pool.workers_max,
        "cost": pool.cost(),
        "starts": pool.starts,
        "reversals": pool.reversals,
    })
}
