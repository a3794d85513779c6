//! The program: everything is in the library.

use std::ffi::OsString;
use std::process::ExitCode;

use gear_supervisor::pool::process::shim;
use gear_supervisor::work;

fn main() -> ExitCode {
    if let Some(exit) = work::child_shim(std::env::args_os()) {
        return exit;
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == shim::WORD => shim::run(rest),
        _ => gear_supervisor::cli::main(),
    }
}
