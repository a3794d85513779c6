//! The adapter's loop: jobs from the servers, to the program, and the answers back.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};

use super::child::{SpawnError, check_program};
use super::exec::Exec;
use super::lines::{Lines, Trouble};
use super::outcome::{Failure, Outcome, Reporter};
use super::signals::Listener;
use super::{Mode, WorkError, WorkOptions, tell, with_causes};
use crate::gearman::{Assignment, Backoff, ServerAddress, Worker, WorkerEvent};
use crate::model::{Exit, FunctionName};
use crate::protocol::WorkReport;

/// Pauses before a lines program that died is started again.
const RESTART_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long after a program's death by a signal that signal may still be on its way to us: Ctrl-C
/// goes to the whole process group.
const GROUP_SIGNAL_GRACE: Duration = Duration::from_millis(50);

/// One adapter.
#[derive(Debug)]
pub(super) struct Adapter {
    worker: Worker,
    program: Program,
    stop: Listener,
    restart: Backoff,
    news: News,
}

/// What does the work.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an adapter has one, for ever")]
enum Program {
    Exec(Exec),
    Lines(Lines),
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    Stop,
}

/// What an idle adapter wakes up for.
enum Event {
    Stop,
    Trouble(Trouble),
    Worker(WorkerEvent),
}

impl Adapter {
    /// Serves until a signal ends it.
    pub(super) async fn run(options: WorkOptions) -> Result<(), WorkError> {
        let stop = Listener::open_stop().map_err(WorkError::Setup)?;
        let mut program = match options.mode {
            Mode::Exec(output) => Program::Exec(Exec { command: options.command, output }),
            Mode::Lines => Program::Lines(Lines::new(options.command)),
        };
        // Before the servers hear of us: what cannot run must not be given a job.
        program.start().await?;
        let news = News::new(&options.functions);
        let mut worker = Worker::new(options.servers, options.functions);
        if let Some(id) = options.client_id {
            worker = worker.with_client_id(id);
        }
        let restart = Backoff::new(RESTART_PAUSE_FIRST, RESTART_PAUSE_MAX);
        let mut adapter = Self { worker, program, stop, restart, news };
        adapter.serve().await?;
        adapter.worker.hang_up();
        adapter.program.end().await;
        Ok(())
    }

    async fn serve(&mut self) -> Result<(), WorkError> {
        loop {
            let flow = match self.next_event().await? {
                Event::Stop => Flow::Stop,
                Event::Trouble(trouble) => {
                    tell(format_args!("{trouble}; it is started again"));
                    self.start_again().await
                }
                Event::Worker(WorkerEvent::Job(job)) => self.perform(&job).await?,
                Event::Worker(event) => {
                    self.news.tell(event);
                    Flow::GoOn
                }
            };
            if flow == Flow::Stop {
                return Ok(());
            }
        }
    }

    async fn next_event(&mut self) -> Result<Event, WorkError> {
        tokio::select! {
            // In this order, so that neither a stop nor a program in trouble is given a job.
            biased;
            () = self.stop.next() => Ok(Event::Stop),
            trouble = self.program.trouble() => trouble.map(Event::Trouble),
            event = self.worker.next_event() => Ok(Event::Worker(event)),
        }
    }

    async fn perform(&mut self, job: &Assignment) -> Result<Flow, WorkError> {
        let mut patience = Patience { stop: &mut self.stop, is_stopping: false, job };
        let mut reporter = Reporter::new(&mut self.worker, job);
        let outcome = patience.with(self.program.perform(job, &mut reporter)).await??;
        let outcome = match outcome {
            Outcome::Fail(Failure::Exit(exit)) | Outcome::Died(exit)
                if patience.is_our_stop(exit).await =>
            {
                Outcome::GiveBack
            }
            other => other,
        };
        match outcome {
            Outcome::Complete(result) => {
                self.restart.reset();
                patience.with(reporter.send(WorkReport::Complete(result))).await?;
            }
            Outcome::Exception(text) => {
                patience.with(reporter.send(WorkReport::Exception(text))).await?;
            }
            Outcome::Fail(failure) => {
                tell(format_args!("job {} failed: {failure}", name(job)));
                patience.with(reporter.send(WorkReport::Fail)).await?;
            }
            Outcome::Died(exit) => return Err(WorkError::Died { handle: handle(job), exit }),
            Outcome::GiveBack => {
                tell(format_args!("job {} is given back for another try", name(job)));
                self.worker.give_back(job);
            }
        }
        if patience.is_stopping {
            return Ok(Flow::Stop);
        }
        if self.program.is_up() { Ok(Flow::GoOn) } else { Ok(self.start_again().await) }
    }

    /// Starts a lines program until it runs; meanwhile no server has us.
    async fn start_again(&mut self) -> Flow {
        self.worker.hang_up();
        loop {
            tokio::select! {
                biased;
                () = self.stop.next() => return Flow::Stop,
                () = sleep(self.restart.pause()) => {}
            }
            match self.program.start().await {
                Ok(()) => return Flow::GoOn,
                Err(error) => tell(with_causes(&error)),
            }
        }
    }
}

impl Program {
    async fn start(&mut self) -> Result<(), SpawnError> {
        match self {
            Self::Exec(exec) => exec.command.first().map_or(Ok(()), |name| check_program(name)),
            Self::Lines(lines) => lines.start().await,
        }
    }

    fn is_up(&self) -> bool {
        match self {
            Self::Exec(_) => true,
            Self::Lines(lines) => lines.is_up(),
        }
    }

    async fn trouble(&mut self) -> Result<Trouble, WorkError> {
        match self {
            Self::Exec(_) => pending().await,
            Self::Lines(lines) => lines.trouble().await,
        }
    }

    async fn perform(
        &mut self,
        job: &Assignment,
        reporter: &mut Reporter<'_>,
    ) -> Result<Outcome, WorkError> {
        match self {
            Self::Exec(exec) => exec.perform(job, reporter).await,
            Self::Lines(lines) => lines.perform(job, reporter).await,
        }
    }

    async fn end(&mut self) {
        match self {
            Self::Exec(_) => {}
            Self::Lines(lines) => lines.end().await,
        }
    }
}

/// The time of one job, which the first signal does not cut short and the second does.
struct Patience<'a> {
    stop: &'a mut Listener,
    is_stopping: bool,
    job: &'a Assignment,
}

impl Patience<'_> {
    /// Waits for `work`, at most until a second signal.
    async fn with<T>(&mut self, work: impl Future<Output = T>) -> Result<T, WorkError> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.stop.next() => {
                    if self.is_stopping {
                        return Err(WorkError::Interrupted { handle: handle(self.job) });
                    }
                    self.is_stopping = true;
                    let job = name(self.job);
                    tell(format_args!("job {job} in hand, finishing (again = end now)"));
                }
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Whether a program died of the signal that also stops us; its job has not failed then.
    async fn is_our_stop(&mut self, exit: Exit) -> bool {
        use Signal::{SIGINT, SIGQUIT, SIGTERM};
        let Exit::Signal { signal: SIGINT | SIGQUIT | SIGTERM, .. } = exit else { return false };
        if !self.is_stopping {
            self.is_stopping = timeout(GROUP_SIGNAL_GRACE, self.stop.next()).await.is_ok();
        }
        self.is_stopping
    }
}

/// Tells of servers, once per change.
#[derive(Debug)]
struct News {
    functions: String,
    up: HashMap<ServerAddress, bool>,
}

impl News {
    fn new(functions: &[FunctionName]) -> Self {
        let functions: Vec<String> = functions.iter().map(ToString::to_string).collect();
        Self { functions: functions.join(", "), up: HashMap::new() }
    }

    fn tell(&mut self, event: WorkerEvent) {
        match event {
            WorkerEvent::Connected(server) => {
                if self.changes(&server, true) {
                    tell(format_args!("serving {} at {server}", self.functions));
                }
            }
            WorkerEvent::Unreachable { error, .. } => {
                if self.changes(&error.server, false) {
                    tell(format_args!("{}; trying again", with_causes(&error)));
                }
            }
            WorkerEvent::Lost { server, error, .. } => {
                if self.changes(&server, false) {
                    tell(format_args!("lost {server}: {}; trying again", with_causes(&error)));
                }
            }
            WorkerEvent::Refused { server, text } => tell(format_args!("{server} says {text}")),
            WorkerEvent::Job(_) => {}
        }
    }

    fn changes(&mut self, server: &ServerAddress, is_up: bool) -> bool {
        self.up.insert(server.clone(), is_up) != Some(is_up)
    }
}

fn handle(job: &Assignment) -> String {
    job.handle.escape_ascii().to_string()
}

/// `H:host:7 (resize)`
fn name(job: &Assignment) -> String {
    format!("{} ({})", handle(job), job.function)
}
