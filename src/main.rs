//! The program: everything is in the library.

use std::process::ExitCode;

use gear_supervisor::pool::process::shim;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == shim::WORD) {
        return shim::run();
    }
    ExitCode::SUCCESS
}
