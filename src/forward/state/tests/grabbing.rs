//! Jobs on their way to a worker, and their results.

use super::*;

#[test]
fn a_job_goes_to_the_worker_and_its_result_back_as_they_came() {
    let mut scene = Scene::new(1);
    scene.says(Kind::SetClientId, &["me"]);
    scene.says(Kind::CanDo, &["f"]);
    assert_eq!(scene.fx.opens, [(SESSION, 0)]);
    assert_eq!(std::mem::take(&mut scene.fx.news), [News::Registered(WORKER)]);
    scene.up(0);
    assert_eq!(scene.told(), ["s0 SetClientId me", "s0 CanDo f"]);
    scene.says(Kind::GrabJobUniq, &[]);
    assert_eq!(scene.told(), ["s0 GrabJobUniq"]);
    scene.server(0, Kind::JobAssignUniq, &["H:x:1", "f", "u", "pay", "load"]);
    assert_eq!(scene.told(), ["w JobAssignUniq H:x:1 f u pay load"]);
    let held = scene.state.in_hands(scene.now, &"p".parse().unwrap());
    assert_eq!(held[0].handle, "H:x:1");
    scene.says(Kind::WorkStatus, &["H:x:1", "3", "10"]);
    let view = scene.state.view(scene.now);
    assert_eq!(view.processes[&WORKER].jobs[0].progress, Some((3, 10)));
    scene.says(Kind::WorkComplete, &["H:x:1", "re", "sult"]);
    assert_eq!(scene.told(), ["s0 WorkStatus H:x:1 3 10", "s0 WorkComplete H:x:1 re sult"]);
    assert_eq!(scene.state.tally(scene.now, &"p".parse().unwrap())[0].done, 1);
    scene.says(Kind::WorkComplete, &["H:x:1", ""]);
    assert_eq!(scene.told(), ["w Error JOB_NOT_FOUND Job given in work result not found"]);
}

#[test]
fn servers_are_asked_in_turn_and_those_that_called_first() {
    let mut scene = Scene::asleep(3);
    scene.server(1, Kind::Noop, &[]);
    assert_eq!(scene.told(), ["w Noop"]);
    scene.server(2, Kind::Noop, &[]);
    assert_eq!(scene.told(), [""; 0]);
    scene.says(Kind::GrabJob, &[]);
    assert_eq!(scene.told(), ["s1 GrabJob"]);
    // Somebody else has taken it. The one that did not call is not asked.
    scene.server(1, Kind::NoJob, &[]);
    assert_eq!(scene.told(), ["s2 GrabJob"]);
    scene.server(2, Kind::JobAssign, &["H:x:1", "f", ""]);
    scene.says(Kind::WorkComplete, &["H:x:1", ""]);
    scene.told();
    // It asks by itself: the one that gave a job is believed to have more.
    scene.says(Kind::GrabJob, &[]);
    assert_eq!(scene.told(), ["s2 GrabJob"]);
    scene.server(2, Kind::NoJob, &[]);
    scene.server(0, Kind::NoJob, &[]);
    scene.server(1, Kind::NoJob, &[]);
    assert_eq!(scene.told(), ["s0 GrabJob", "s1 GrabJob", "w NoJob"]);
    scene.says(Kind::PreSleep, &[]);
    assert_eq!(scene.told(), ["s0 PreSleep", "s1 PreSleep", "s2 PreSleep"]);
}

#[test]
fn one_handle_of_two_servers_is_told_apart() {
    let mut scene = Scene::new(2);
    scene.says(Kind::CanDo, &["f"]);
    (0..2).for_each(|server| scene.up(server));
    scene.says(Kind::GrabJob, &[]);
    scene.server(0, Kind::JobAssign, &["H:x:1", "f", "a"]);
    scene.says(Kind::GrabJob, &[]);
    scene.server(1, Kind::JobAssign, &["H:x:1", "f", "b"]);
    scene.told();
    scene.says(Kind::WorkComplete, &["H:x:1+2", "B"]);
    scene.says(Kind::WorkComplete, &["H:x:1", "A"]);
    assert_eq!(scene.told(), ["s1 WorkComplete H:x:1 B", "s0 WorkComplete H:x:1 A"]);
}

#[test]
fn a_lost_server_is_not_seen_by_the_worker_and_is_told_everything_when_it_is_back() {
    let mut scene = Scene::asleep(2);
    scene.input(SESSION, Input::Lost { server: 0 });
    assert_eq!(scene.told(), [""; 0]);
    scene.server(1, Kind::Noop, &[]);
    scene.says(Kind::GrabJob, &[]);
    scene.server(1, Kind::JobAssign, &["H:x:1", "f", ""]);
    scene.input(SESSION, Input::Lost { server: 1 });
    let orphan = Orphan { worker: WORKER, handle: "H:x:1".to_owned(), server: 1 };
    assert_eq!(std::mem::take(&mut scene.fx.orphans), [orphan]);
    scene.told();
    // The worker is at work still, and its result is for nobody.
    assert_eq!(scene.state.in_hands(scene.now, &"p".parse().unwrap()).len(), 1);
    scene.says(Kind::WorkComplete, &["H:x:1", ""]);
    scene.says(Kind::GrabJob, &[]);
    scene.says(Kind::PreSleep, &[]);
    assert_eq!(scene.told(), ["w NoJob"]);
    scene.up(0);
    assert_eq!(scene.told(), ["s0 CanDo f", "s0 PreSleep"]);
}

#[test]
fn a_server_that_does_not_answer_is_dropped_and_the_next_one_asked() {
    let mut scene = Scene::new(2);
    scene.says(Kind::CanDo, &["f"]);
    (0..2).for_each(|server| scene.up(server));
    scene.says(Kind::GrabJob, &[]);
    scene.told();
    scene.now += Duration::from_secs(5);
    assert!(scene.state.next_deadline().is_some_and(|at| at <= scene.now));
    scene.wait_until(scene.now, true);
    assert_eq!(scene.fx.hangs, [(SESSION, 0)]);
    assert_eq!(scene.told(), ["s1 GrabJob"]);
    scene.server(1, Kind::NoJob, &[]);
    assert_eq!(scene.told(), ["w NoJob"]);
    assert_eq!(scene.state.next_deadline(), None);
}

#[test]
fn a_worker_that_leaves_much_unread_costs_no_server_its_place() {
    let mut scene = Scene::new(2);
    scene.says(Kind::CanDo, &["f"]);
    (0..2).for_each(|server| scene.up(server));
    scene.says(Kind::GrabJob, &[]);
    scene.says(Kind::GetStatus, &["H:y:1"]);
    let asked = scene.now;
    let seconds = Duration::from_secs;
    scene.wait_until(asked + seconds(5), false);
    assert!(scene.fx.hangs.is_empty());
    assert_eq!(scene.state.next_deadline(), Some(asked + seconds(10)));
    // It takes what there is: from now on the servers can be heard.
    scene.now = asked + seconds(9);
    scene.state.read_again(scene.now, SESSION, &mut scene.fx);
    scene.wait_until(asked + seconds(13), true);
    assert!(scene.fx.hangs.is_empty());
    scene.server(0, Kind::NoJob, &[]);
    scene.wait_until(asked + seconds(14), true);
    assert_eq!(scene.fx.hangs, [(SESSION, 0), (SESSION, 1)]);
}

#[test]
fn a_worker_that_is_to_stop_and_reads_nothing_is_not_waited_for() {
    let mut scene = Scene::asleep(1);
    scene.says(Kind::GrabJob, &[]);
    scene.state.drain(scene.now, WORKER, &mut scene.fx);
    assert!(scene.fx.drained.is_empty());
    scene.wait_until(scene.now + Duration::from_secs(5), false);
    assert_eq!(scene.fx.drained, [WORKER]);
}
