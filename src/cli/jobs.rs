//! `jobs`, `job`, `cancel` and `kill`.

use super::args::{JobArgs, JobsArgs, ShowJobArgs};
use super::exit::{CliError, Exit};
use super::format;
use super::output::Screen;
use super::paint::Ink;
use super::status::today;
use super::table::{Cell, Column, Table};
use crate::control::api::{DeathStatus, Done, JobStatus};
use crate::control::client::{ControlClient, JobsOf};

/// Lists jobs that wait, run or recur, or dead letters.
pub(super) async fn list(
    client: &ControlClient,
    screen: &mut Screen,
    args: &JobsArgs,
) -> Result<Exit, CliError> {
    let of = match (args.of.dead, args.of.newest) {
        (true, _) => JobsOf::Dead,
        (false, true) => JobsOf::Newest,
        (false, false) => JobsOf::Oldest,
    };
    let jobs = client.jobs(args.function.as_deref(), args.limit, of).await?;
    if args.json {
        screen.json(&jobs)?;
    } else if jobs.is_empty() {
        screen.line(if args.of.dead {
            "there is no dead letter"
        } else {
            "no job waits or runs"
        })?;
    } else if args.of.dead {
        let table = dead_table(&jobs, &today()).render(screen.colours());
        screen.text(&table)?;
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
    args: &ShowJobArgs,
) -> Result<Exit, CliError> {
    if args.payload {
        let payload = client.payload(&args.handle).await?;
        screen.bytes(&payload)?;
        return Ok(Exit::Done);
    }
    let job = client.job(&args.handle).await?;
    if args.json {
        screen.json(&job)?;
    } else {
        screen.text(&describe(&job, &today()))?;
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
        let state = match (job.running, job.due) {
            (Some(seconds), _) => {
                Cell::new(format!("runs {}", format::duration(seconds)), Ink::Green)
            }
            (None, Some(due)) => {
                let word = if job.times.is_some() { "recurs in" } else { "due in" };
                Cell::new(format!("{word} {}", format::duration(due)), Ink::Dim)
            }
            (None, None) => Cell::new("waits", Ink::Yellow),
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

fn dead_table(jobs: &[JobStatus], today: &str) -> Table {
    let mut table = Table::new(&[
        Column::Left("HANDLE"),
        Column::Left("FUNCTION"),
        Column::Left("DIED"),
        Column::Left("CAUSE"),
        Column::Right("TRIES"),
        Column::Right("AGE"),
        Column::Right("SIZE"),
        Column::Left("UNIQUE"),
        Column::Left("OUTPUT"),
    ]);
    for job in jobs {
        let Some(death) = &job.death else { continue };
        table.row(vec![
            Cell::plain(&job.handle),
            Cell::plain(&job.function),
            Cell::plain(format::clock(&death.at, today)),
            Cell::new(cause(death), Ink::Red),
            Cell::plain(job.attempt.to_string()),
            Cell::plain(format::duration(job.age)),
            Cell::plain(format::size(job.payload_len as u64)),
            Cell::plain(&job.unique),
            Cell::plain(death.output.lines().last().unwrap_or_default()),
        ]);
    }
    table
}

/// `slow:2 killed by KILL`, `failed in slow:2`, `timed out`.
fn cause(death: &DeathStatus) -> String {
    match (&death.worker, &death.exit) {
        (Some(worker), Some(exit)) => format!("{worker} {exit}"),
        (Some(worker), None) => format!("{} in {worker}", death.cause),
        (None, Some(exit)) => format!("its worker {exit}"),
        (None, None) => death.cause.clone(),
    }
}

/// Nobody waits for a background job; its place in the column says so.
fn clients(job: &JobStatus) -> String {
    if job.background && job.clients == 0 { "stored".to_owned() } else { job.clients.to_string() }
}

fn describe(job: &JobStatus, today: &str) -> String {
    let state = match (job.running, job.due) {
        (Some(seconds), _) => format!(
            "runs for {} in {}",
            format::duration(seconds),
            job.worker.as_deref().unwrap_or("a worker that is not ours")
        ),
        (None, Some(due)) if job.times.is_some() => {
            format!("recurs, next in {}", format::duration(due))
        }
        (None, Some(due)) => format!("due in {}", format::duration(due)),
        (None, None) => "waits".to_owned(),
    };
    let state = match &job.death {
        Some(death) => format!("dead since {}: {}", format::clock(&death.at, today), cause(death)),
        None => state,
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
    lines.extend(job.times.as_ref().map(|times| format!("times     {times}")));
    if let Some(death) = &job.death {
        lines.extend(death.output.lines().map(|line| format!("output    {line}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn counted_wait(count: usize) -> String {
    let verb = if count == 1 { "waits" } else { "wait" };
    format!("{} {verb}", format::counted(count, "client"))
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
        let delayed = JobStatus {
            handle: "H:x:13".to_owned(),
            due: Some(90.0),
            clients: 0,
            background: true,
            ..waiting.clone()
        };
        let want = "\
HANDLE  FUNCTION  STATE          WORKER    AGE  DONE  PRIORITY  TRY  CLIENTS  SIZE  UNIQUE
H:x:3   slow      runs 4.0 s     slow:2  9.0 s   30%  normal      2   stored   1 B  a
H:x:12  slow      waits                  9.0 s        normal      1        2   1 B
H:x:13  slow      due in 1m 30s          9.0 s        normal      1   stored   1 B
";
        assert_eq!(table(&[running, waiting, delayed]).render(Colours::Off), want);
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
        assert_eq!(describe(&scene::job(), "2026-11-24"), want);
    }

    #[test]
    fn a_dead_letter_tells_its_cause_and_the_last_lines() {
        let death = DeathStatus {
            at: "2026-11-24T14:02:11.250+01:00".to_owned(),
            cause: "died".to_owned(),
            worker: Some("slow:2".to_owned()),
            exit: Some("killed by KILL".to_owned()),
            output: "begin\nout of memory\n".to_owned(),
        };
        let job = JobStatus { running: None, progress: None, attempt: 3, ..scene::job() };
        let job = JobStatus { death: Some(death), ..job };
        let want = "\
HANDLE  FUNCTION  DIED      CAUSE                  TRIES    AGE  SIZE  UNIQUE  OUTPUT
H:x:3   slow      14:02:11  slow:2 killed by KILL      3  9.0 s   1 B  a       out of memory
";
        let table = dead_table(std::slice::from_ref(&job), "2026-11-24");
        assert_eq!(table.render(Colours::Off), want);
        let told = describe(&job, "2026-11-24");
        assert!(told.contains("state     dead since 14:02:11: slow:2 killed by KILL\n"), "{told}");
        assert!(told.contains("output    begin\noutput    out of memory\n"), "{told}");
    }
}
