//! The loads that scalers are judged by.

use std::time::Duration;

use gear_supervisor::config::ScalingSettings;
use gear_supervisor::scaler::simulation::{Chance, Stage, StagePool, Trace};

use super::trouble;

/// Half an hour.
pub(crate) const SECONDS: f64 = 1800.0;
const MAX: u32 = 40;
const MIB: u64 = 1 << 20;

/// One load, on the pools and the host that it meets.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) build: fn(&mut Chance) -> (Stage, Trace),
}

/// All of them, in the order of the table.
pub(crate) const ALL: [Scenario; 30] = [
    of("steady", "8/s of 1 s", steady),
    of("step", "2/s, then 20/s of 1 s", step),
    of("ramp", "1/s to 25/s of 1 s", ramp),
    of("spike", "500 of 0.5 s within 2 s above 1/s", spike),
    of("sharp", "the same within 1 s", sharp),
    of("sawtooth", "15/s of 1 s in 30 s of 120 s", sawtooth),
    of("sparse", "one of 2 s in 90 s, min 0, start 2 s", sparse),
    of("long", "6 a minute of 120 s, max_wait 10 s", long),
    of("mixed", "2 % of 60 s among 0.2 s", mixed),
    of("two", "two pools on 16 places", two),
    of("memory", "workers of 1 GB and 60 MB on 6.5 GB", memory),
    of("poison", "10 jobs that kill their worker", poison),
    of("broken", "the program is broken for 5 min", broken),
    of("slow", "step with a start of 10 s", slow),
    of("tiny", "50/s, then 400/s of 10 ms, max_wait 1 s", tiny),
    of("even", "8/s of 1 s at even distances", even),
    of("edge", "9.7/s of 1 s for 10 workers", edge),
    of("diurnal", "1/s to 15/s and back", diurnal),
    of("flaky", "3 of 10 starts fail", flaky),
    of("shared", "three pools that share a function", shared),
    of("together", "bursts of three pools at once on 32 places", trouble::together),
    of("retries", "all jobs fail for a minute and come back", trouble::retries),
    of("hangs", "1 % of jobs hang, job_timeout 20 s", trouble::hangs),
    of("leak", "workers grow by 1 % a job, max_jobs 100, 2 GB", trouble::leak),
    of("deploy", "all workers are replaced at 20/s", trouble::deploy),
    of("lowered", "max 4 for a minute", trouble::lowered),
    of("restart", "the daemon is started anew", trouble::restart),
    of("asleep", "the clock jumps by an hour", trouble::asleep),
    of("lost", "the servers are lost for 30 s", trouble::lost),
    of("paused", "the function is paused for 2 min", trouble::paused),
];

const fn of(
    name: &'static str,
    about: &'static str,
    build: fn(&mut Chance) -> (Stage, Trace),
) -> Scenario {
    Scenario { name, about, build }
}

/// The scenario with this name.
pub(crate) fn named(name: &str) -> Scenario {
    *ALL.iter().find(|scenario| scenario.name == name).unwrap()
}

pub(crate) fn pool() -> StagePool {
    StagePool::new("work", 1, MAX)
}

fn waits(seconds: u64) -> ScalingSettings {
    ScalingSettings { max_wait: Duration::from_secs(seconds), ..ScalingSettings::default() }
}

/// Poisson arrivals at a rate that may change, by thinning (Lewis and Shedler, 1979).
pub(crate) fn poisson(
    trace: &mut Trace,
    chance: &mut Chance,
    (function, most): (usize, f64),
    rate: impl Fn(f64) -> f64,
    service: impl Fn(&mut Chance) -> f64,
) {
    let mut at = chance.exponential(1.0 / most);
    while at < trace.seconds {
        if chance.unit() * most < rate(at) {
            let seconds = service(chance);
            trace.push(at, function, seconds);
        }
        at += chance.exponential(1.0 / most);
    }
    trace.sort();
}

pub(crate) fn exponential(mean: f64) -> impl Fn(&mut Chance) -> f64 {
    move |chance| chance.exponential(mean)
}

/// One function whose jobs take a second.
pub(crate) fn seconds_at(chance: &mut Chance, most: f64, rate: impl Fn(f64) -> f64) -> Trace {
    let mut trace = Trace::new(&["work"], SECONDS);
    poisson(&mut trace, chance, (0, most), rate, exponential(1.0));
    trace
}

pub(crate) fn steady(chance: &mut Chance) -> (Stage, Trace) {
    (Stage::of(vec![pool()]), seconds_at(chance, 8.0, |_| 8.0))
}

fn stepped(at: f64) -> f64 {
    if at < 600.0 { 2.0 } else { 20.0 }
}

pub(crate) fn step(chance: &mut Chance) -> (Stage, Trace) {
    (Stage::of(vec![pool()]), seconds_at(chance, 20.0, stepped))
}

fn ramp(chance: &mut Chance) -> (Stage, Trace) {
    (Stage::of(vec![pool()]), seconds_at(chance, 25.0, |at| 1.0 + 24.0 * at / SECONDS))
}

fn spiked(chance: &mut Chance, within: f64) -> (Stage, Trace) {
    let mut trace = Trace::new(&["work"], SECONDS);
    for _ in 0..500 {
        trace.push(600.0 + chance.between(0.0, within), 0, chance.exponential(0.5));
    }
    poisson(&mut trace, chance, (0, 1.0), |_| 1.0, exponential(0.5));
    (Stage::of(vec![pool()]), trace)
}

fn spike(chance: &mut Chance) -> (Stage, Trace) {
    spiked(chance, 2.0)
}

fn sharp(chance: &mut Chance) -> (Stage, Trace) {
    spiked(chance, 1.0)
}

fn sawtooth(chance: &mut Chance) -> (Stage, Trace) {
    let rate = |at: f64| if at % 120.0 < 30.0 { 15.0 } else { 0.0 };
    (Stage::of(vec![pool()]), seconds_at(chance, 15.0, rate))
}

fn sparse(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["work"], SECONDS);
    poisson(&mut trace, chance, (0, 1.0 / 90.0), |_| 1.0, exponential(2.0));
    (Stage::of(vec![StagePool { startup: 2.0, ..StagePool::new("work", 0, MAX) }]), trace)
}

fn long(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["work"], SECONDS);
    let service = |chance: &mut Chance| chance.lognormal(120.0, 0.5);
    poisson(&mut trace, chance, (0, 0.1), |_| 1.0, service);
    (Stage::of(vec![StagePool { scaling: waits(10), ..pool() }]), trace)
}

fn mixed(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["work"], SECONDS);
    let service = |chance: &mut Chance| if chance.unit() < 0.02 { 60.0 } else { 0.2 };
    poisson(&mut trace, chance, (0, 5.9), |_| 5.9, service);
    (Stage::of(vec![pool()]), trace)
}

/// A pool with bursts of a minute in five, and one of long jobs that is in no hurry.
fn two(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["hi", "lo"], SECONDS);
    let bursts = |at: f64| if at % 300.0 >= 240.0 { 14.0 } else { 0.5 };
    poisson(&mut trace, chance, (0, 14.0), bursts, exponential(0.5));
    poisson(&mut trace, chance, (1, 1.0), |_| 1.0, exponential(8.0));
    let hi = ScalingSettings { weight: 4, priority: 1, reserve: 6, ..waits(2) };
    let mut stage = Stage::of(vec![
        StagePool { functions: vec![0], scaling: hi, ..StagePool::new("hi", 1, 16) },
        StagePool { functions: vec![1], scaling: waits(60), ..StagePool::new("lo", 1, 16) },
    ]);
    stage.host.workers_max = Some(16);
    (stage, trace)
}

fn memory(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["big", "small"], SECONDS);
    let bursts = |at: f64| if at % 300.0 < 60.0 { 1.5 } else { 0.5 };
    poisson(&mut trace, chance, (0, 1.5), bursts, exponential(5.0));
    poisson(&mut trace, chance, (1, 16.0), |_| 16.0, exponential(0.5));
    let big = StagePool { functions: vec![0], size: 1024 * MIB, ..StagePool::new("big", 0, 20) };
    let small = StagePool { functions: vec![1], size: 60 * MIB, ..StagePool::new("small", 1, 40) };
    let stage = Stage { memory: Some(6656 * MIB), ..Stage::of(vec![big, small]) };
    (stage, trace)
}

fn poison(chance: &mut Chance) -> (Stage, Trace) {
    let (stage, mut trace) = steady(chance);
    for nth in 0..10_u32 {
        trace.push(60.0 + 170.0 * f64::from(nth), 0, 0.5);
        if let Some(job) = trace.jobs.last_mut() {
            job.poison = true;
        }
    }
    trace.sort();
    (stage, trace)
}

fn broken(chance: &mut Chance) -> (Stage, Trace) {
    let (_, trace) = steady(chance);
    (Stage::of(vec![StagePool { broken: 600.0..900.0, ..pool() }]), trace)
}

fn slow(chance: &mut Chance) -> (Stage, Trace) {
    let (_, trace) = step(chance);
    (Stage::of(vec![StagePool { startup: 10.0, ..pool() }]), trace)
}

fn tiny(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["work"], 600.0);
    let rate = |at: f64| if at < 300.0 { 50.0 } else { 400.0 };
    poisson(&mut trace, chance, (0, 400.0), rate, exponential(0.01));
    (Stage::of(vec![StagePool { scaling: waits(1), ..pool() }]), trace)
}

fn even(_: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["work"], SECONDS);
    let mut at = 0.0;
    while at < SECONDS {
        trace.push(at, 0, 1.0);
        at += 0.125;
    }
    (Stage::of(vec![pool()]), trace)
}

fn edge(chance: &mut Chance) -> (Stage, Trace) {
    let trace = seconds_at(chance, 9.7, |_| 9.7);
    (Stage::of(vec![StagePool::new("work", 1, 10)]), trace)
}

fn diurnal(chance: &mut Chance) -> (Stage, Trace) {
    let day = |at: f64| 8.0 - 7.0 * (at / SECONDS * std::f64::consts::TAU).cos();
    (Stage::of(vec![pool()]), seconds_at(chance, 15.0, day))
}

fn flaky(chance: &mut Chance) -> (Stage, Trace) {
    let (_, trace) = step(chance);
    (Stage::of(vec![StagePool { failing_percent: 30, ..pool() }]), trace)
}

/// One pool for both functions, and one for each alone.
fn shared(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["short", "long"], SECONDS);
    let rate = |at: f64| if at % 600.0 < 300.0 { 6.0 } else { 12.0 };
    poisson(&mut trace, chance, (0, 12.0), rate, exponential(0.5));
    poisson(&mut trace, chance, (1, 0.5), |_| 0.5, exponential(8.0));
    let stage = Stage::of(vec![
        StagePool { functions: vec![0, 1], ..StagePool::new("any", 0, 20) },
        StagePool { functions: vec![0], ..StagePool::new("short", 1, 20) },
        StagePool { functions: vec![1], ..StagePool::new("long", 0, 20) },
    ]);
    (stage, trace)
}
