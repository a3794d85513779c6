//! Questions about jobs, put to several servers.

use super::*;

#[test]
fn a_question_about_a_job_is_put_to_all_servers_and_one_that_knows_it_answers() {
    let mut scene = Scene::new(3);
    scene.says(Kind::SubmitJobBg, &["f", "", "p"]);
    scene.up(0);
    scene.server(0, Kind::JobCreated, &["H:x:1"]);
    scene.told();
    std::mem::take(&mut scene.fx.opens);
    scene.says(Kind::GetStatus, &["H:y:1"]);
    assert_eq!(scene.told(), ["s0 GetStatus H:y:1"]);
    assert_eq!(std::mem::take(&mut scene.fx.opens), [(SESSION, 1), (SESSION, 2)]);
    scene.server(0, Kind::StatusRes, &["H:y:1", "0", "0", "0", "0"]);
    scene.up(1);
    assert_eq!(scene.told(), ["s1 GetStatus H:y:1"]);
    scene.server(1, Kind::StatusRes, &["H:y:1", "1", "1", "3", "10"]);
    assert_eq!(scene.told(), ["w StatusRes H:y:1 1 1 3 10"], "nobody waits for the third");
    scene.up(2);
    assert_eq!(scene.told(), [""; 0]);
    // Two at once, of which nobody knows the first; each server answers in its order.
    scene.says(Kind::GetStatus, &["H:z:1"]);
    scene.says(Kind::GetStatusUnique, &["u"]);
    scene.told();
    for server in [2, 0] {
        scene.server(server, Kind::StatusRes, &["H:z:1", "0", "0", "0", "0"]);
        scene.server(server, Kind::StatusResUnique, &["u", "0", "0", "0", "0", "0"]);
    }
    assert_eq!(scene.told(), [""; 0], "the last one may know them");
    scene.input(SESSION, Input::Lost { server: 1 });
    assert_eq!(scene.told(), ["w StatusRes H:z:1 0 0 0 0", "w StatusResUnique u 0 0 0 0 0"]);
    // One that was lost is not waited for while others are there.
    scene.says(Kind::GetStatus, &["H:z:1"]);
    assert_eq!(scene.told(), ["s0 GetStatus H:z:1", "s2 GetStatus H:z:1"]);
    scene.server(0, Kind::StatusRes, &["H:z:1", "1", "0", "0", "0"]);
    scene.server(2, Kind::StatusRes, &["H:z:1", "1", "0", "0", "0"]);
    assert_eq!(scene.told(), ["w StatusRes H:z:1 1 0 0 0"], "once");
    assert!(scene.fx.closes.is_empty());
}

#[test]
fn a_server_that_is_silent_on_a_question_is_dropped_and_the_others_are_believed() {
    let mut scene = Scene::new(2);
    scene.says(Kind::CanDo, &["f"]);
    scene.up(0);
    scene.input(SESSION, Input::Connected { server: 1 });
    scene.says(Kind::GetStatus, &["H:y:1"]);
    scene.server(0, Kind::StatusRes, &["H:y:1", "0", "0", "0", "0"]);
    assert_eq!(scene.state.next_deadline(), None, "the second is not asked so far");
    // What it is asked late it may answer as late.
    scene.now += Duration::from_secs(4);
    scene.server(1, Kind::EchoRes, &["gear-supervisor"]);
    let asked = scene.now;
    scene.says(Kind::GrabJob, &[]);
    scene.now += Duration::from_secs(1);
    scene.server(0, Kind::NoJob, &[]);
    scene.told();
    assert_eq!(scene.state.next_deadline(), Some(asked + Duration::from_secs(5)));
    scene.now = asked + Duration::from_secs(5);
    scene.wait_until(scene.now, true);
    assert_eq!(scene.fx.hangs, [(SESSION, 1)]);
    assert_eq!(scene.told(), ["w StatusRes H:y:1 0 0 0 0", "w NoJob"]);
    assert_eq!(scene.state.next_deadline(), None);
    // A session that ends leaves no timer.
    scene.says(Kind::GetStatus, &["H:y:1"]);
    assert!(scene.state.next_deadline().is_some());
    scene.input(SESSION, Input::Closed);
    assert_eq!(scene.state.next_deadline(), None);
}

#[test]
fn a_client_is_read_on_once_its_questions_are_answered() {
    let mut scene = Scene::new(2);
    scene.says(Kind::CanDo, &["f"]);
    (0..2).for_each(|server| scene.up(server));
    let ask = |scene: &mut Scene, count| {
        (0..count).for_each(|_| scene.says(Kind::GetStatus, &["H:y:1"]));
    };
    ask(&mut scene, 1024);
    assert!(!scene.state.has_room(SESSION));
    // The second is silent: an answered question takes no place, but there is an end to it.
    scene.server(0, Kind::StatusRes, &["H:y:1", "1", "0", "0", "0"]);
    assert!(scene.state.has_room(SESSION));
    assert_eq!(std::mem::take(&mut scene.fx.resumes), [SESSION]);
    for _ in 0..1024 {
        ask(&mut scene, 1);
        scene.server(0, Kind::StatusRes, &["H:y:1", "1", "0", "0", "0"]);
    }
    assert!(!scene.state.has_room(SESSION));
    scene.fx.resumes.clear();
    scene.now += Duration::from_secs(5);
    scene.wait_until(scene.now, true);
    assert!(scene.state.has_room(SESSION));
    assert_eq!(scene.fx.resumes, [SESSION]);
}

#[test]
fn every_question_waits_for_a_server_that_is_dialled_for_the_first_time() {
    let mut scene = Scene::new(2);
    scene.says(Kind::SubmitJobBg, &["f", "", "p"]);
    scene.up(0);
    scene.server(0, Kind::JobCreated, &["H:x:1"]);
    for handle in ["H:y:1", "H:y:2"] {
        scene.says(Kind::GetStatus, &[handle]);
        scene.server(0, Kind::StatusRes, &[handle, "0", "0", "0", "0"]);
    }
    scene.told();
    scene.up(1);
    assert_eq!(scene.told(), ["s1 GetStatus H:y:1", "s1 GetStatus H:y:2"]);
    for handle in ["H:y:1", "H:y:2"] {
        scene.server(1, Kind::StatusRes, &[handle, "1", "0", "0", "0"]);
    }
    assert_eq!(scene.told(), ["w StatusRes H:y:1 1 0 0 0", "w StatusRes H:y:2 1 0 0 0"]);
    // Once lost it is not waited for, not even while it is to show that it answers; then it is.
    scene.input(SESSION, Input::Lost { server: 1 });
    scene.input(SESSION, Input::Connected { server: 1 });
    scene.says(Kind::GetStatus, &["H:z:1"]);
    scene.server(0, Kind::StatusRes, &["H:z:1", "0", "0", "0", "0"]);
    assert_eq!(scene.told(), ["s0 GetStatus H:z:1", "w StatusRes H:z:1 0 0 0 0"]);
    scene.server(1, Kind::EchoRes, &["gear-supervisor"]);
    scene.says(Kind::GetStatus, &["H:z:1"]);
    assert_eq!(scene.told(), ["s0 GetStatus H:z:1", "s1 GetStatus H:z:1"]);
}

#[test]
fn what_answers_no_question_is_passed_on_and_the_question_stays() {
    let mut scene = Scene::new(2);
    scene.says(Kind::CanDo, &["f"]);
    (0..2).for_each(|server| scene.up(server));
    scene.says(Kind::GetStatus, &["H:y:1"]);
    scene.told();
    // A report came too late.
    scene.server(1, Kind::Error, &["JOB_NOT_FOUND", "no such job"]);
    assert_eq!(scene.told(), ["w Error JOB_NOT_FOUND no such job"]);
    scene.server(0, Kind::StatusRes, &["H:y:1", "0", "0", "0", "0"]);
    scene.server(1, Kind::StatusResUnique, &["u", "0", "0", "0", "0", "0"]);
    assert_eq!(scene.told(), ["w StatusResUnique u 0 0 0 0 0"], "the second may know it");
    scene.server(1, Kind::StatusRes, &["H:y:1", "1", "1", "3", "10"]);
    assert_eq!(scene.told(), ["w StatusRes H:y:1 1 1 3 10"]);
    // Other errors are answers.
    scene.says(Kind::GetStatusUnique, &["u"]);
    scene.told();
    scene.server(0, Kind::Error, &["bad_packet", "what"]);
    scene.server(1, Kind::Error, &["bad_packet", "what"]);
    assert_eq!(scene.told(), ["w Error bad_packet what"]);
}

#[test]
fn a_question_that_no_server_can_answer_ends_as_other_requests_do() {
    for performs in [false, true] {
        let mut scene = Scene::new(2);
        if performs {
            scene.says(Kind::CanDo, &["f"]);
        }
        scene.says(Kind::GetStatus, &["H:y:1"]);
        scene.input(SESSION, Input::Unreachable { server: 0 });
        assert!(scene.told().is_empty() && scene.fx.closes.is_empty());
        scene.input(SESSION, Input::Unreachable { server: 1 });
        if performs {
            let wanted = ["w Error QUEUE_ERROR no Gearman server can be reached"];
            assert_eq!(scene.told(), wanted);
        } else {
            assert_eq!(scene.fx.closes, [SESSION]);
        }
    }
}
