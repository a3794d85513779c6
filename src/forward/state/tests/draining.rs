//! Workers that are to stop, or that have to wait for others of their pool.

use super::*;

#[test]
fn a_draining_worker_gets_no_job_and_its_servers_forget_it() {
    let mut scene = Scene::asleep(2);
    let drained = scene.state.drain_if_idle(scene.now, WORKER, &mut scene.fx);
    assert_eq!(drained, Some(Drain::Drained));
    assert_eq!(scene.told(), ["s0 ResetAbilities", "s1 ResetAbilities"]);
    scene.server(0, Kind::Noop, &[]);
    scene.says(Kind::GrabJob, &[]);
    scene.says(Kind::PreSleep, &[]);
    assert_eq!(scene.told(), ["w NoJob"]);
    scene.state.nudge(WORKER, &mut scene.fx);
    assert_eq!(scene.told(), ["w Error SHUTDOWN this worker is being stopped"]);
    // Of a second connection too.
    scene.input(SessionId(2), Input::Opened { worker: WORKER });
    scene.says_in(SessionId(2), Kind::CanDo, &["f"]);
    scene.says_in(SessionId(2), Kind::GrabJob, &[]);
    assert_eq!(scene.told(), ["w2 NoJob"]);
}

#[test]
fn a_job_that_is_being_asked_for_when_the_drain_comes_is_done_first() {
    let mut scene = Scene::asleep(1);
    scene.says(Kind::GrabJob, &[]);
    assert_eq!(scene.state.drain_if_idle(scene.now, WORKER, &mut scene.fx), None);
    scene.state.drain(scene.now, WORKER, &mut scene.fx);
    assert!(scene.fx.drained.is_empty());
    assert_eq!(scene.told(), ["s0 GrabJob"]);
    scene.server(0, Kind::JobAssign, &["H:x:1", "f", ""]);
    assert_eq!(std::mem::take(&mut scene.fx.settled), [WORKER]);
    let busy = scene.state.drain_if_idle(scene.now, WORKER, &mut scene.fx);
    assert_eq!(busy, Some(Drain::Busy("H:x:1".to_owned())));
    assert!(scene.fx.drained.is_empty());
    scene.told();
    scene.says(Kind::WorkComplete, &["H:x:1", ""]);
    // gearmand takes the result only before the function is taken back.
    assert_eq!(scene.told(), ["s0 WorkComplete H:x:1", "s0 ResetAbilities"]);
    assert_eq!(scene.fx.drained, [WORKER]);
    assert_eq!(
        scene.fx.news,
        [News::Registered(WORKER), News::JobEnded { worker: WORKER, well: true }]
    );
}

#[test]
fn a_pools_max_is_a_lock_and_who_waited_for_it_is_called() {
    let (other, session) = (WorkerId(8), SessionId(2));
    let mut scene = Scene::asleep(1);
    scene.admit(session, other);
    scene.says_in(session, Kind::CanDo, &["f"]);
    scene.input(session, Input::Connected { server: 0 });
    scene.server_in(session, 0, Kind::EchoRes, &["gear-supervisor"]);
    scene.state.limit(scene.now, "p".parse().unwrap(), 1, &mut scene.fx);
    scene.told();
    scene.says(Kind::GrabJob, &[]);
    scene.says_in(session, Kind::GrabJob, &[]);
    scene.says_in(session, Kind::PreSleep, &[]);
    assert_eq!(scene.told(), ["s0 GrabJob", "w2 NoJob"]);
    scene.server(0, Kind::JobAssign, &["H:x:1", "f", ""]);
    assert_eq!(scene.told(), ["w JobAssign H:x:1 f"]);
    scene.says(Kind::WorkComplete, &["H:x:1", ""]);
    assert_eq!(scene.told(), ["s0 WorkComplete H:x:1", "w2 Noop"]);
    scene.says_in(session, Kind::GrabJob, &[]);
    assert_eq!(scene.told(), ["s0 of 2 GrabJob"]);
    // The lock passes on with the end of its holder, too.
    scene.says(Kind::GrabJob, &[]);
    scene.says(Kind::PreSleep, &[]);
    scene.told();
    scene.input(session, Input::Closed);
    assert_eq!(scene.told(), ["w Noop"]);
}

#[test]
fn a_worker_that_ends_gives_its_jobs_and_its_place_back() {
    let mut scene = Scene::asleep(1);
    scene.says(Kind::GrabJob, &[]);
    scene.server(0, Kind::JobAssign, &["H:x:1", "f", ""]);
    scene.says(Kind::GrabJob, &[]);
    scene.input(SESSION, Input::Closed);
    scene.fx = Effects::default();
    scene.state.drain(scene.now, WORKER, &mut scene.fx);
    assert_eq!(scene.fx.drained, [WORKER]);
    assert_eq!(scene.state.next_deadline(), None);
    let view = scene.state.view(scene.now);
    assert_eq!((view.sessions, view.functions[&FunctionName::from("f")].running), (0, 0));
}
