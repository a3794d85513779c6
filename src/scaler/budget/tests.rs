//! Tables for the apportionment.

use proptest::prelude::*;

use super::*;

fn claim(up: u32) -> Claim {
    Claim { up, weight: 1.0, erlangs: f64::from(up), size: 1, ..Claim::default() }
}

fn places(slots: u32) -> Budget {
    Budget { slots: Some((slots, Limit::HostWorkers)), tokens: 1000, ..Budget::default() }
}

/// Checks what each claim may run now.
fn check(claims: &[Claim], budget: &Budget, expected: &[u32]) {
    let grants = apportion(claims, budget);
    let now: Vec<_> = grants.iter().map(|grant| grant.now).collect();
    assert_eq!(now, expected, "{grants:?}");
}

#[test]
fn places_go_by_weight_and_demand() {
    check(&[claim(10), claim(10)], &places(10), &[5, 5]);
    check(&[Claim { weight: 4.0, ..claim(20) }, claim(20)], &places(10), &[8, 2]);
    check(&[Claim { erlangs: 3.0, ..claim(20) }, claim(20)], &places(20), &[3, 17]);
    check(&[claim(2), claim(20)], &places(10), &[1, 9]);
}

#[test]
fn the_important_come_first_and_nobody_with_work_is_left_without() {
    let important = Claim { priority: 1, ..claim(20) };
    check(&[claim(20), important], &places(10), &[1, 9]);
}

#[test]
fn minimums_are_granted_whatever_the_host_says() {
    let strained =
        Budget { hold: Some(HostLimit::CpuPressure), tokens: 0, memory: Some(0), ..places(1) };
    check(&[Claim { min: 3, ..claim(9) }, Claim { min: 2, ..claim(0) }], &strained, &[3, 2]);
}

#[test]
fn the_first_worker_passes_all_limits_but_places_and_memory() {
    let first = Claim { first: true, ..claim(5) };
    let strained = Budget { hold: Some(HostLimit::Load), slots: None, tokens: 0, ..places(0) };
    check(&[first], &strained, &[1]);
    let memory = Budget { memory: Some(0), slots: None, ..places(0) };
    check(&[first], &memory, &[0]);
    check(&[first], &Budget { memory_first: 1, ..memory }, &[1]);
}

#[test]
fn a_reserve_is_left_free_for_its_owner() {
    let owner = Claim { reserve: 4, ..claim(0) };
    check(&[owner, claim(20)], &places(10), &[0, 6]);
    check(&[Claim { up: 2, ..owner }, claim(20)], &places(10), &[2, 6]);
    let hungry = Claim { up: 20, erlangs: 5.0, reserve: 4, ..claim(20) };
    check(&[hungry, claim(20)], &places(10), &[4, 6]);
}

#[test]
fn what_does_not_fit_is_passed_over() {
    let large = Claim { size: 100, priority: 1, ..claim(9) };
    let grants = apportion(
        &[large, Claim { size: 10, ..claim(9) }],
        &Budget { memory: Some(250), tokens: 99, ..Budget::default() },
    );
    let now: Vec<_> = grants.iter().map(|grant| (grant.now, grant.limit)).collect();
    let memory = Some(Limit::Host(HostLimit::Memory));
    assert_eq!(now, [(2, memory), (5, memory)]);
}

#[test]
fn room_of_workers_that_go_is_not_given_before_they_are_gone() {
    let budget = Budget { leaving: 4, ..places(10) };
    check(&[Claim { level: 6, ..claim(6) }, claim(9)], &budget, &[6, 0]);
}

#[test]
fn starts_are_bounded_by_tokens() {
    let budget = Budget { tokens: 3, ..places(100) };
    let grants = apportion(&[claim(10), Claim { priority: 1, ..claim(2) }], &budget);
    assert_eq!((grants[0].now, grants[0].limit), (1, Some(Limit::Starts)));
    assert_eq!(grants[1].now, 2);
}

proptest! {
    #[test]
    fn shares_fit_and_grow_with_the_room(
        ups in prop::collection::vec((0_u32..30, 0_u32..4, 1_u32..5, -1_i32..2), 1..8),
        slots in 40_u32..120,
    ) {
        let claims: Vec<_> = ups
            .iter()
            .map(|(up, min, weight, priority)| Claim {
                min: *min,
                weight: f64::from(*weight),
                priority: *priority,
                ..claim((*up).max(*min))
            })
            .collect();
        let small = apportion(&claims, &places(slots));
        let large = apportion(&claims, &places(slots + 1));
        prop_assert!(small.iter().map(|grant| grant.now).sum::<u32>() <= slots);
        for ((claim, small), large) in claims.iter().zip(&small).zip(&large) {
            prop_assert!(small.now >= claim.min && small.now <= claim.up);
            prop_assert!(large.fair >= small.fair, "more room took a worker away");
        }
    }
}
