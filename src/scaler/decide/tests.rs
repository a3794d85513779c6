//! Tables for the rule, and a small virtual clock that drives it.

use proptest::prelude::*;

use super::*;

const FREE: HostRoom = HostRoom { spare: None, limit: None };

fn bounds(min: u32, max: u32) -> ScalerSettings {
    ScalerSettings { min, max, ..ScalerSettings::default() }
}

fn once(samples: Samples, settings: ScalerSettings) -> Decision {
    decide(&mut PoolState::default(), Instant::now(), &samples, &settings, FREE)
}

#[test]
fn a_backlog_is_answered_at_once_and_in_one_step() {
    let cases = [
        // 500 one-second jobs and 5 s: a worker started now does 1 + 4 of them.
        (Samples { queued: 500, ..Samples::default() }, 100),
        (Samples { queued: 5, ..Samples::default() }, 1),
        (Samples { queued: 6, ..Samples::default() }, 2),
        // The oldest is late already: a quarter of the objective is left.
        (Samples { queued: 10, oldest: Duration::from_mins(1), ..Samples::default() }, 8),
        (Samples { running: 3, idle: 2, ..Samples::default() }, 3),
    ];
    for (samples, wanted) in cases {
        assert_eq!(once(samples, bounds(0, 1000)).wanted, wanted, "{samples:?}");
    }
}

#[test]
fn starting_workers_count_as_capacity() {
    let samples = Samples { queued: 500, starting: 100, ..Samples::default() };
    assert_eq!(once(samples, bounds(0, 1000)).target, 100);
}

#[test]
fn a_pool_without_workers_starts_one_for_any_job_whatever_the_host_says() {
    let samples = Samples { queued: 1, ..Samples::default() };
    let mut state = PoolState::default();
    let host = HostRoom { spare: Some(0), limit: Some(HostLimit::Memory) };
    let decision = decide(&mut state, Instant::now(), &samples, &bounds(0, 8), host);
    assert_eq!(decision.target, 1);
}

#[test]
fn the_minimum_is_granted_and_growth_above_it_is_not_while_the_host_strains() {
    let samples = Samples { queued: 500, running: 2, ..Samples::default() };
    let host = HostRoom { spare: None, limit: Some(HostLimit::CpuPressure) };
    let settings = bounds(4, 50);
    let decision = decide(&mut PoolState::default(), Instant::now(), &samples, &settings, host);
    assert_eq!(decision.target, 4);
    assert_eq!(decision.limit, Some(Limit::Host(HostLimit::CpuPressure)));
    assert!(decision.wanted > 50);
    assert!(decision.reason.ends_with("limited by cpu pressure"), "{}", decision.reason);
}

#[test]
fn max_workers_of_the_host_bounds_growth() {
    let samples = Samples { queued: 500, running: 2, ..Samples::default() };
    let mut state = PoolState::default();
    let host = HostRoom { spare: Some(3), limit: None };
    let decision = decide(&mut state, Instant::now(), &samples, &bounds(1, 50), host);
    assert_eq!((decision.target, decision.limit), (5, Some(Limit::HostWorkers)));
}

#[test]
fn shrinking_takes_only_workers_that_have_been_idle_long() {
    let mut state = PoolState::default();
    let start = Instant::now();
    let settings = bounds(1, 50);
    let mut samples = Samples { running: 10, idle: 30, ..Samples::default() };
    let mut at = |second, samples: &Samples| {
        let now = start + Duration::from_secs(second);
        decide(&mut state, now, samples, &settings, FREE).target
    };
    for second in 0..300 {
        assert_eq!(at(second, &samples), 40, "nobody is idle long enough");
    }
    samples.idle_long = 30;
    // Ten busy and their slack of sqrt(10) are kept; a quarter of the pool goes at once.
    assert_eq!(at(300, &samples), 30);
    samples = Samples { running: 10, idle: 20, idle_long: 20, ..samples };
    assert_eq!(at(301, &samples), 23);
    samples = Samples { running: 10, idle: 4, idle_long: 4, ..samples };
    assert_eq!(at(302, &samples), 14);
}

#[test]
fn a_burst_is_remembered_for_the_window() {
    let mut state = PoolState::default();
    let start = Instant::now();
    let settings = bounds(0, 50);
    let mut at = |second, samples: &Samples| {
        let now = start + Duration::from_secs(second);
        decide(&mut state, now, samples, &settings, FREE).target
    };
    at(0, &Samples { running: 20, ..Samples::default() });
    let calm = Samples { idle: 20, idle_long: 20, ..Samples::default() };
    assert_eq!(at(30, &calm), 20, "the burst is 30 s old");
    let mut have = 20;
    for second in 100..400 {
        let samples = Samples { idle: have, idle_long: have, ..Samples::default() };
        have = at(second, &samples) as usize;
    }
    assert_eq!(have, 0, "min = 0 and two minutes without work");
}

#[test]
fn the_length_of_a_job_is_learned() {
    let mut state = PoolState::default();
    let start = Instant::now();
    let settings = bounds(0, 1000);
    let mut wanted = 0;
    for second in 0..100_u32 {
        // Ten workers end 1,000 jobs of 10 ms a second.
        let samples = Samples {
            queued: 1000,
            running: 10,
            ended: u64::from(second) * 1000,
            ..Samples::default()
        };
        let now = start + Duration::from_secs(second.into());
        wanted = decide(&mut state, now, &samples, &settings, FREE).wanted;
    }
    assert!((10..=14).contains(&wanted), "{wanted} for jobs that ten workers keep up with");
}

proptest! {
    #[test]
    fn a_decision_stays_in_bounds_and_never_takes_a_busy_worker(
        queued in 0_usize..10_000,
        running in 0_usize..100,
        idle in 0_usize..100,
        starting in 0_usize..100,
        oldest in 0_u64..1000,
        min in 0_u32..20,
        extra in 0_u32..100,
    ) {
        let samples = Samples {
            queued, running, idle, starting, idle_long: idle,
            oldest: Duration::from_secs(oldest), ended: 0,
        };
        let settings = bounds(min, min + extra);
        let have = u32::try_from(running + idle + starting).unwrap();
        let decision = once(samples, settings);
        prop_assert!(decision.target <= settings.max.max(have));
        prop_assert!(decision.target >= min.min(have).max(have - u32::try_from(idle).unwrap()));
        if have < min {
            prop_assert!(decision.target >= min);
        }
    }

    #[test]
    fn more_jobs_never_want_fewer_workers(queued in 0_usize..10_000, more in 0_usize..1000) {
        let wanted = |queued| once(Samples { queued, ..Samples::default() }, bounds(0, 9999)).wanted;
        prop_assert!(wanted(queued + more) >= wanted(queued));
    }
}
