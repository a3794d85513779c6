//! `cargo bench --bench simulator [-- SCENARIO…]`: the table of all scenarios under all policies,
//! medians over the seeds, and a plot of each under target/simulator.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    reason = "a report prints, fails by panicking, and uses less than the gates"
)]

mod baselines;
mod runs;
mod scenarios;
mod trouble;

use std::path::Path;

use gear_supervisor::scaler::simulation::{Outcome, plot};
use runs::{SEEDS, Who, all, median};

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/simulator");
    std::fs::create_dir_all(&folder).unwrap();
    println!(
        "medians over {} seeds; waits in seconds, cost in worker-seconds per busy second",
        SEEDS.len()
    );
    for scenario in scenarios::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == scenario.name) {
            continue;
        }
        println!("\n{}: {}", scenario.name, scenario.about);
        println!(
            "  {:16} {:>22} {:>9} {:>6} {:>7} {:>9} {:>5} {:>5} {:>4} {:>8}",
            "",
            "wait p50/p99",
            "misses %",
            "cost",
            "starts",
            "reversals",
            "over",
            "kills",
            "oom",
            "starved"
        );
        let mut plotted = Vec::new();
        for who in Who::ALL {
            let outcomes = all(&scenario, who);
            let of = |read: &dyn Fn(&Outcome) -> f64| median(&outcomes, read);
            let pools = outcomes[0].pools.len();
            let waits: Vec<_> = (0..pools)
                .map(|pool| {
                    let at = |share| of(&|outcome| outcome.pools[pool].wait(share));
                    format!("{:.2}/{:.2}", at(0.5), at(0.99))
                })
                .collect();
            let misses: Vec<_> = (0..pools)
                .map(|pool| format!("{:.1}", of(&|outcome| outcome.pools[pool].misses())))
                .collect();
            let starved =
                of(&|outcome| outcome.pools.iter().map(|p| p.starved).fold(0.0, f64::max));
            println!(
                "  {:16} {:>22} {:>9} {:>6.2} {:>7} {:>9} {:>5} {:>5} {:>4} {:>8.1}",
                who.name(),
                waits.join(" "),
                misses.join(" "),
                of(&Outcome::cost),
                of(&|outcome| real(outcome.starts())),
                of(&|outcome| real(outcome.reversals())),
                of(&|outcome| f64::from(outcome.over_commit)),
                of(&|outcome| real(outcome.kills)),
                of(&|outcome| real(outcome.oom_kills)),
                starved,
            );
            plotted.push((who.name(), outcomes.into_iter().next().unwrap()));
        }
        let file = folder.join(format!("{}.svg", scenario.name));
        let title = format!("{}: {}", scenario.name, scenario.about);
        let runs: Vec<_> = plotted.iter().map(|(who, outcome)| (*who, outcome)).collect();
        std::fs::write(&file, plot(&title, &runs)).unwrap();
    }
    println!("\nplots are in {}", folder.display());
}

fn real(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}
