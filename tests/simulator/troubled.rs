//! What must hold while something goes wrong, and what the shape of every answer is.

use gear_supervisor::scaler::simulation::{Chance, Moment, Outcome, Stage, Trace};

use super::runs::{Who, all, median, once, run_of};
use super::scenarios::{ALL, exponential, named, poisson, pool, seconds_at};
use super::trouble::AT;
use super::{at_most, misses, number, ours};

/// What a worker needs to start at most, in seconds.
const STARTUP: u32 = 2;
/// The window, `idle_ttl`, and what shrinking by a quarter a second takes.
const BACK_AFTER: u32 = 60 + 30 + 4;

/// Workers of the first pool at each second, and the wait of the oldest.
fn seconds(outcome: &Outcome, range: std::ops::Range<u32>) -> Vec<(u32, f64)> {
    let seconds = (0_u32..).zip(&outcome.moments).filter(|(second, _)| range.contains(second));
    seconds.map(|(_, moment)| (moment.pools[0].1, moment.pools[0].3)).collect()
}

fn fewest(outcome: &Outcome, range: std::ops::Range<u32>) -> u32 {
    seconds(outcome, range).iter().map(|(workers, _)| *workers).min().unwrap()
}

fn most(outcome: &Outcome, range: std::ops::Range<u32>) -> u32 {
    seconds(outcome, range).iter().map(|(workers, _)| *workers).max().unwrap()
}

/// No more misses than a pool that is always at its max has, but for so many points.
fn nearly_as_good_as_fixed(name: &str, points: f64) {
    let fixed = all(&named(name), Who::FixedMax);
    let outcomes = ours(name);
    for pool in 0..outcomes[0].pools.len() {
        at_most(name, misses(&outcomes, pool), misses(&fixed, pool) + points);
    }
}

#[test]
fn bursts_of_all_pools_at_once_share_the_places() {
    nearly_as_good_as_fixed("together", 0.5);
    for outcome in ours("together") {
        assert!(outcome.pools.iter().all(|pool| pool.starved < 60.0));
    }
}

#[test]
fn jobs_that_fail_and_come_back_cause_no_more_than_one_growth() {
    nearly_as_good_as_fixed("retries", 3.0);
    for outcome in ours("retries") {
        assert!(outcome.failures > 1000, "no storm: {}", outcome.failures);
        at_most("starts", number(outcome.starts()), 2.0 * 40.0);
        assert!(most(&outcome, 900..1800) <= 20, "the storm is not forgotten");
    }
}

#[test]
fn jobs_that_hang_cost_nobody_else_the_objective() {
    let hangs = ours("hangs");
    at_most("misses", misses(&hangs, 0), 0.5);
    assert!(hangs.iter().all(|outcome| outcome.given_up > 50));
}

#[test]
fn workers_that_leak_never_exhaust_the_memory() {
    let leak = ours("leak");
    at_most("misses", misses(&leak, 0), 0.5);
    for outcome in leak {
        assert!(outcome.memory_peak > 13 * (64 << 20), "nothing leaks: {}", outcome.memory_peak);
    }
}

#[test]
fn a_deploy_at_the_peak_delays_nobody() {
    let deploy = ours("deploy");
    let plain = ours("step");
    at_most("misses", misses(&deploy, 0), 0.0);
    let starts = |outcomes: &[Outcome]| median(outcomes, |outcome| number(outcome.starts()));
    let workers = median(&deploy, |outcome| f64::from(fewest(outcome, 880..900)));
    at_most("starts", starts(&deploy), starts(&plain) + 1.5 * workers);
    assert!(starts(&deploy) >= starts(&plain) + 0.5 * workers, "nobody was replaced");
}

#[test]
fn a_lowered_max_takes_busy_workers_after_their_job_and_a_raised_one_catches_up() {
    for outcome in ours("lowered") {
        assert!(most(&outcome, AT + 15..AT + 60) <= 4, "{:?}", seconds(&outcome, 900..960));
        let waits = seconds(&outcome, AT + 90..1800).into_iter().map(|(_, oldest)| oldest);
        at_most("oldest after it was raised", waits.fold(0.0, f64::max), 5.0);
    }
}

#[test]
fn a_restart_of_the_daemon_shrinks_nothing() {
    let restart = ours("restart");
    at_most("misses", misses(&restart, 0), 0.0);
    for outcome in restart {
        let before = fewest(&outcome, AT - 1..AT);
        assert!(fewest(&outcome, AT..AT + 60) >= before, "{:?}", seconds(&outcome, 890..960));
    }
}

#[test]
fn a_machine_that_was_asleep_goes_on_as_before() {
    let asleep = ours("asleep");
    at_most("misses", misses(&asleep, 0), 0.0);
    for outcome in asleep {
        let before = fewest(&outcome, AT - 1..AT);
        let after = AT..AT + 60;
        assert!(fewest(&outcome, after.clone()) >= before, "{:?}", seconds(&outcome, after));
        assert!(most(&outcome, AT..1800) <= 20, "the sleep was taken for work");
    }
}

#[test]
fn lost_servers_cost_no_worker_and_their_backlog_is_met_at_once() {
    nearly_as_good_as_fixed("lost", 3.0);
    for outcome in ours("lost") {
        let before = fewest(&outcome, AT - 1..AT);
        // One may have been idle for long before.
        let after = fewest(&outcome, AT..AT + 30);
        assert!(after + 1 >= before, "{:?}", seconds(&outcome, 890..930));
    }
}

#[test]
fn a_paused_function_keeps_no_workers_and_is_met_at_once_when_it_goes_on() {
    nearly_as_good_as_fixed("paused", 3.0);
    for outcome in ours("paused") {
        assert!(fewest(&outcome, AT..AT + 120) <= 1, "{:?}", seconds(&outcome, 900..1020));
        assert!(most(&outcome, 1300..1800) <= 20, "the backlog is not forgotten");
    }
}

#[test]
fn steady_loads_of_all_sizes_are_calm() {
    for erlangs in [0.5, 2.0, 8.0, 32.0] {
        let build = |chance: &mut Chance| {
            let mut wide = pool();
            wide.count.max = 80;
            (Stage::of(vec![wide]), seconds_at(chance, erlangs, |_| erlangs))
        };
        let outcomes = run_of(build);
        let reversals = median(&outcomes, |outcome| number(outcome.reversals()));
        at_most(&format!("reversals in half an hour at {erlangs}"), reversals, 5.0);
    }
}

#[test]
fn a_step_is_met_within_a_start_and_a_fall_is_forgotten_in_time() {
    let build = |chance: &mut Chance| {
        let rate = |at: f64| if (600.0..1200.0).contains(&at) { 20.0 } else { 2.0 };
        (Stage::of(vec![pool()]), seconds_at(chance, 20.0, rate))
    };
    for outcome in run_of(build) {
        let risen = 600 + STARTUP + 2;
        let at_once = most(&outcome, risen..risen + 1);
        assert!(at_once >= 20, "{at_once} workers for 20 erlangs");
        // Two busy ones, and what chance adds to them within the window.
        let fallen = most(&outcome, 1200 + BACK_AFTER..1800);
        assert!(fallen <= 8, "{fallen} workers for 2 erlangs");
    }
}

#[test]
fn no_pool_is_without_workers_while_jobs_wait() {
    for scenario in ALL {
        let (stage, _) = (scenario.build)(&mut Chance::new(1));
        let alone = |pool: &usize| {
            let others = stage.pools.iter().enumerate().filter(|(other, _)| other != pool);
            let mut served = others.flat_map(|(_, other)| &other.functions);
            !served.any(|function| stage.pools[*pool].functions.contains(function))
        };
        let outcome = once(&scenario, Who::Ours, 1);
        for pool in (0..outcome.pools.len()).filter(alone) {
            let none = |moment: &&Moment| moment.pools[pool].0 > 0 && moment.pools[pool].1 == 0;
            let bare = outcome.moments.iter().filter(none).count();
            assert!(bare <= 1, "{}: {bare} s without workers", scenario.name);
        }
    }
}

#[test]
fn the_order_of_pools_changes_nothing() {
    let build = |names: [&'static str; 2]| {
        move |chance: &mut Chance| {
            let mut trace = Trace::new(&["few", "many"], 600.0);
            poisson(&mut trace, chance, (0, 2.0), |_| 2.0, exponential(1.0));
            poisson(&mut trace, chance, (1, 9.0), |_| 9.0, exponential(1.0));
            let pools = names.map(|name| {
                let mut pool = pool();
                (pool.name, pool.functions) = (name.to_owned(), vec![usize::from(name == "many")]);
                (pool.startup_spread, pool.count.max) = (0.0, 20);
                pool
            });
            let mut stage = Stage::of(pools.into());
            stage.host.workers_max = Some(14);
            (stage, trace)
        }
    };
    let one = run_of(build(["few", "many"]));
    let other = run_of(build(["many", "few"]));
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.pools[0], other.pools[1]);
        assert_eq!(one.pools[1], other.pools[0]);
    }
}
