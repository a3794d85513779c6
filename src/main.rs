//! The program: everything is in the library.

use std::ffi::OsString;
use std::process::ExitCode;

use gear_supervisor::pool::process::shim;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == shim::WORD => shim::run(rest),
        _ => gear_supervisor::cli::main(),
    }
}
