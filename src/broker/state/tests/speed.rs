//! Sizes that must not make anything slow: what is quadratic does not end within the test's time.

use super::script::{Script, names};

#[test]
fn a_session_with_thousands_of_functions_costs_little() {
    let mut script = Script::new();
    script.run("w sleep");
    for name in names("f", 5_000) {
        script.run(&format!("w can {name}"));
    }
    script.run("c fg f4711 . x\nc < created 1\nw < noop\nw grab\nw < assign 1 f4711 x\nw close");
    assert_eq!(script.state.jobs(script.now, None, 9).len(), 1);
}
