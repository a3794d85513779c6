//! Sizes that must not make anything slow: what is quadratic here takes minutes, not a second.

use super::script::Script;
use crate::broker::state::{Effects, Input};
use crate::model::{Priority, SessionId};
use crate::protocol::{GrabStyle, Request, Submission, SubmitMode};

fn submission(function: &str) -> Request {
    Request::Submit(Submission {
        function: function.into(),
        unique: "".into(),
        priority: Priority::Normal,
        mode: SubmitMode::Foreground,
        payload: "x".into(),
    })
}

#[test]
fn thousands_of_functions_cost_little_at_every_step_of_a_session() {
    const FUNCTIONS: usize = 5_000;
    let mut script = Script::new();
    script.run("w sleep\nv sleep\nc echo x\nc < echo x");
    let names: Vec<String> = (0..FUNCTIONS).map(|n| format!("f{n}")).collect();
    for name in &names {
        script.run(&format!("w can {name}\nv can {name}"));
    }
    for (n, name) in names.iter().enumerate() {
        let job = n + 1;
        script.run(&format!(
            "c fg {name} . x\nc < created {job}\nv < noop\nv grab\nv < assign {job} {name} x
             v complete {job} r\nc < complete {job} r\nv sleep"
        ));
    }
    script.run("v close\nw reset\nw close");
}

#[test]
fn a_hundred_thousand_queued_jobs_come_and_go() {
    const JOBS: usize = 100_000;
    let mut script = Script::new();
    script.run("c echo x\nc < echo x\nd echo x\nd < echo x\nw can f\nw can g");
    let (c, d, w) = (SessionId(1), SessionId(2), SessionId(3));
    let mut fx = Effects::default();
    let mut handle = |script: &mut Script, session, request| {
        script.state.handle(script.now, Input::Request { session, request }, &mut fx);
        fx.sends.clear();
        fx.events.clear();
    };
    for n in 0..JOBS {
        let (session, function) = if n % 2 == 0 { (c, "f") } else { (d, "g") };
        handle(&mut script, session, submission(function));
    }
    for _ in 0..JOBS / 4 {
        handle(&mut script, w, Request::Grab(GrabStyle::Plain));
    }
    script.run("d close\nw close\nx admin status\nx < f 50000 0 0 / g 0 0 0 / .");
}
