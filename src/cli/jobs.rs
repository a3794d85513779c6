//! `jobs`, `job`, `cancel`, `kill` and `explain`.

use super::args::{ExplainArgs, JobArgs, JobsArgs};
use super::exit::{CliError, Exit};
use super::format;
use super::output::Screen;
use super::paint::Ink;
use super::status::today;
use super::table::{Cell, Column, Table};
use crate::control::api::{Done, Explanation, JobStatus};
use crate::control::client::ControlClient;

/// Lists jobs that wait or run.
pub(super) async fn list(
    client: &ControlClient,
    screen: &mut Screen,
    args: &JobsArgs,
) -> Result<Exit, CliError> {
    let jobs = client.jobs(args.function.as_deref(), args.limit).await?;
    if args.json {
        screen.json(&jobs)?;
    } else if jobs.is_empty() {
        screen.line("no job waits or runs")?;
    } else {
        let table = table(&jobs).render(screen.colours());
        screen.text(&table)?;
    }
    Ok(Exit::Done)
}

/// Shows one job.
pub(super) async fn show(
    client: &ControlClient,
    screen: &mut Screen,
    args: &JobArgs,
) -> Result<Exit, CliError> {
    let job = client.job(&args.handle).await?;
    if args.json {
        screen.json(&job)?;
    } else {
        screen.text(&describe(&job))?;
    }
    Ok(Exit::Done)
}

/// Withdraws a job that waits.
pub(super) async fn cancel(
    client: &ControlClient,
    screen: &mut Screen,
    args: &JobArgs,
) -> Result<Exit, CliError> {
    let done = client.cancel(&args.handle).await?;
    tell(screen, args, &done)
}

/// Kills the worker that holds a job.
pub(super) async fn kill(
    client: &ControlClient,
    screen: &mut Screen,
    args: &JobArgs,
) -> Result<Exit, CliError> {
    let done = client.kill(&args.handle).await?;
    tell(screen, args, &done)
}

fn tell(screen: &mut Screen, args: &JobArgs, done: &Done) -> Result<Exit, CliError> {
    if args.json {
        screen.json(done)?;
    } else {
        screen.line(&done.done.join("\n"))?;
    }
    Ok(Exit::Done)
}

/// Tells why a pool has the count it has.
pub(super) async fn explain(
    client: &ControlClient,
    screen: &mut Screen,
    args: &ExplainArgs,
) -> Result<Exit, CliError> {
    let told = client.explain(&args.name).await?;
    if args.json {
        screen.json(&told)?;
    } else {
        screen.text(&history(&told, &today()))?;
    }
    Ok(Exit::Done)
}

fn table(jobs: &[JobStatus]) -> Table {
    let mut table = Table::new(&[
        Column::Left("HANDLE"),
        Column::Left("FUNCTION"),
        Column::Left("STATE"),
        Column::Left("WORKER"),
        Column::Right("AGE"),
        Column::Right("DONE"),
        Column::Left("PRIORITY"),
        Column::Right("TRY"),
        Column::Right("CLIENTS"),
        Column::Right("SIZE"),
        Column::Left("UNIQUE"),
    ]);
    for job in jobs {
        let state = match job.running {
            Some(seconds) => Cell::new(format!("runs {}", format::duration(seconds)), Ink::Green),
            None => Cell::new("waits", Ink::Yellow),
        };
        let worker = job.running.map(|_| job.worker.as_deref().unwrap_or("elsewhere"));
        table.row(vec![
            Cell::plain(&job.handle),
            Cell::plain(&job.function),
            state,
            Cell::maybe(worker),
            Cell::plain(format::duration(job.age)),
            Cell::maybe(job.progress.map(|(done, all)| format::percent(done, all))),
            Cell::plain(&job.priority),
            Cell::plain(job.attempt.to_string()),
            Cell::plain(clients(job)),
            Cell::plain(format::size(job.payload_len as u64)),
            Cell::plain(&job.unique),
        ]);
    }
    table
}

/// Nobody waits for a background job; its place in the column says so.
fn clients(job: &JobStatus) -> String {
    if job.background && job.clients == 0 { "stored".to_owned() } else { job.clients.to_string() }
}

fn describe(job: &JobStatus) -> String {
    let state = match job.running {
        Some(seconds) => format!(
            "runs for {} in {}",
            format::duration(seconds),
            job.worker.as_deref().unwrap_or("a worker that is not ours")
        ),
        None => "waits".to_owned(),
    };
    let kind = if job.background { "background" } else { "foreground" };
    let clients = match job.clients {
        0 => String::new(),
        count => format!(", {} for it", counted_wait(count)),
    };
    let mut lines = vec![
        format!("job       {}", job.handle),
        format!("function  {}", job.function),
        format!("state     {state}"),
        format!("kind      {kind}, {} priority{clients}", job.priority),
        format!("age       {}", format::duration(job.age)),
        format!("attempt   {}", job.attempt),
        format!("payload   {}", format::size(job.payload_len as u64)),
    ];
    if !job.unique.is_empty() {
        lines.insert(2, format!("unique    {}", job.unique));
    }
    if let Some((done, all)) = job.progress {
        lines.push(format!("progress  {} ({done} of {all})", format::percent(done, all)));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn counted_wait(count: usize) -> String {
    let verb = if count == 1 { "waits" } else { "wait" };
    format!("{} {verb}", format::counted(count, "client"))
}

fn history(told: &Explanation, today: &str) -> String {
    let decisions = told.history.iter();
    let decisions =
        decisions.map(|(at, sentence)| format!("{}  {sentence}", format::clock(at, today)));
    let mut lines = vec![format!("{}: {}", told.pool, told.now)];
    lines.extend(decisions);
    for exit in &told.exits {
        lines.push(format!("{}: {}", exit.worker, exit.exit));
        lines.extend(exit.lines.iter().map(|line| format!("  | {line}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::paint::Colours;
    use crate::cli::status::scene;

    #[test]
    fn jobs_stand_in_a_table() {
        let running = scene::job();
        let waiting = JobStatus {
            handle: "H:x:12".to_owned(),
            running: None,
            worker: None,
            background: false,
            clients: 2,
            progress: None,
            unique: String::new(),
            attempt: 1,
            ..running.clone()
        };
        let want = "\
HANDLE  FUNCTION  STATE       WORKER    AGE  DONE  PRIORITY  TRY  CLIENTS  SIZE  UNIQUE
H:x:3   slow      runs 4.0 s  slow:2  9.0 s   30%  normal      2   stored   1 B  a
H:x:12  slow      waits               9.0 s        normal      1        2   1 B
";
        assert_eq!(table(&[running, waiting]).render(Colours::Off), want);
    }

    #[test]
    fn one_job_is_told_line_by_line() {
        let want = "\
job       H:x:3
function  slow
unique    a
state     runs for 4.0 s in slow:2
kind      background, normal priority
age       9.0 s
attempt   2
payload   1 B
progress  30% (3 of 10)
";
        assert_eq!(describe(&scene::job()), want);
    }

    #[test]
    fn an_explanation_has_its_history() {
        let told = Explanation {
            pool: "slow".to_owned(),
            now: "3 jobs wait".to_owned(),
            history: vec![("2026-11-24T14:02:11.250+01:00".to_owned(), "1→2".to_owned())],
            exits: Vec::new(),
        };
        assert_eq!(history(&told, "2026-11-24"), "slow: 3 jobs wait\n14:02:11  1→2\n");
    }
}
