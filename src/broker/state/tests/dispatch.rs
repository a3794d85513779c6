//! Which job a session is given.

use super::script::{Script, check};

#[test]
fn priority_is_global_over_the_functions_of_a_session() {
    check(
        "c fg-low f . a
         c fg g . b
         c fg-high f . c
         c fg f . d
         c < created 1 | created 2 | created 3 | created 4
         w can f
         w can g
         w grab
         w grab
         w grab
         w grab
         w grab
         w < assign 3 f c | assign 2 g b | assign 4 f d | assign 1 f a | no job",
    );
}

#[test]
fn functions_take_turns_and_jobs_of_one_come_in_order() {
    check(
        "c fg f . a
         c fg f . b
         c fg f . c
         c fg g . d
         c fg g . e
         c < created 1 | created 2 | created 3 | created 4 | created 5
         w can f
         w can g
         w grab
         w grab
         w grab
         w grab
         w grab
         w < assign 4 g d | assign 1 f a | assign 5 g e | assign 2 f b | assign 3 f c",
    );
}

#[test]
fn workers_that_live_for_one_job_take_turns_too() {
    let mut script = Script::new();
    for n in 1..=6 {
        let function = if n <= 3 { "f" } else { "g" };
        script.run(&format!("c fg {function} . x\nc < created {n}\n"));
    }
    for (n, wanted) in ["4 g", "1 f", "5 g", "2 f"].iter().enumerate() {
        script.run(&format!("w{n} can f\nw{n} can g\nw{n} grab\nw{n} < assign {wanted} x\n"));
    }
}

#[test]
fn the_style_of_the_grab_decides_the_packet() {
    check(
        "c fg f u a
         c fg f . b
         c fg f v c
         c < created 1 | created 2 | created 3
         w can f
         w grab
         w grabu
         w graball
         w < assign 1 f a | assign 2 f . b | assign 3 f v c",
    );
}

#[test]
fn a_session_is_given_only_what_it_performs() {
    check(
        "c fg f . a
         c < created 1
         w grab
         w < no job
         w can g
         w grab
         w < no job
         w can f
         w cant f
         w grab
         w < no job
         w can f
         w reset
         w grab
         w < no job",
    );
}

#[test]
fn thousands_of_abilities_find_the_one_busy_function_and_the_other_way_round() {
    let mut script = Script::new();
    for n in 0..100 {
        script.run(&format!("w can f{n}\nc fg g{n} . x\nc < created {}\n", n + 1));
    }
    script.run("c fg f57 . x\nc < created 101\nw grab\nw < assign 101 f57 x\nw grab\nw < no job\n");
    script.run("v can g3\nv grab\nv < assign 4 g3 x");
}

#[test]
fn a_session_of_this_host_gets_no_job_before_it_is_known_whose_it_is() {
    check(
        "c fg f . a
         c fg f . b
         c < created 1 | created 2
         admit 3 mail:1
         l local
         l can f
         news < starved f | starved f | who l
         l grab
         l echo x
         l < nothing
         tie l 3
         l < assign 1 f a | echo x
         news < registered 3
         idle? 3 1",
    );
}

#[test]
fn a_question_without_an_answer_ends_after_20_ms() {
    check(
        "c fg f . a
         c < created 1
         l local
         l can f
         l sleep
         wait 19
         l < nothing
         wait 1
         l < noop
         l grab
         l < assign 1 f a",
    );
}

#[test]
fn sessions_of_other_hosts_and_of_workers_are_not_asked_about() {
    check(
        "admit 3 mail:1
         w of 3
         w can f
         r can f
         news < registered 3",
    );
}

#[test]
fn a_session_tied_late_counts_as_its_workers() {
    check(
        "c fg f . a
         c < created 1
         l local
         l can f
         wait 20
         l grab
         l < assign 1 f a
         admit 3 mail:1
         tie l 3
         idle? 3 1
         news < starved f | who l | registered 3",
    );
}
