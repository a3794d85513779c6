//! Several hosts on the same servers, without a leader.

use std::time::Instant;

use gear_supervisor::scaler::simulation::{
    Chance, Hosts, Knows, Outcome, Stage, StagePool, Trace, run,
};

use super::at_most;
use super::runs::SEEDS;

/// Two jobs of a second in a second, and from the fifth minute 24.
fn trace(chance: &mut Chance) -> Trace {
    let mut trace = Trace::new(&["work"], 600.0);
    let mut at = 0.0;
    while at < trace.seconds {
        let seconds = chance.exponential(1.0);
        trace.push(at, 0, seconds);
        at += chance.exponential(if at < 300.0 { 0.5 } else { 1.0 / 24.0 });
    }
    trace
}

fn together(hosts: &[u32], knows: Knows, seed: u64) -> Outcome {
    let pool = StagePool { startup: 2.0, ..StagePool::new("work", 0, 60) };
    let stage = Stage::of(hosts.iter().map(|_| pool.clone()).collect());
    let name = "work".parse().unwrap();
    let hosts = Hosts::new(Instant::now(), name, knows, hosts);
    run(stage, trace(&mut Chance::new(seed)), seed, |_| hosts)
}

/// Workers of all hosts at their most.
fn peak(outcome: &Outcome) -> f64 {
    let all = |moment: &gear_supervisor::scaler::simulation::Moment| {
        moment.pools.iter().map(|pool| pool.1).sum::<u32>()
    };
    f64::from(outcome.moments.iter().map(all).max().unwrap())
}

fn median(hosts: &[u32], knows: Knows, read: fn(&Outcome) -> f64) -> f64 {
    let mut values: Vec<f64> =
        SEEDS.iter().map(|seed| read(&together(hosts, knows, *seed))).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn three_hosts_start_little_more_than_one_alone_would() {
    let one = median(&[8], Knows::Nothing, peak);
    let cost = median(&[8], Knows::Nothing, Outcome::cost);
    at_most("peak", median(&[8, 8, 8], Knows::Published, peak), 1.3 * one);
    at_most("cost", median(&[8, 8, 8], Knows::Published, Outcome::cost), 1.3 * cost);
    at_most("peak of unlike hosts", median(&[4, 8, 16], Knows::Published, peak), 1.3 * one);
    at_most("peak of eight hosts", median(&[8; 8], Knows::Published, peak), 1.3 * one);
    // Beside hosts that publish nothing growth is slower, and no larger.
    at_most("peak of strangers", median(&[8; 3], Knows::Connections, peak), 1.3 * one);
    let (blind, seeing) =
        (median(&[8; 3], Knows::Nothing, peak), median(&[8; 3], Knows::Published, peak));
    assert!(blind > seeing, "publishing saves nothing: {blind} and {seeing}");
}
