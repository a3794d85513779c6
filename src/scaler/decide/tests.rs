//! Tables for the whole rule; the simulator in tests/ drives it over time.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::{Count, ScalingMode, ScalingSettings};
use crate::host::HostSample;

fn name(text: &str) -> PoolName {
    text.parse().unwrap()
}

fn pool(min: u32, max: u32, function: &str) -> PoolSample {
    let served: Arc<[FunctionName]> = Arc::new([FunctionName::from(function)]);
    PoolSample::new(Count { min, max }, ScalingSettings::default(), served)
}

fn queue(queued: usize) -> FunctionSample {
    FunctionSample { queued, ..FunctionSample::default() }
}

/// A look at pools that each serve the function of their own name.
fn look(pools: &[(&str, PoolSample, FunctionSample)]) -> Look {
    let functions = pools.iter().map(|(n, _, queue)| (FunctionName::from(*n), *queue));
    Look {
        fleet: None,
        functions: functions.collect(),
        pools: pools.iter().map(|(n, pool, _)| (name(n), pool.clone())).collect(),
        host: HostSample { cores: 64, ..HostSample::default() },
    }
}

fn once(look: &Look, host: &HostSettings) -> Plan {
    decide(&mut ScalerState::default(), Instant::now(), look, host)
}

/// What one pool is told at first sight.
fn first(pool: PoolSample, queue: FunctionSample) -> Decision {
    let plan = once(&look(&[("mail", pool, queue)]), &HostSettings::default());
    plan.decisions[&name("mail")]
}

#[test]
fn a_backlog_is_answered_at_once_and_in_one_step() {
    let late = FunctionSample { oldest: Duration::from_mins(1), ..queue(10) };
    // 500 one-second jobs and 5 s: a worker that starts now does 1 + 4 of them.
    for (queue, wanted) in [(queue(500), 100), (queue(5), 1), (queue(6), 2), (late, 8)] {
        assert_eq!(first(pool(0, 1000, "mail"), queue).wanted, wanted, "{queue:?}");
    }
}

#[test]
fn starting_workers_count_as_capacity() {
    let pool = PoolSample { starting: 100, ..pool(0, 1000, "mail") };
    assert_eq!(first(pool, queue(500)).target, 100);
}

#[test]
fn growth_is_bounded_by_max_and_by_starts_and_the_reason_says_so() {
    let decision = first(pool(0, 10, "mail"), queue(500));
    assert_eq!((decision.wanted, decision.target), (100, 10));
    assert_eq!(
        decision.reason(),
        "500 wait, oldest 0.0 s, 1.00 s a job: 100 workers meet max_wait = 5s; 0→10, limited by \
         the pool's max"
    );
    let mut look = look(&[("mail", pool(0, 50, "mail"), queue(500))]);
    look.host.cores = 4;
    let plan = once(&look, &HostSettings::default());
    assert_eq!(plan.decisions[&name("mail")].target, 4);
    assert_eq!(plan.again_after, Some(FRESH));
}

#[test]
fn a_pool_without_workers_starts_one_although_the_host_strains() {
    let mut look = look(&[("mail", pool(0, 8, "mail"), queue(9))]);
    look.host.cpu_pressure = Some(90.0);
    let plan = once(&look, &HostSettings::default());
    let decision = plan.decisions[&name("mail")];
    assert_eq!(decision.target, 1);
    assert_eq!(decision.limit, Some(Limit::Host(HostLimit::CpuPressure)));
}

#[test]
fn workers_of_unknown_size_are_tried_a_few_at_a_time() {
    let gib = 1 << 30;
    let grow = |sizes: Vec<u64>| {
        let sample = PoolSample { sizes, ..pool(0, 50, "mail") };
        let mut look = look(&[("mail", sample, queue(500))]);
        look.host = HostSample { mem_total: 8 * gib, mem_available: 6 * gib, ..look.host };
        let decision = once(&look, &HostSettings::default()).decisions[&name("mail")];
        (decision.target, decision.limit)
    };
    assert_eq!(grow(Vec::new()), (4, Some(Limit::UnknownSize)));
    assert_eq!(grow(vec![gib]), (5, Some(Limit::Host(HostLimit::Memory))));
}

#[test]
fn a_failing_pool_tries_one_worker_and_healthy_ones_stay() {
    let failing = |idle| PoolSample { failing: true, idle, ..pool(0, 50, "mail") };
    assert_eq!(first(failing(0), queue(500)).target, 1);
    let decision = first(failing(6), queue(500));
    assert_eq!((decision.target, decision.limit), (6, Some(Limit::Failing)));
}

#[test]
fn spare_workers_are_kept_while_anything_runs() {
    let with = |running| {
        let scaling = ScalingSettings { spare: 3, ..ScalingSettings::default() };
        first(PoolSample { scaling, running, ..pool(0, 50, "mail") }, queue(0)).wanted
    };
    assert_eq!((with(0), with(2)), (0, 5));
}

#[test]
fn a_function_of_two_pools_is_shared_and_only_one_of_them_wakes_for_it() {
    let (one, two) = (pool(0, 30, "mail"), pool(0, 10, "mail"));
    let mut shared = look(&[("one", one, queue(0)), ("two", two, queue(0))]);
    shared.functions = [(FunctionName::from("mail"), queue(1))].into();
    let targets = |look: &Look| {
        let plan = once(look, &HostSettings::default());
        plan.decisions.values().map(|decision| decision.target).collect::<Vec<_>>()
    };
    assert_eq!(targets(&shared), [1, 0]);
    shared.functions = [(FunctionName::from("mail"), queue(200))].into();
    assert_eq!(targets(&shared), [30, 10]);
    shared.functions = [(FunctionName::from("mail"), queue(100))].into();
    assert_eq!(targets(&shared), [15, 5]);
}

/// Drives one pool second by second; `sample` sees the target of the second before.
fn over(
    seconds: std::ops::Range<u64>,
    state: &mut ScalerState,
    start: Instant,
    mut sample: impl FnMut(u64, u32) -> (PoolSample, FunctionSample),
) -> Vec<u32> {
    let mut target = 0;
    let mut targets = Vec::new();
    for second in seconds {
        let (pool, queue) = sample(second, target);
        let look = look(&[("mail", pool, queue)]);
        let now = start + Duration::from_secs(second);
        let plan = decide(state, now, &look, &HostSettings::default());
        target = plan.decisions[&name("mail")].target;
        targets.push(target);
    }
    targets
}

#[test]
fn shrinking_takes_a_quarter_a_second_of_workers_that_have_been_idle_long() {
    let (mut state, start) = (ScalerState::default(), Instant::now());
    let busy = |second: u64| Duration::from_secs(10 * second);
    let sample = |second: u64, idle_long: usize| {
        let running = PoolSample { running: 10, busy: busy(second), ..pool(1, 50, "mail") };
        (PoolSample { idle: 30, idle_long, ..running }, queue(0))
    };
    let held = over(0..600, &mut state, start, |second, _| sample(second, 0));
    assert_eq!(held.last(), Some(&40), "nobody is idle long enough");
    let fell = over(600..610, &mut state, start, |second, target| {
        let idle = target.max(10) as usize - 10;
        let (pool, queue) = sample(second, 30);
        if second == 600 {
            (pool, queue)
        } else {
            (PoolSample { idle, idle_long: idle, ..pool }, queue)
        }
    });
    // Ten busy and 1.4 times their root are kept.
    assert_eq!(fell[..5], [30, 22, 16, 15, 15]);
}

#[test]
fn a_restart_of_the_daemon_keeps_the_workers_that_it_finds() {
    let (mut state, start) = (ScalerState::default(), Instant::now());
    let found = |_, _| (PoolSample { idle: 9, idle_long: 9, ..pool(0, 50, "mail") }, queue(0));
    assert!(over(0..59, &mut state, start, found).iter().all(|target| *target == 9));
}

#[test]
fn the_last_worker_leaves_after_zero_after() {
    let (mut state, start) = (ScalerState::default(), Instant::now());
    let idle = |second: u64, target: u32| {
        let idle = if second == 0 { 1 } else { target as usize };
        (PoolSample { idle, idle_long: idle, ..pool(0, 50, "mail") }, queue(0))
    };
    let targets = over(0..130, &mut state, start, idle);
    assert_eq!(targets.iter().filter(|target| **target == 1).count(), 120);
}

#[test]
fn room_is_taken_from_a_pool_above_its_share_idle_workers_first() {
    let start = Instant::now();
    let important = ScalingSettings { priority: 1, ..ScalingSettings::default() };
    let take = |idle: usize| {
        let mut state = ScalerState::default();
        let host = HostSettings { workers_max: Some(10), ..HostSettings::default() };
        let low = PoolSample { running: 10 - idle, idle, ..pool(0, 10, "low") };
        let high = PoolSample { scaling: important, ..pool(0, 10, "high") };
        let look = look(&[("high", high, queue(100)), ("low", low, queue(50))]);
        decide(&mut state, start, &look, &host);
        let plan = decide(&mut state, start + GRACE, &look, &host);
        let low = plan.decisions[&name("low")];
        (low.target, low.take)
    };
    assert_eq!(take(3), (7, Take::Idle));
    assert_eq!(take(0), (5, Take::Busy));
}

#[test]
fn memory_stalls_send_idle_workers_away_and_then_busy_ones() {
    let relief = |stall, idle| {
        let sample = PoolSample { running: 8 - idle, idle, ..pool(2, 10, "mail") };
        let mut look = look(&[("mail", sample, queue(0))]);
        look.host.mem_stall = Some(stall);
        let mut state = ScalerState::default();
        let now = Instant::now();
        decide(&mut state, now, &look, &HostSettings::default()).decisions[&name("mail")].target
    };
    assert_eq!(relief(1.0, 4), 8);
    assert_eq!(relief(6.0, 4), 6);
    assert_eq!(relief(6.0, 0), 8);
    assert_eq!(relief(21.0, 0), 7);
}

#[test]
fn what_a_neighbour_takes_of_the_reserve_is_given_back_and_the_reason_says_so() {
    let gib: u64 = 1 << 30;
    let mut state = ScalerState::default();
    let start = Instant::now();
    let mut at = |second, available, idle| {
        let running = 8 - idle;
        let sizes = vec![gib / 4];
        let mut look =
            look(&[("mail", PoolSample { running, idle, sizes, ..pool(2, 10, "mail") }, queue(9))]);
        look.host = HostSample { mem_total: 16 * gib, mem_available: available, ..look.host };
        let host = HostSettings {
            memory_reserve: Some(crate::config::MemoryReserve::Bytes(2 * gib)),
            ..HostSettings::default()
        };
        let now = start + Duration::from_secs(second);
        decide(&mut state, now, &look, &host).decisions[&name("mail")]
    };
    assert!(at(0, 8 * gib, 2).target >= 8);
    let idle = at(1, 2 * gib - 1, 2);
    assert!(idle.reason().ends_with("idle, and the host is short of memory"), "{}", idle.reason());
    assert_eq!((idle.take, idle.target >= 6), (Take::IdleForMemory, true));
    // Busy ones stay while half of the reserve is left.
    assert_eq!(at(3, gib + 1, 0).take, Take::Surplus);
    let busy = at(5, gib - 1, 0);
    assert_eq!((busy.take, busy.target), (Take::BusyForMemory, busy.before - 1));
    assert!(busy.reason().contains("after their jobs: the host is short of memory"));
    // Down to the minimum, and no further.
    let last = (6..20).map(|second| at(second, 1, 0).target).last();
    assert_eq!(last, Some(2));
}

#[test]
fn a_short_memory_spares_the_first_worker_and_waits_for_those_that_leave() {
    let take = |(min, running, leaving), stall| {
        let sample = PoolSample { running, leaving, ..pool(min, 10, "mail") };
        let mut look = look(&[("mail", sample, queue(1))]);
        look.host.mem_stall = Some(stall);
        let plan =
            decide(&mut ScalerState::default(), Instant::now(), &look, &HostSettings::default());
        plan.decisions[&name("mail")].take
    };
    assert_eq!(take((0, 1, 0), 90.0), Take::Surplus);
    assert_eq!(take((0, 2, 0), 90.0), Take::BusyForMemory);
    assert_eq!(take((0, 8, 1), 90.0), Take::Surplus);
}

#[test]
fn a_busy_host_keeps_pools_at_their_minimum_and_the_reason_says_so() {
    let sample = PoolSample { idle: 2, ..pool(2, 8, "mail") };
    let mut look = look(&[("mail", sample, queue(90))]);
    look.host.cpu_pressure = Some(60.0);
    let at = |most| {
        let host = HostSettings { cpu_pressure_max: most, ..HostSettings::default() };
        once(&look, &host).decisions[&name("mail")]
    };
    assert_eq!(at(50.0).target, 2);
    assert!(at(50.0).reason().ends_with("stays at 2, limited by cpu pressure"));
    assert_eq!(at(70.0).target, 8);
}

#[test]
fn modes_differ_in_the_margin_above_the_load() {
    let steady = |mode| {
        let (mut state, start) = (ScalerState::default(), Instant::now());
        let scaling = ScalingSettings { mode, ..ScalingSettings::default() };
        let run = |second: u64, _| {
            let busy = Duration::from_secs(16 * second);
            (PoolSample { scaling, running: 16, busy, ..pool(0, 50, "mail") }, queue(0))
        };
        *over(0..600, &mut state, start, run).last().unwrap()
    };
    let modes = [ScalingMode::Economy, ScalingMode::Balanced, ScalingMode::Latency];
    assert_eq!(modes.map(steady), [20, 22, 25]);
}

proptest! {
    #[test]
    fn a_decision_stays_in_bounds_and_never_takes_a_busy_worker(
        (queued, running) in (0_usize..10_000, 0_usize..100),
        (idle, starting) in (0_usize..100, 0_usize..100),
        oldest in 0_u64..1000,
        min in 0_u32..20,
        extra in 100_u32..300,
    ) {
        let oldest = Duration::from_secs(oldest);
        let sample = PoolSample { running, idle, starting, idle_long: idle, ..pool(min, min + extra, "mail") };
        let have = sample.have();
        let decision = first(sample, FunctionSample { oldest, running, ..queue(queued) });
        prop_assert!(decision.target >= min);
        prop_assert!(decision.target <= (min + extra).max(have));
        if decision.take != Take::Busy {
            prop_assert!(decision.target >= have.min(min + extra).saturating_sub(u32::try_from(idle).unwrap()));
        }
    }

    #[test]
    fn more_jobs_older_jobs_and_more_busy_workers_never_want_fewer(
        queued in 0_usize..10_000,
        more in 0_usize..1000,
        oldest in 0_u64..100,
        running in 0_usize..50,
    ) {
        let wanted = |queued, oldest, running| {
            let sample = PoolSample { running, ..pool(0, 9999, "mail") };
            let oldest = Duration::from_secs(oldest);
            first(sample, FunctionSample { oldest, running, ..queue(queued) }).wanted
        };
        let now = wanted(queued, oldest, running);
        prop_assert!(wanted(queued + more, oldest, running) >= now);
        prop_assert!(wanted(queued, oldest + 3, running) >= now);
    }
}
