//! Verbs that need a running daemon: finds it, and hands it to the one that was typed.

use tokio_util::task::TaskTracker;

use super::args::{Question, Target};
use super::commands::{self, Order};
use super::exit::{CliError, Exit};
use super::output::Screen;
use super::{attach, explain, jobs, queue, socket, status, submit, supervisord, wait};
use crate::control::client::{Command, ControlClient};

/// Runs one verb to its end, on a runtime of its own.
pub(super) fn run(question: Question, target: &Target) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("cannot begin: {error}")))?;
    runtime.block_on(answer(question, target))
}

async fn answer(question: Question, target: &Target) -> Result<Exit, CliError> {
    let mut screen = Screen::stdout();
    let screen = &mut screen;
    let client = socket::find(target).map(|socket| ControlClient::new(socket, TaskTracker::new()));
    match question {
        // These two may do without a daemon.
        Question::Submit(args) => submit::run(args, client, screen).await,
        Question::Queue(args) => queue::run(client, screen, &args.verb).await,
        Question::Status(args) => status::run(&client?, screen, &args).await,
        Question::Attach(args) => attach::attach(&client?, screen, args).await,
        Question::Logs(args) => attach::logs(&client?, screen, args).await,
        Question::Wait(args) => wait::run(&client?, &args).await,
        Question::Jobs(args) => jobs::list(&client?, screen, &args).await,
        Question::Job(args) => jobs::show(&client?, screen, &args).await,
        Question::Cancel(args) => jobs::cancel(&client?, screen, &args).await,
        Question::Pause(args) => queue::pause(&client?, screen, &args).await,
        Question::Resume(args) => queue::resume(&client?, screen, &args).await,
        Question::Kill(args) => jobs::kill(&client?, screen, &args).await,
        Question::Explain(args) => explain::run(&client?, screen, &args).await,
        Question::Pid(args) => supervisord::pid(&client?, screen, &args).await,
        Question::Avail(args) => supervisord::avail(&client?, screen, &args).await,
        Question::Start(args) => {
            commands::run(&client?, screen, &Order::on_names(args, Command::Start)).await
        }
        Question::Stop(args) => {
            commands::run(&client?, screen, &Order::on_names(args, Command::Stop)).await
        }
        Question::Restart(args) => commands::run(&client?, screen, &args.into()).await,
        Question::Signal(args) => commands::run(&client?, screen, &args.into()).await,
        Question::Send(args) => commands::run(&client?, screen, &args.into()).await,
        Question::Scale(args) => commands::run(&client?, screen, &args.into()).await,
        Question::Reload(args) => commands::run(&client?, screen, &args.into()).await,
        Question::Shutdown(pace) => commands::shutdown(&client?, screen, pace).await,
    }
}
