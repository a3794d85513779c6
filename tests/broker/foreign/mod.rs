//! Unmodified Gearman programs and libraries; a test whose library is absent says so and passes.

mod languages;
mod tools;

use std::process::{Child, Command as Program, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program that is killed when it hangs, and outlives no test that was killed.
fn bounded(name: &str) -> Program {
    let mut program = Program::new("timeout");
    program.args(["--signal=KILL", "40", name]).stdin(Stdio::null());
    program
}

/// A program that runs until the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // TERM, which `timeout` hands on; KILL would end it and leave the program. It may have
        // ended by itself, which a test sees in what it did not do.
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM).unwrap_or_default();
        self.0.wait().unwrap();
    }
}
