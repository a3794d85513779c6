//! `cargo bench --bench scaler`: what one look of the scaler costs with 500 pools of 5,000 workers,
//! on a host with room for all and on one that is short.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "it prints its results"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use gear_supervisor::config::{Count, HostSettings, ScalingSettings};
use gear_supervisor::host::HostSample;
use gear_supervisor::model::FunctionName;
use gear_supervisor::scaler::{FunctionSample, Look, PoolSample, ScalerState, decide};

const POOLS: usize = 500;
const LOOKS: u32 = 2000;

fn main() {
    for (what, workers_max) in [("with room for all", None), ("short of places", Some(4000))] {
        let host = HostSettings { workers_max, ..HostSettings::default() };
        let mut looks: Vec<Duration> = measure(&host);
        looks.sort_unstable();
        let median = looks[looks.len() / 2];
        let slowest = looks[looks.len() * 99 / 100];
        println!(
            "{POOLS} pools, 5,000 workers, {what}: a look of all {median:?} (99 of 100 within \
             {slowest:?}), {:?} a pool",
            median / u32::try_from(POOLS).unwrap()
        );
    }
}

fn measure(host: &HostSettings) -> Vec<Duration> {
    let start = Instant::now();
    let mut state = ScalerState::default();
    let mut look = look();
    let mut times = Vec::new();
    for turn in 0..LOOKS {
        let now = start + Duration::from_millis(20) * turn;
        for (nth, function) in (0_u32..).zip(look.functions.values_mut()) {
            function.queued = usize::try_from((turn + nth) % 40).unwrap();
            function.ended += 1;
            function.busy += Duration::from_millis(160);
        }
        for pool in look.pools.values_mut() {
            pool.busy += Duration::from_millis(160);
        }
        let began = Instant::now();
        let plan = decide(&mut state, now, &look, host);
        times.push(began.elapsed());
        assert_eq!(plan.decisions.len(), POOLS);
    }
    times
}

fn look() -> Look {
    let mut look = Look {
        host: HostSample {
            cores: 64,
            mem_total: 256 << 30,
            mem_available: 128 << 30,
            ..HostSample::default()
        },
        ..Look::default()
    };
    for nth in 0..POOLS {
        let name = format!("pool{nth}");
        let function = FunctionName::from(name.as_str());
        let sample = FunctionSample {
            oldest: Duration::from_millis(300),
            running: 8,
            ..FunctionSample::default()
        };
        look.functions.insert(function.clone(), sample);
        let served: Arc<[FunctionName]> = Arc::new([function]);
        let bounds = Count { min: 1, max: 40 };
        let pool = PoolSample::new(bounds, ScalingSettings::default(), served);
        let pool = PoolSample { running: 8, idle: 2, sizes: vec![64 << 20], ..pool };
        look.pools.insert(name.parse().unwrap(), pool);
    }
    look
}
