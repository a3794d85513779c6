//! A stand-in for the command line: only `work`.

use std::process::ExitCode;

use gear_supervisor::gearman::ServerAddress;
use gear_supervisor::work::{self, Mode, Output, WorkOptions};

fn main() -> ExitCode {
    if let Some(exit) = work::child_shim(std::env::args_os()) {
        return exit;
    }
    let mut words = std::env::args().skip(2);
    let functions = words.next().unwrap_or_default();
    let mut options = WorkOptions {
        servers: Vec::new(),
        functions: functions.split(',').map(Into::into).collect(),
        mode: Mode::Exec(Output::Whole),
        command: Vec::new(),
        client_id: std::env::var("GEAR_WORKER").ok(),
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--lines" => options.mode = Mode::Lines,
            "--stream" => options.mode = Mode::Exec(Output::Streamed),
            "--server" => {
                let list = words.next().unwrap_or_default();
                options.servers.extend(ServerAddress::parse_list(&list).unwrap_or_default());
            }
            _ => options.command = words.by_ref().map(Into::into).collect(),
        }
    }
    if options.servers.is_empty() {
        let variable = |name: &str| std::env::var(name).ok();
        options.servers = ServerAddress::from_environment(variable).unwrap_or_default();
    }
    match work::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gear-supervisor work: {:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}
