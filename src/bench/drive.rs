//! One run: connects, begins, waits for the end, and sums up.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use super::gauge::{Gauge, Kind};
use super::peers::{Load, Performer, call, sleep, submit, work};
use super::watch::{Sample, sample};
use super::{Amount, BenchError, BenchOptions, Mode, Report, ServerUse};
use crate::gearman::Connection;
use crate::model::{FunctionName, Priority};

/// Connections and jobs in flight that fill the queue of `drain`.
const FILL: (usize, usize) = (4, 64);
/// How long the server is watched while nothing happens, unless a time is set.
const IDLE_FOR: Duration = Duration::from_secs(2);

type Tasks = JoinSet<Result<(), BenchError>>;

/// Runs the load and tells what it found.
///
/// # Errors
/// When the server cannot be reached, refuses, or ends a connection.
pub fn run(options: &BenchOptions) -> Result<Report, BenchError> {
    if options.mode == Mode::Drain && matches!(options.amount, Amount::Time(_)) {
        return Err(BenchError::Senseless("drain needs a --count: jobs are queued before"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = Run { options, function: format!("bench-{}", std::process::id()).as_str().into() };
    LocalSet::new().block_on(&runtime, async {
        match options.mode {
            Mode::Submit => run.submit().await,
            Mode::Drain => run.drain().await,
            Mode::Flow => run.flow().await,
            Mode::Roundtrip => run.roundtrip().await,
            Mode::Idle => run.idle().await,
            Mode::Mixed => run.mixed().await,
        }
    })
}

struct Run<'a> {
    options: &'a BenchOptions,
    function: FunctionName,
}

/// A run from its first job on.
struct Begun {
    at: Instant,
    server: Option<Sample>,
    gauge: Rc<Gauge>,
}

impl Run<'_> {
    async fn submit(&self) -> Result<Report, BenchError> {
        let (mut tasks, connections) =
            (Tasks::new(), self.connect(self.options.connections).await?);
        let begun = self.begin(self.options.amount)?;
        self.submitters(&mut tasks, connections, &begun, &CancellationToken::new());
        all(&mut tasks).await?;
        self.report(&begun, begun.gauge.submitted())
    }

    async fn drain(&self) -> Result<Report, BenchError> {
        let Amount::Count(count) = self.options.amount else {
            return Err(BenchError::Senseless("drain needs a --count"));
        };
        let mut fill = Tasks::new();
        let filling = Rc::new(Gauge::new(self.options.amount, Instant::now()));
        for connection in self.connect(FILL.0).await? {
            let load = Load { in_flight: FILL.1, ..Load::new(self.options, &self.function) };
            let stop = CancellationToken::new();
            fill.spawn_local(submit(connection, load, Rc::clone(&filling), stop));
        }
        all(&mut fill).await?;
        let (mut tasks, workers) = (Tasks::new(), self.connect(self.options.workers).await?);
        let begun = self.begin(self.options.amount)?;
        let stop = self.workers(&mut tasks, workers, &begun);
        until(&mut tasks, begun.gauge.until_performed(count)).await?;
        let report = self.report(&begun, count);
        stop.cancel();
        all(&mut tasks).await?;
        report
    }

    async fn flow(&self) -> Result<Report, BenchError> {
        let (mut working, mut tasks) = (Tasks::new(), Tasks::new());
        let connections = self.connect(self.options.connections).await?;
        let workers = self.connect(self.options.workers).await?;
        let begun = self.begin(self.options.amount)?;
        let stop = self.workers(&mut working, workers, &begun);
        self.submitters(&mut tasks, connections, &begun, &CancellationToken::new());
        all(&mut tasks).await?;
        let submitted = begun.gauge.submitted();
        until(&mut working, begun.gauge.until_performed(submitted)).await?;
        let report = self.report(&begun, submitted);
        stop.cancel();
        all(&mut working).await?;
        report
    }

    async fn roundtrip(&self) -> Result<Report, BenchError> {
        let (mut working, mut tasks) = (Tasks::new(), Tasks::new());
        let connections = self.connect(self.options.connections).await?;
        let workers = self.connect(self.options.workers).await?;
        let begun = self.begin(self.options.amount)?;
        let stop = self.workers(&mut working, workers, &begun);
        for connection in connections {
            let load = Load::new(self.options, &self.function);
            tasks.spawn_local(call(connection, load, Rc::clone(&begun.gauge)));
        }
        until(&mut working, all(&mut tasks)).await??;
        let report = self.report(&begun, begun.gauge.submitted());
        stop.cancel();
        all(&mut working).await?;
        report
    }

    /// Callers have the gauge; submitters go on beside them until they are done.
    async fn mixed(&self) -> Result<Report, BenchError> {
        let (mut beside, mut tasks) = (Tasks::new(), Tasks::new());
        let connections = self.connect(self.options.connections).await?;
        let callers = self.connect(self.options.workers).await?;
        let workers = self.connect(self.options.workers).await?;
        let begun = self.begin(self.options.amount)?;
        let stop = self.workers(&mut beside, workers, &begun);
        let endless = Rc::new(Gauge::new(Amount::Count(u64::MAX), begun.at));
        for connection in connections {
            let load = Load::new(self.options, &self.function);
            beside.spawn_local(submit(connection, load, Rc::clone(&endless), stop.clone()));
        }
        for connection in callers {
            let load = Load { in_flight: 1, ..Load::new(self.options, &self.function) };
            let load = Load { priority: Priority::High, ..load };
            tasks.spawn_local(call(connection, load, Rc::clone(&begun.gauge)));
        }
        until(&mut beside, all(&mut tasks)).await??;
        let mut report = self.report(&begun, begun.gauge.submitted() + endless.submitted())?;
        report.submit = endless.latency(Kind::Submit);
        stop.cancel();
        all(&mut beside).await?;
        Ok(report)
    }

    async fn idle(&self) -> Result<Report, BenchError> {
        let urgent = Connection::open(&self.options.server).await?;
        let begun = self.begin(Amount::Count(u64::MAX))?;
        let (stop, mut submitting) = (CancellationToken::new(), Tasks::new());
        let load = Load {
            // Nobody does these: a worker that sleeps would be woken.
            function: format!("{}-urgent", self.function).as_str().into(),
            priority: Priority::High,
            payload: Bytes::from_static(b"x"),
            in_flight: 1,
            ..Load::new(self.options, &self.function)
        };
        submitting.spawn_local(submit(urgent, load, Rc::clone(&begun.gauge), stop.clone()));
        let mut registering = JoinSet::new();
        for _ in 0..self.options.workers {
            let (server, functions) = (self.options.server.clone(), self.functions());
            registering.spawn_local(async move {
                sleep(Connection::open(&server).await?, functions).await
            });
        }
        let mut asleep = Vec::new();
        while let Some(ended) = registering.join_next().await {
            asleep.push(ended.map_err(std::io::Error::other)??);
        }
        let workers = u64::try_from(asleep.len()).unwrap_or(u64::MAX);
        let mut report = self.report(&begun, workers)?;
        stop.cancel();
        all(&mut submitting).await?;
        if let (Some(pid), Some(used)) = (self.options.server_pid, &mut report.server) {
            let time = match self.options.amount {
                Amount::Time(time) => time,
                Amount::Count(_) => IDLE_FOR,
            };
            let before = sample(pid)?;
            tokio::time::sleep(time).await;
            let cpu = sample(pid)?.cpu.saturating_sub(before.cpu);
            used.idle_cpu_percent = Some(cpu.as_secs_f64() / time.as_secs_f64() * 100.0);
        }
        Ok(report)
    }

    async fn connect(&self, count: usize) -> Result<Vec<Connection>, BenchError> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(&self.options.server).await?);
        }
        Ok(connections)
    }

    fn begin(&self, amount: Amount) -> Result<Begun, BenchError> {
        let server = self.options.server_pid.map(sample).transpose()?;
        let at = Instant::now();
        Ok(Begun { at, server, gauge: Rc::new(Gauge::new(amount, at)) })
    }

    fn submitters(
        &self,
        tasks: &mut Tasks,
        connections: Vec<Connection>,
        begun: &Begun,
        stop: &CancellationToken,
    ) {
        for connection in connections {
            let load = Load::new(self.options, &self.function);
            tasks.spawn_local(submit(connection, load, Rc::clone(&begun.gauge), stop.clone()));
        }
    }

    /// Starts workers; the token stops them.
    fn workers(
        &self,
        tasks: &mut Tasks,
        connections: Vec<Connection>,
        begun: &Begun,
    ) -> CancellationToken {
        let stop = CancellationToken::new();
        for connection in connections {
            let gauge = Rc::clone(&begun.gauge);
            let performer = Performer { functions: self.functions(), writes: self.options.writes };
            tasks.spawn_local(work(connection, performer, gauge, stop.clone()));
        }
        stop
    }

    /// The functions of a worker: those of the jobs last.
    fn functions(&self) -> Vec<FunctionName> {
        let others = 1..self.options.functions.max(1);
        let name = |n| format!("{}-{n}", self.function).as_str().into();
        others.map(name).chain([self.function.clone()]).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "rates are read with a few digits")]
    fn report(&self, begun: &Begun, jobs: u64) -> Result<Report, BenchError> {
        let seconds = begun.at.elapsed().as_secs_f64();
        let each = |sum: f64| sum / (jobs.max(1) as f64);
        let server = match (self.options.server_pid, begun.server) {
            (Some(pid), Some(before)) => {
                let after = sample(pid)?;
                let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
                Some(ServerUse {
                    cpu_seconds,
                    cpu_us_per_job: each(cpu_seconds * 1e6),
                    rss_before: before.rss,
                    rss_after: after.rss,
                    rss_per_job: each(after.rss as f64 - before.rss as f64),
                    idle_cpu_percent: None,
                })
            }
            (None, _) | (_, None) => None,
        };
        let mode = format!("{:?}", self.options.mode).to_lowercase();
        let latency = |kind| begun.gauge.latency(kind);
        let (submit, grab) = (latency(Kind::Submit), latency(Kind::Grab));
        let (roundtrip, rate) = (latency(Kind::Roundtrip), jobs as f64 / seconds);
        Ok(Report { mode, jobs, seconds, rate, submit, grab, roundtrip, server })
    }
}

/// Waits for all tasks; the first error ends the wait.
async fn all(tasks: &mut Tasks) -> Result<(), BenchError> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(std::io::Error::other)??;
    }
    Ok(())
}

/// Waits for something while tasks go on, whose first error ends the wait.
async fn until<T>(tasks: &mut Tasks, what: impl Future<Output = T>) -> Result<T, BenchError> {
    tokio::select! {
        done = what => Ok(done),
        ended = all(tasks) => {
            ended?;
            Err(BenchError::Senseless("there are no workers to do the jobs"))
        }
    }
}
