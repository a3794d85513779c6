//! The rules with workers and servers that are played by hand.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::protocol::{Frame, Kind, Magic};

const WORKER: WorkerId = WorkerId(7);
const SESSION: SessionId = SessionId(1);

/// The rules, what they said, and the clock.
struct Scene {
    state: State,
    fx: Effects,
    now: Instant,
}

fn frame(magic: Magic, kind: Kind, parts: &[&str]) -> Frame {
    Frame { magic, kind, body: Bytes::from(parts.join("\0")) }
}

impl Scene {
    /// One worker, connected, with nothing said so far.
    fn new(servers: usize) -> Self {
        let mut scene =
            Self { state: State::new(servers), fx: Effects::default(), now: Instant::now() };
        scene.admit(SESSION, WORKER);
        scene
    }

    /// A worker that can do `f` and sleeps at all of so many servers.
    fn asleep(servers: usize) -> Self {
        let mut scene = Self::new(servers);
        scene.says(Kind::CanDo, &["f"]);
        (0..servers).for_each(|server| scene.up(server));
        scene.says(Kind::PreSleep, &[]);
        scene.told();
        scene
    }

    fn admit(&mut self, session: SessionId, worker: WorkerId) {
        let pool: PoolName = "p".parse().unwrap();
        self.state.admit(worker, pool.worker(1));
        self.input(session, Input::Opened { worker });
    }

    fn input(&mut self, session: SessionId, input: Input) {
        self.state.handle(self.now, session, input, &mut self.fx);
    }

    fn says(&mut self, kind: Kind, parts: &[&str]) {
        self.says_in(SESSION, kind, parts);
    }

    fn says_in(&mut self, session: SessionId, kind: Kind, parts: &[&str]) {
        self.input(session, Input::Packet(frame(Magic::Request, kind, parts)));
    }

    fn server(&mut self, server: usize, kind: Kind, parts: &[&str]) {
        self.server_in(SESSION, server, kind, parts);
    }

    fn server_in(&mut self, session: SessionId, server: usize, kind: Kind, parts: &[&str]) {
        let frame = frame(Magic::Response, kind, parts);
        self.input(session, Input::Received { server, frame });
    }

    /// A server connects and answers.
    fn up(&mut self, server: usize) {
        self.input(SESSION, Input::Connected { server });
        self.server(server, Kind::EchoRes, &["gear-supervisor"]);
    }

    /// What has been said since: `w JobAssign H:x:1 f p`, `s0 GrabJob`; echoes of probes left out.
    fn told(&mut self) -> Vec<String> {
        let sends = std::mem::take(&mut self.fx.sends).into_iter();
        let told = sends.map(|(wire, packet)| {
            let mut out = bytes::BytesMut::new();
            match packet {
                Packet::Frame(frame) => {
                    out.extend_from_slice(&frame.header());
                    out.extend_from_slice(&frame.body);
                }
                Packet::Request(request) => request.encode(&mut out),
                Packet::Response(response) => response.encode(&mut out),
                Packet::Text(text) => return format!("{} text {text:?}", name(wire)),
            }
            let kind = u32::from_be_bytes(out[4..8].try_into().unwrap());
            let kind = Kind::from_number(kind).unwrap();
            let body = String::from_utf8_lossy(&out[12..]).replace('\0', " ");
            format!("{} {kind:?} {body}", name(wire)).trim_end().to_owned()
        });
        told.filter(|line| !line.contains("EchoReq gear-supervisor")).collect()
    }
}

fn name(wire: Wire) -> String {
    match wire {
        Wire::Worker(SESSION) => "w".to_owned(),
        Wire::Worker(other) => format!("w{other}"),
        Wire::Server(SESSION, server) => format!("s{server}"),
        Wire::Server(other, server) => format!("s{server} of {other}"),
    }
}

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
    scene.state.deadline(scene.now, &mut scene.fx);
    assert_eq!(scene.fx.hangs, [(SESSION, 0)]);
    assert_eq!(scene.told(), ["s1 GrabJob"]);
    scene.server(1, Kind::NoJob, &[]);
    assert_eq!(scene.told(), ["w NoJob"]);
    assert_eq!(scene.state.next_deadline(), None);
}

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
    scene.state.deadline(scene.now, &mut scene.fx);
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
    scene.state.deadline(scene.now, &mut scene.fx);
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
