//! Jobs that a worker submits.

use super::*;

#[test]
fn jobs_are_submitted_to_the_first_server_that_is_there() {
    let mut scene = Scene::new(2);
    scene.says(Kind::OptionReq, &["exceptions"]);
    scene.says(Kind::SubmitJob, &["f", "u", "p"]);
    assert_eq!(std::mem::take(&mut scene.fx.opens), [(SESSION, 0)]);
    scene.input(SESSION, Input::Unreachable { server: 0 });
    assert_eq!(std::mem::take(&mut scene.fx.opens), [(SESSION, 1)]);
    scene.up(1);
    assert_eq!(scene.told(), ["s1 OptionReq exceptions", "s1 SubmitJob f u p"]);
    scene.server(1, Kind::OptionRes, &["exceptions"]);
    scene.server(1, Kind::JobCreated, &["H:y:1"]);
    scene.server(1, Kind::WorkComplete, &["H:y:1", "r"]);
    let wanted = ["w OptionRes exceptions", "w JobCreated H:y:1", "w WorkComplete H:y:1 r"];
    assert_eq!(scene.told(), wanted);
    // With nothing under way its loss is not seen, and the next one is told the options.
    scene.input(SESSION, Input::Lost { server: 1 });
    scene.up(0);
    scene.says(Kind::SubmitJobBg, &["f", "", "p"]);
    scene.server(0, Kind::OptionRes, &["exceptions"]);
    scene.server(0, Kind::JobCreated, &["H:z:1"]);
    let wanted = ["s0 OptionReq exceptions", "s0 SubmitJobBg f  p", "w JobCreated H:z:1"];
    assert_eq!(scene.told(), wanted);
    assert!(scene.fx.closes.is_empty());
}

#[test]
fn a_client_whose_server_is_lost_loses_its_connection_and_a_worker_its_jobs() {
    for performs in [false, true] {
        let mut scene = Scene::new(1);
        if performs {
            scene.says(Kind::CanDo, &["f"]);
        }
        scene.says(Kind::SubmitJob, &["g", "", ""]);
        scene.says(Kind::SubmitJob, &["h", "", ""]);
        scene.up(0);
        scene.server(0, Kind::JobCreated, &["H:x:1"]);
        scene.told();
        scene.input(SESSION, Input::Lost { server: 0 });
        if performs {
            let wanted = ["w Error QUEUE_ERROR the Gearman server was lost", "w WorkFail H:x:1"];
            assert_eq!(scene.told(), wanted);
            assert!(scene.fx.closes.is_empty());
        } else {
            assert_eq!(scene.fx.closes, [SESSION]);
        }
    }
}

#[test]
fn with_no_server_to_be_reached_a_client_is_not_kept_waiting() {
    let mut scene = Scene::new(2);
    scene.says(Kind::SubmitJob, &["g", "", ""]);
    scene.input(SESSION, Input::Unreachable { server: 0 });
    assert!(scene.fx.closes.is_empty());
    scene.input(SESSION, Input::Unreachable { server: 1 });
    assert_eq!(scene.fx.closes, [SESSION]);
}
