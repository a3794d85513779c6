//! Loads in the middle of which something goes wrong, or is done to the daemon.

use gear_supervisor::config::Count;
use gear_supervisor::scaler::simulation::{Chance, Happening, Stage, StagePool, Trace};

use super::scenarios::{SECONDS, exponential, poisson, pool, steady, step};

/// When it happens, in seconds.
pub(crate) const AT: u32 = 900;
/// When jobs of `retries` begin to fail, and stop.
const FAILING: std::ops::Range<f64> = 600.0..660.0;

/// A steady load of 8 workers, and what happens meanwhile.
fn amid(chance: &mut Chance, happenings: &[(u32, Happening)]) -> (Stage, Trace) {
    let (stage, trace) = steady(chance);
    (Stage { happenings: planned(happenings), ..stage }, trace)
}

fn planned(happenings: &[(u32, Happening)]) -> Vec<(f64, Happening)> {
    happenings.iter().map(|(at, what)| (f64::from(*at), *what)).collect()
}

/// Three pools with a burst of a minute in five, all in the same minute.
pub(crate) fn together(chance: &mut Chance) -> (Stage, Trace) {
    let mut trace = Trace::new(&["a", "b", "c"], SECONDS);
    let bursts = |at: f64| if at % 300.0 >= 240.0 { 7.0 } else { 1.0 };
    let mut pools = Vec::new();
    for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
        poisson(&mut trace, chance, (place, 7.0), bursts, exponential(1.0));
        pools.push(StagePool { functions: vec![place], ..StagePool::new(name, 1, 32) });
    }
    let mut stage = Stage::of(pools);
    stage.host.workers_max = Some(32);
    (stage, trace)
}

pub(crate) fn retries(chance: &mut Chance) -> (Stage, Trace) {
    let (stage, trace) = steady(chance);
    (Stage { failing: FAILING, ..stage }, trace)
}

pub(crate) fn hangs(chance: &mut Chance) -> (Stage, Trace) {
    let (stage, mut trace) = steady(chance);
    for job in &mut trace.jobs {
        if chance.unit() < 0.01 {
            job.service = 3600.0;
        }
    }
    (Stage { job_timeout: Some(20.0), ..stage }, trace)
}

pub(crate) fn leak(chance: &mut Chance) -> (Stage, Trace) {
    let (stage, trace) = steady(chance);
    let leaky = StagePool { leak_per_job: 640 << 10, jobs_max: Some(100), ..pool() };
    (Stage { pools: vec![leaky], memory: Some(2 << 30), ..stage }, trace)
}

pub(crate) fn deploy(chance: &mut Chance) -> (Stage, Trace) {
    let (stage, trace) = step(chance);
    (Stage { happenings: planned(&[(AT, Happening::Deploy(0))]), ..stage }, trace)
}

pub(crate) fn lowered(chance: &mut Chance) -> (Stage, Trace) {
    let bounds = |max| Happening::Bounds(0, Count { min: 1, max });
    amid(chance, &[(AT, bounds(4)), (AT + 60, bounds(40))])
}

pub(crate) fn restart(chance: &mut Chance) -> (Stage, Trace) {
    amid(chance, &[(AT, Happening::Restart)])
}

pub(crate) fn asleep(chance: &mut Chance) -> (Stage, Trace) {
    amid(chance, &[(AT, Happening::Jump(3600.0)), (AT + 300, Happening::Jump(30.0))])
}

pub(crate) fn lost(chance: &mut Chance) -> (Stage, Trace) {
    amid(chance, &[(AT, Happening::Lost), (AT + 30, Happening::Found)])
}

pub(crate) fn paused(chance: &mut Chance) -> (Stage, Trace) {
    amid(chance, &[(AT, Happening::Pause(0)), (AT + 120, Happening::Resume(0))])
}
