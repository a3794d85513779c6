//! The program: everything is in the library.

use std::process::ExitCode;

use gear_supervisor::gearmand;
use gear_supervisor::pool::process::shim;
use gear_supervisor::work;
use mimalloc::MiMalloc;

/// A queued job is some small allocations of one thread, for which glibc's allocator asks the
/// kernel page by page: a job in memory costs a sixth less CPU with this one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    if let Some(exit) = work::child_shim(std::env::args_os()) {
        return exit;
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == shim::WORD) {
        return shim::run();
    }
    if let Some(words) = gearmand::is_asked_for(std::env::args_os()) {
        return gearmand::main(&words);
    }
    gear_supervisor::cli::main()
}
