//! Tables for the rules: what a session sends, what it is sent.

use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use super::*;
use crate::broker::record::{Change, ChangeSeq};
use crate::broker::{BrokerEvent, LossOutcome, Peer};
use crate::model::{Drain, Exit, FunctionName, Priority};
use crate::protocol::{
    AdminCommand, AdminReply, GrabStyle, Request, Response, Submission, SubmitMode, WorkReport,
};

/// A broker with a clock and a disk that are moved by hand.
struct Bench {
    state: State,
    now: Instant,
    fx: Effects,
    changes: Vec<(ChangeSeq, Change)>,
    events: Vec<BrokerEvent>,
    sent: Vec<(u64, String)>,
}

const KILLED: Exit = Exit::Signal { signal: Signal::SIGKILL, core: false };

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let state = State::new(StateSettings {
            handle_prefix: "H:x".to_owned(),
            next: JobId(1),
            reserved: JobId(1_000_000),
            pid: 7,
            version: "1.0".to_owned(),
            attempts_max: 3,
            started: now,
            started_at: SystemTime::UNIX_EPOCH,
        });
        let (fx, changes, events, sent) = Default::default();
        Self { state, now, fx, changes, events, sent }
    }

    fn input(&mut self, input: Input) {
        self.state.handle(self.now, input, &mut self.fx);
        self.collect();
    }

    fn collect(&mut self) {
        self.changes.append(&mut self.fx.changes);
        self.events.append(&mut self.fx.events);
        for (session, out) in self.fx.sends.drain(..) {
            self.sent.push((session.0, text(&out)));
        }
    }

    /// Opens a connection from another host.
    fn open(&mut self, session: u64) {
        let far = "192.0.2.1:9".parse().unwrap();
        let peer = Peer::Tcp { peer: far, local: far };
        self.input(Input::Opened { session: SessionId(session), peer, worker: None });
    }

    /// Opens a connection of a worker of ours that performs `f` and sleeps.
    fn worker(&mut self, session: u64, worker: u64) {
        let name = format!("pool:{worker}").parse().unwrap();
        if !self.state.workers.contains_key(&WorkerId(worker)) {
            self.state.admit(self.now, WorkerId(worker), name);
        }
        let peer = Peer::Unix { pid: None };
        let worker = Some(WorkerId(worker));
        self.input(Input::Opened { session: SessionId(session), peer, worker });
        self.can_do(session, "f");
    }

    fn send(&mut self, session: u64, request: Request) {
        self.input(Input::Request { session: SessionId(session), request });
    }

    fn can_do(&mut self, session: u64, function: &str) {
        self.send(session, Request::CanDo { function: function.into(), timeout: None });
    }

    fn submit(&mut self, session: u64, mode: SubmitMode, unique: &str) {
        self.submit_to(session, "f", Priority::Normal, mode, unique);
    }

    fn submit_to(
        &mut self,
        session: u64,
        function: &str,
        priority: Priority,
        mode: SubmitMode,
        unique: &str,
    ) {
        let (function, unique) = (function.into(), unique.into());
        let payload = "p".into();
        let job = Submission { function, unique, priority, mode, payload };
        self.send(session, Request::Submit(job));
    }

    fn grab(&mut self, session: u64) {
        self.send(session, Request::Grab(GrabStyle::Plain));
    }

    fn complete(&mut self, session: u64, handle: &str) {
        let report = WorkReport::Complete("done".into());
        self.send(session, Request::Work { handle: handle.to_owned().into(), report });
    }

    fn close(&mut self, session: u64) {
        self.input(Input::Closed { session: SessionId(session) });
    }

    fn commit(&mut self) {
        let through = self.changes.last().map_or(ChangeSeq(0), |(seq, _)| *seq);
        self.input(Input::Committed(through));
    }

    fn fail_commit(&mut self) {
        let through = self.changes.last().unwrap().0;
        self.input(Input::NotCommitted { through, reason: "disk full".to_owned() });
    }

    fn gone(&mut self, worker: u64) {
        self.state.gone(self.now, WorkerId(worker), KILLED, &mut self.fx);
        self.collect();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.input(Input::Deadline);
    }

    fn sees(&mut self, wanted: &[(u64, &str)]) {
        let sent = std::mem::take(&mut self.sent);
        let sent: Vec<_> = sent.iter().map(|(to, text)| (*to, text.as_str())).collect();
        assert_eq!(sent, wanted);
    }

    fn deleted(&self, id: u64) -> bool {
        self.changes.iter().any(|(_, change)| *change == Change::Delete(JobId(id)))
    }
}

fn text(out: &Outgoing) -> String {
    let utf8 = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    match out {
        Outgoing::Text(AdminReply::Ok) => "OK".to_owned(),
        Outgoing::Text(reply) => String::from_utf8(reply.render()).unwrap(),
        Outgoing::Packet(packet) => match packet {
            Response::JobCreated(handle) => format!("created {}", utf8(handle)),
            Response::NoJob => "no job".to_owned(),
            Response::Noop => "noop".to_owned(),
            Response::JobAssign { handle, .. } => format!("assign {}", utf8(handle)),
            Response::Error { code, .. } => format!("error {}", utf8(code)),
            Response::Work { handle, report } => {
                let report = match report {
                    WorkReport::Complete(_) => "complete",
                    WorkReport::Fail => "fail",
                    WorkReport::Exception(_) => "exception",
                    _ => "news",
                };
                format!("{report} {}", utf8(handle))
            }
            other => format!("{other:?}"),
        },
    }
}

use SubmitMode::{Background, Foreground};

#[test]
fn a_background_job_is_acknowledged_and_assigned_only_once_durable() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open(2);
    bench.can_do(2, "f");
    bench.submit(1, Background, "");
    bench.grab(2);
    bench.sees(&[(2, "no job")]);
    bench.send(2, Request::PreSleep);
    bench.commit();
    bench.sees(&[(2, "noop"), (1, "created H:x:1")]);
    bench.grab(2);
    bench.complete(2, "H:x:1");
    bench.sees(&[(2, "assign H:x:1")]);
    assert!(bench.deleted(1));
}

#[test]
fn answers_keep_their_order_behind_a_commit_and_other_connections_do_not_wait() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open(2);
    bench.submit(1, Background, "");
    bench.submit(1, Foreground, "");
    bench.submit(2, Foreground, "");
    bench.sees(&[(2, "created H:x:3")]);
    bench.commit();
    bench.sees(&[(1, "created H:x:1"), (1, "created H:x:2")]);
}

#[test]
fn a_job_that_cannot_be_stored_is_refused_and_its_unique_is_free_again() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.submit(1, Background, "u");
    bench.submit(1, Foreground, "u");
    bench.fail_commit();
    bench.sees(&[(1, "error QUEUE_ERROR"), (1, "error QUEUE_ERROR")]);
    assert_eq!(bench.events, [BrokerEvent::Store(Some("disk full".to_owned()))]);
    bench.submit(1, Background, "u");
    bench.commit();
    bench.sees(&[(1, "created H:x:2")]);
}

#[test]
fn an_ended_job_whose_deletion_failed_is_deleted_later() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.can_do(1, "f");
    bench.submit(1, Background, "");
    bench.commit();
    bench.grab(1);
    bench.complete(1, "H:x:1");
    bench.fail_commit();
    bench.changes.clear();
    bench.pass(Duration::from_secs(1));
    assert!(bench.deleted(1));
}

#[test]
fn the_same_unique_runs_once_and_answers_everybody() {
    let mut bench = Bench::new();
    for session in 1..=3 {
        bench.open(session);
    }
    bench.can_do(3, "f");
    bench.submit(1, Foreground, "u");
    bench.grab(3);
    bench.submit(2, Foreground, "u");
    bench.complete(3, "H:x:1");
    bench.sees(&[
        (1, "created H:x:1"),
        (3, "assign H:x:1"),
        (2, "created H:x:1"),
        (1, "complete H:x:1"),
        (2, "complete H:x:1"),
    ]);
}

#[test]
fn a_foreground_job_goes_with_its_last_client_and_a_background_promise_stays() {
    let mut bench = Bench::new();
    for session in 1..=3 {
        bench.open(session);
    }
    bench.can_do(3, "f");
    bench.submit(1, Foreground, "u");
    bench.close(1);
    bench.grab(3);
    bench.submit(2, Foreground, "u");
    bench.submit(3, Background, "u");
    bench.commit();
    bench.close(2);
    bench.grab(3);
    bench.sees(&[
        (1, "created H:x:1"),
        (3, "no job"),
        (2, "created H:x:2"),
        (3, "created H:x:2"),
        (3, "assign H:x:2"),
    ]);
}

#[test]
fn priority_counts_over_all_functions_and_functions_take_turns() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open(2);
    for function in ["a", "b"] {
        bench.can_do(2, function);
    }
    for (function, priority) in [
        ("a", Priority::Normal),
        ("a", Priority::Normal),
        ("b", Priority::Normal),
        ("b", Priority::High),
        ("a", Priority::Low),
    ] {
        bench.submit_to(1, function, priority, Foreground, "");
    }
    bench.sent.clear();
    (0..6).for_each(|_| bench.grab(2));
    bench.sees(&[
        (2, "assign H:x:4"),
        (2, "assign H:x:1"),
        (2, "assign H:x:3"),
        (2, "assign H:x:2"),
        (2, "assign H:x:5"),
        (2, "no job"),
    ]);
}

#[test]
fn one_job_wakes_the_sleeper_that_slept_last_and_one_more_after_a_while() {
    let mut bench = Bench::new();
    for session in 1..=3 {
        bench.open(session);
        bench.can_do(session, "f");
        bench.send(session, Request::PreSleep);
    }
    bench.open(9);
    bench.submit(9, Foreground, "");
    bench.sees(&[(9, "created H:x:1"), (3, "noop")]);
    bench.pass(Duration::from_millis(50));
    bench.sees(&[(2, "noop")]);
    bench.grab(3);
    bench.pass(Duration::from_millis(50));
    bench.sees(&[(3, "assign H:x:1")]);
}

#[test]
fn a_sleeper_that_dies_after_its_noop_does_not_take_the_wake_up_along() {
    let mut bench = Bench::new();
    for session in 1..=2 {
        bench.open(session);
        bench.can_do(session, "f");
        bench.send(session, Request::PreSleep);
    }
    bench.open(9);
    bench.submit(9, Foreground, "");
    bench.close(2);
    bench.sees(&[(9, "created H:x:1"), (2, "noop"), (1, "noop")]);
}

#[test]
fn a_sleeper_is_woken_by_a_registration_for_which_a_job_waits() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.submit(1, Foreground, "");
    bench.send(1, Request::PreSleep);
    bench.can_do(1, "f");
    bench.sees(&[(1, "created H:x:1"), (1, "noop")]);
}

#[test]
fn a_dead_workers_job_moves_on_with_its_handle_and_is_given_up_at_the_third_death() {
    let mut bench = Bench::new();
    bench.open(9);
    bench.submit(9, Foreground, "");
    for worker in 1..=3 {
        bench.worker(worker, worker);
        bench.grab(worker);
        bench.close(worker);
        bench.gone(worker);
    }
    let loss = |bench: &Bench, worker| {
        bench.state.overview(bench.now).losses.get(&WorkerId(worker)).cloned().unwrap()
    };
    assert_eq!(loss(&bench, 1).outcome, LossOutcome::Moved(Some(WorkerId(2))));
    assert_eq!(loss(&bench, 3).outcome, LossOutcome::GivenUp);
    assert_eq!((loss(&bench, 3).attempts, loss(&bench, 3).attempts_max), (3, 3));
    bench.sees(&[
        (9, "created H:x:1"),
        (1, "assign H:x:1"),
        (2, "assign H:x:1"),
        (3, "assign H:x:1"),
        (9, "fail H:x:1"),
    ]);
}

#[test]
fn the_death_may_be_known_before_the_connection_ends() {
    let mut bench = Bench::new();
    bench.open(9);
    bench.submit(9, Background, "");
    bench.commit();
    bench.worker(1, 1);
    bench.grab(1);
    bench.gone(1);
    bench.close(1);
    let attempts = Change::Attempts { id: JobId(1), attempts: 1 };
    assert_eq!(bench.changes.iter().filter(|(_, change)| *change == attempts).count(), 1);
    assert_eq!(bench.state.job(bench.now, "H:x:1").unwrap().attempt, 2);
}

#[test]
fn a_worker_that_only_hangs_up_is_not_charged() {
    let mut bench = Bench::new();
    bench.open(9);
    bench.submit(9, Foreground, "");
    for session in 1..=5 {
        bench.worker(session, 1);
        bench.grab(session);
        bench.close(session);
        bench.pass(Duration::from_millis(250));
    }
    assert_eq!(bench.state.job(bench.now, "H:x:1").unwrap().attempt, 1);
}

#[test]
fn a_draining_worker_finishes_its_job_and_gets_no_other() {
    let mut bench = Bench::new();
    bench.open(9);
    bench.worker(1, 1);
    bench.submit(9, Foreground, "");
    bench.submit(9, Foreground, "");
    bench.grab(1);
    let busy = Drain::Busy("H:x:1".to_owned());
    assert_eq!(bench.state.drain_if_idle(bench.now, WorkerId(1)), busy);
    bench.state.drain(bench.now, WorkerId(1), &mut bench.fx);
    assert!(bench.fx.drained.is_empty());
    bench.sent.clear();
    bench.complete(1, "H:x:1");
    assert_eq!(bench.fx.drained, [WorkerId(1)]);
    bench.grab(1);
    bench.worker(2, 1);
    bench.grab(2);
    bench.sees(&[(9, "complete H:x:1"), (1, "no job"), (2, "no job")]);
}

#[test]
fn a_pools_max_is_a_lock_on_processes_and_not_on_their_sessions() {
    let mut bench = Bench::new();
    bench.open(9);
    bench.worker(1, 1);
    bench.worker(2, 2);
    bench.worker(3, 1);
    bench.state.limit(bench.now, "pool".parse().unwrap(), 1, &mut bench.fx);
    (0..3).for_each(|_| bench.submit(9, Foreground, ""));
    bench.sent.clear();
    bench.grab(1);
    bench.grab(2);
    bench.grab(3);
    bench.send(2, Request::PreSleep);
    bench.complete(1, "H:x:1");
    bench.sees(&[(1, "assign H:x:1"), (2, "no job"), (3, "assign H:x:2"), (9, "complete H:x:1")]);
    bench.complete(3, "H:x:2");
    bench.sees(&[(9, "complete H:x:2"), (2, "noop")]);
}

#[test]
fn an_unknown_performer_waits_for_its_identity_and_then_gets_its_job() {
    let mut bench = Bench::new();
    bench.open(9);
    bench.submit(9, Foreground, "");
    let near = "127.0.0.1:9".parse().unwrap();
    let peer = Peer::Tcp { peer: near, local: near };
    bench.input(Input::Opened { session: SessionId(1), peer, worker: None });
    bench.can_do(1, "f");
    bench.grab(1);
    bench.sees(&[(9, "created H:x:1")]);
    bench.pass(Duration::from_millis(20));
    bench.sees(&[(1, "assign H:x:1")]);
}

#[test]
fn reports_of_jobs_that_the_session_does_not_hold_are_refused() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open(2);
    bench.submit(1, Foreground, "");
    bench.can_do(2, "f");
    bench.grab(2);
    bench.sent.clear();
    for handle in ["H:x:1", "H:x:01", "H:y:1", "nonsense"] {
        bench.complete(1, handle);
    }
    bench.sees(&[(1, "error JOB_NOT_FOUND"); 4]);
    bench.send(2, Request::CantDo("f".into()));
    bench.complete(2, "H:x:1");
    bench.sees(&[(1, "complete H:x:1")]);
}

#[test]
fn exceptions_go_to_those_that_asked_for_them() {
    let mut bench = Bench::new();
    for session in 1..=3 {
        bench.open(session);
    }
    bench.send(2, Request::Option("Exceptions".into()));
    bench.submit(1, Foreground, "u");
    bench.submit(2, Foreground, "u");
    bench.can_do(3, "f");
    bench.grab(3);
    bench.sent.clear();
    let report = WorkReport::Exception("why".into());
    bench.send(3, Request::Work { handle: "H:x:1".into(), report });
    bench.sees(&[(1, "fail H:x:1"), (2, "exception H:x:1")]);
}

#[test]
fn a_job_that_outlives_its_promise_is_taken_from_its_worker() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open(2);
    bench.submit(1, Foreground, "");
    let timeout = Some(Duration::from_secs(1));
    bench.send(2, Request::CanDo { function: "f".into(), timeout });
    bench.grab(2);
    bench.pass(Duration::from_secs(1));
    bench.complete(2, "H:x:1");
    bench.grab(2);
    bench.sees(&[
        (1, "created H:x:1"),
        (2, "assign H:x:1"),
        (2, "error JOB_NOT_FOUND"),
        (2, "assign H:x:1"),
    ]);
}

#[test]
fn a_full_queue_refuses_and_a_function_in_use_is_not_dropped() {
    let mut bench = Bench::new();
    bench.open(1);
    let mut admin = |command: AdminCommand| {
        bench.input(Input::Admin { session: SessionId(1), command: Ok(command) });
    };
    let f = || FunctionName::from("f");
    admin(AdminCommand::MaxQueue { function: f(), limits: [Some(1); 3] });
    bench.submit(1, Foreground, "");
    bench.submit(1, Foreground, "");
    let command = Ok(AdminCommand::DropFunction(f()));
    bench.input(Input::Admin { session: SessionId(1), command });
    let command = Ok(AdminCommand::CancelJob("H:x:1".into()));
    bench.input(Input::Admin { session: SessionId(1), command });
    let command = Ok(AdminCommand::DropFunction(f()));
    bench.input(Input::Admin { session: SessionId(1), command });
    let in_use = "ERR there are still connected workers or executing clients\r\n";
    bench.sees(&[
        (1, "OK"),
        (1, "created H:x:1"),
        (1, "error QUEUE_ERROR"),
        (1, in_use),
        (1, "fail H:x:1"),
        (1, "OK"),
        (1, "OK"),
    ]);
}

#[test]
fn handles_are_given_out_only_when_reserved_on_disk() {
    let mut bench = Bench::new();
    let settings = StateSettings { reserved: JobId(1), ..bench.state.settings.clone() };
    bench.state = State::new(settings);
    bench.open(1);
    bench.submit(1, Foreground, "");
    bench.submit(1, Foreground, "");
    bench.commit();
    bench.submit(1, Foreground, "");
    bench.sees(&[(1, "created H:x:1"), (1, "error QUEUE_ERROR"), (1, "created H:x:2")]);
}
