//! Runs of scenarios under policies, and what is read off them.

use std::time::Instant;

use gear_supervisor::scaler::simulation::{Autoscaler, Chance, Outcome, Stage, Trace, run};

use super::baselines::{Clairvoyant, Driver, Horizon, Keda, PhpFpm, fixed_max, fixed_mean};
use super::scenarios::Scenario;

/// Seeds whose median counts.
pub(crate) const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    FixedMean,
    FixedMax,
    Horizon,
    Driver,
    Keda,
    PhpFpm,
    Clairvoyant,
}

impl Who {
    pub(crate) const ALL: [Self; 8] = [
        Self::Ours,
        Self::FixedMean,
        Self::FixedMax,
        Self::Horizon,
        Self::Driver,
        Self::Keda,
        Self::PhpFpm,
        Self::Clairvoyant,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "gear-supervisor",
            Self::FixedMean => "fixed mean",
            Self::FixedMax => "fixed max",
            Self::Horizon => "Horizon",
            Self::Driver => "Gearman::Driver",
            Self::Keda => "KEDA + HPA",
            Self::PhpFpm => "php-fpm dynamic",
            Self::Clairvoyant => "clairvoyant",
        }
    }
}

/// One run.
pub(crate) fn once(scenario: &Scenario, who: Who, seed: u64) -> Outcome {
    let (stage, trace) = (scenario.build)(&mut Chance::new(seed));
    let start = Instant::now();
    match who {
        Who::Ours => run(stage, trace, seed, |world| Autoscaler::new(world, start)),
        Who::FixedMean => run(stage, trace, seed, fixed_mean),
        Who::FixedMax => run(stage, trace, seed, fixed_max),
        Who::Horizon => run(stage, trace, seed, |_| Horizon),
        Who::Driver => run(stage, trace, seed, |_| Driver),
        Who::Keda => run(stage, trace, seed, |_| Keda::default()),
        Who::PhpFpm => run(stage, trace, seed, |_| PhpFpm::default()),
        Who::Clairvoyant => run(stage, trace, seed, Clairvoyant::new),
    }
}

/// Runs with every seed.
pub(crate) fn all(scenario: &Scenario, who: Who) -> Vec<Outcome> {
    SEEDS.into_iter().map(|seed| once(scenario, who, seed)).collect()
}

/// Runs of our scaler under another load, with every seed.
pub(crate) fn run_of(build: impl Fn(&mut Chance) -> (Stage, Trace)) -> Vec<Outcome> {
    let once = |seed| {
        let (stage, trace) = build(&mut Chance::new(seed));
        run(stage, trace, seed, |world| Autoscaler::new(world, Instant::now()))
    };
    SEEDS.into_iter().map(once).collect()
}

/// The median of a number over runs.
pub(crate) fn median(outcomes: &[Outcome], read: impl Fn(&Outcome) -> f64) -> f64 {
    let mut values: Vec<f64> = outcomes.iter().map(read).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
