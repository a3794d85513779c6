//! What the scaler must reach on the loads of `scenarios`: medians over the seeds, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test fails by panicking; the report uses what the gates do not"
)]

mod baselines;
mod fleet;
mod runs;
mod scenarios;
mod trouble;
mod troubled;

use gear_supervisor::scaler::simulation::Outcome;
use runs::{Who, all, median, once};
use scenarios::named;

fn ours(name: &str) -> Vec<Outcome> {
    let outcomes = all(&named(name), Who::Ours);
    for outcome in &outcomes {
        assert_eq!(outcome.kills, 0, "{name}: a job was cut off");
        assert_eq!(outcome.oom_kills, 0, "{name}: memory ran out");
        assert_eq!(outcome.over_commit, 0, "{name}: more workers than the host has places");
    }
    outcomes
}

fn p99(outcomes: &[Outcome], pool: usize) -> f64 {
    median(outcomes, |outcome| outcome.pools[pool].wait(0.99))
}

fn misses(outcomes: &[Outcome], pool: usize) -> f64 {
    median(outcomes, |outcome| outcome.pools[pool].misses())
}

fn number(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

fn at_most(what: &str, value: f64, limit: f64) {
    assert!(value <= limit, "{what}: {value} is above {limit}");
}

#[test]
fn a_steady_load_is_served_at_once_by_few_workers_that_stay() {
    let steady = ours("steady");
    at_most("p99", p99(&steady, 0), 0.5);
    at_most("cost", median(&steady, Outcome::cost), 1.6);
    at_most("reversals", median(&steady, |outcome| number(outcome.reversals())), 5.0);
}

#[test]
fn a_step_and_a_ramp_are_followed_within_a_second() {
    for name in ["step", "ramp"] {
        let outcomes = ours(name);
        at_most(name, p99(&outcomes, 0), 1.0);
        at_most(name, misses(&outcomes, 0), 0.0);
    }
}

#[test]
fn a_spike_is_met_almost_as_by_a_pool_that_is_always_large() {
    let fixed = all(&named("spike"), Who::FixedMax);
    at_most("misses", misses(&ours("spike"), 0), misses(&fixed, 0) + 3.0);
    // Within one second the 39 workers to be started are all late by their start.
    let fixed = all(&named("sharp"), Who::FixedMax);
    at_most("misses when sharp", misses(&ours("sharp"), 0), misses(&fixed, 0) + 4.0);
}

#[test]
fn a_load_that_comes_back_is_waited_for() {
    let sawtooth = ours("sawtooth");
    at_most("misses", misses(&sawtooth, 0), 0.0);
    at_most("starts", median(&sawtooth, |outcome| number(outcome.starts())), 80.0);
}

#[test]
fn a_pool_of_none_wakes_for_a_job_within_its_start() {
    let sparse = ours("sparse");
    at_most("p99", p99(&sparse, 0), 2.0 * 1.2 + 0.05);
    at_most("starved", median(&sparse, |outcome| outcome.pools[0].starved), 2.5);
}

#[test]
fn jobs_that_kill_their_workers_cost_nobody_else_the_objective() {
    let poison = ours("poison");
    at_most("misses", misses(&poison, 0), 0.0);
    assert!(poison.iter().all(|outcome| (outcome.crashes, outcome.given_up) == (30, 10)));
}

#[test]
fn an_important_pool_gets_room_and_the_other_never_starves() {
    let two = ours("two");
    at_most("misses of the important", misses(&two, 0), 15.0);
    at_most("misses of the other", misses(&two, 1), 5.0);
    at_most("starved", median(&two, |outcome| outcome.pools[1].starved), 60.0);
}

#[test]
fn memory_never_runs_out_although_sizes_are_learned() {
    let memory = ours("memory");
    at_most("misses of the small", misses(&memory, 1), 5.0);
    for outcome in memory {
        assert!(outcome.memory_peak <= 6656 << 20, "{}", outcome.memory_peak);
    }
}

#[test]
fn other_loads_keep_their_objectives() {
    for name in ["long", "mixed", "tiny", "even", "diurnal", "flaky", "shared", "broken"] {
        let outcomes = ours(name);
        for pool in 0..outcomes[0].pools.len() {
            at_most(name, misses(&outcomes, pool), 0.5);
        }
    }
    at_most("slow", misses(&ours("slow"), 0), 1.0);
    let fixed = all(&named("edge"), Who::FixedMax);
    at_most("edge", misses(&ours("edge"), 0), misses(&fixed, 0) + 0.5);
}

#[test]
fn a_count_stays_within_its_bounds() {
    for scenario in scenarios::ALL {
        let (stage, _) = (scenario.build)(&mut gear_supervisor::scaler::simulation::Chance::new(1));
        let outcome = once(&scenario, Who::Ours, 1);
        for (pool, stage) in outcome.pools.iter().zip(&stage.pools) {
            assert!(pool.workers_max <= stage.count.max, "{}: {pool:?}", scenario.name);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let step = named("step");
    assert_eq!(once(&step, Who::Ours, 3), once(&step, Who::Ours, 3));
}
