//! The command line: parse, call one function, show what it says.
//!
//! What the daemon does is not known here. Verbs that ask a running one go through
//! `control::client`; those that stand alone call `config`, `gearman`, `work` and `supervisor`
//! through one adapter each (`file`, `submit`, `work`, `daemon`). All printing goes through
//! `output`, and how an hour or a megabyte reads is decided in `format`.

mod args;
mod ask;
mod attach;
mod bench;
mod check;
mod commands;
mod console;
mod daemon;
mod exit;
mod explain;
mod file;
mod format;
mod import;
mod interrupt;
mod jobs;
mod lines;
mod moving;
mod output;
mod paint;
mod progress;
mod queue;
mod record;
mod simulate;
mod socket;
mod status;
mod submit;
mod supervisord;
mod table;
mod terminal;
mod wait;
mod work;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Verb};
use exit::CliError;
pub use exit::Exit;
use output::Screen;

/// The whole program: reads the arguments, does what they say, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return match error.print() {
                Ok(()) => exit.into(),
                Err(error) => output::report(&error.into()).into(),
            };
        }
    };
    dispatch(cli).unwrap_or_else(|error| output::report(&error)).into()
}

fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    if cli.verbose > 0 && !cli.is_daemon() {
        return Err(CliError::new(Exit::Usage, "-v belongs to the daemon, not to this verb"));
    }
    match cli.verb {
        None => daemon::serve(cli.target.config.as_deref(), cli.verbose),
        Some(Verb::Run(run)) => {
            let verbose = cli.verbose.max(run.verbose);
            daemon::run(run, cli.target.config.as_deref(), verbose)
        }
        Some(Verb::Check(check)) => check::run(&check, &cli.target, &mut Screen::stdout()),
        Some(Verb::Import(args)) => import::run(&args, &mut Screen::stdout()),
        Some(Verb::Work(work)) => work::run(&work),
        // The program's first look at its arguments took it, unless an option stood before.
        Some(Verb::Gearmand { .. }) => Err(CliError::new(
            Exit::Usage,
            "gearmand comes first: gear-supervisor gearmand OPTION…",
        )),
        Some(Verb::Simulate(args)) => simulate::simulate(&args, &cli.target, &mut Screen::stdout()),
        Some(Verb::Bench(bench)) => bench::run(&bench, &mut Screen::stdout()),
        Some(Verb::Completions { shell }) => completions(shell),
        Some(Verb::Ask(question)) => ask::run(question, &cli.target),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gear-supervisor", &mut script);
    Screen::stdout().bytes(&script)?;
    Ok(Exit::Done)
}
