//! `queue`, `pause` and `resume`: functions and their jobs, many at once.

use super::args::{FunctionsArgs, QueueListArgs, QueueVerb, SweepArgs};
use super::exit::{CliError, Exit};
use super::format;
use super::moving;
use super::output::Screen;
use super::paint::Ink;
use super::submit::server_of;
use super::table::{Cell, Column, Table};
use crate::control::api::{Done, FunctionStatus, Functions, QueueDone, QueueRequest};
use crate::control::client::{ControlClient, QueueAction};

/// Runs one of the verbs of `queue`.
pub(super) async fn run(
    client: Result<ControlClient, CliError>,
    screen: &mut Screen,
    verb: &QueueVerb,
) -> Result<Exit, CliError> {
    match verb {
        QueueVerb::List(args) => list(&client?, screen, args).await,
        QueueVerb::Retry(args) => sweep(&client?, screen, QueueAction::Retry, args).await,
        QueueVerb::Purge(args) => sweep(&client?, screen, QueueAction::Purge, args).await,
        QueueVerb::Import(args) => {
            let server = match &args.to {
                Some(server) => server.clone(),
                None => server_of(&client?).await?,
            };
            moving::import(&server, screen, args).await
        }
        QueueVerb::Export(args) => moving::export(&client?, screen, args).await,
        QueueVerb::Cancel(args) => sweep(&client?, screen, QueueAction::Cancel, args).await,
    }
}

/// Lets functions' jobs wait.
pub(super) async fn pause(
    client: &ControlClient,
    screen: &mut Screen,
    args: &FunctionsArgs,
) -> Result<Exit, CliError> {
    let done = client.pause(&Functions { functions: args.functions.clone() }).await?;
    told(screen, &done, args.json)
}

/// Lets them go on.
pub(super) async fn resume(
    client: &ControlClient,
    screen: &mut Screen,
    args: &FunctionsArgs,
) -> Result<Exit, CliError> {
    let done = client.resume(&Functions { functions: args.functions.clone() }).await?;
    told(screen, &done, args.json)
}

fn told(screen: &mut Screen, done: &Done, json: bool) -> Result<Exit, CliError> {
    if json {
        screen.json(done)?;
    } else {
        screen.line(&done.done.join("\n"))?;
    }
    Ok(Exit::Done)
}

async fn list(
    client: &ControlClient,
    screen: &mut Screen,
    args: &QueueListArgs,
) -> Result<Exit, CliError> {
    let status = client.status().await?;
    let mut functions = status.broker.map(|broker| broker.functions).unwrap_or_default();
    if let Some(pattern) = &args.function {
        let pattern = wildmatch::WildMatch::new(pattern);
        functions.retain(|function| pattern.matches(&function.name));
    }
    if args.json {
        screen.json(&functions)?;
    } else if functions.is_empty() {
        screen.line("no function is known")?;
    } else {
        let table = table(&functions).render(screen.colours());
        screen.text(&table)?;
    }
    Ok(Exit::Done)
}

async fn sweep(
    client: &ControlClient,
    screen: &mut Screen,
    action: QueueAction,
    args: &SweepArgs,
) -> Result<Exit, CliError> {
    let request = QueueRequest {
        handles: args.handles.clone(),
        function: args.function.clone(),
        older_than: args.older.map(|age| age.as_secs_f64()),
        dry_run: args.dry_run,
    };
    let done = client.queue(action, &request).await?;
    if args.json {
        screen.json(&done)?;
    } else {
        screen.text(&sentences(action, &done, args.dry_run))?;
    }
    Ok(Exit::Done)
}

/// What was done; a dry run names the jobs.
fn sentences(action: QueueAction, done: &QueueDone, dry_run: bool) -> String {
    let jobs = format::counted(done.count, "job");
    let (verb, participle) = match action {
        QueueAction::Cancel => ("cancel", "cancelled"),
        QueueAction::Retry => ("retry", "put back"),
        QueueAction::Purge => ("purge", "dropped"),
    };
    if !dry_run {
        return format!("{jobs} {participle}\n");
    }
    let mut lines = vec![format!("{verb} would change {jobs}")];
    lines.extend(done.handles.iter().cloned());
    let more = done.count.saturating_sub(done.handles.len());
    if more > 0 {
        lines.push(format!("and {} more", format::number(more as u64)));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn table(functions: &[FunctionStatus]) -> Table {
    let mut table = Table::new(&[
        Column::Left("FUNCTION"),
        Column::Right("HIGH"),
        Column::Right("NORMAL"),
        Column::Right("LOW"),
        Column::Right("LATER"),
        Column::Right("RUNNING"),
        Column::Right("OLDEST"),
        Column::Right("WORKERS"),
        Column::Right("ENDED"),
        Column::Right("EXPIRED"),
        Column::Right("DEAD"),
        Column::Left("STATE"),
    ]);
    for function in functions {
        let number = |number: usize| Cell::plain(format::number(number as u64));
        let [high, normal, low] = function.queued.map(number);
        let dead = match function.dead {
            0 => number(0),
            some => Cell::new(format::number(some as u64), Ink::Red),
        };
        let paused = Cell::new("paused", Ink::Yellow);
        table.row(vec![
            Cell::plain(&function.name),
            high,
            normal,
            low,
            number(function.delayed),
            number(function.running),
            Cell::maybe(function.oldest.map(format::duration)),
            number(function.performers),
            Cell::plain(format::number(function.ended)),
            Cell::plain(format::number(function.expired)),
            dead,
            if function.paused { paused } else { Cell::default() },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::paint::Colours;

    #[test]
    fn a_queue_is_a_line_of_the_list() {
        let function = FunctionStatus {
            name: "resize".to_owned(),
            queued: [1, 20, 0],
            delayed: 3,
            dead: 2,
            expired: 0,
            paused: true,
            oldest: Some(9.0),
            running: 4,
            performers: 4,
            ended: 1234,
        };
        let want = "\
FUNCTION  HIGH  NORMAL  LOW  LATER  RUNNING  OLDEST  WORKERS  ENDED  EXPIRED  DEAD  STATE
resize       1      20    0      3        4   9.0 s        4  1,234        0     2  paused
";
        assert_eq!(table(&[function]).render(Colours::Off), want);
    }

    #[test]
    fn a_dry_run_names_the_jobs() {
        let done = QueueDone { count: 3, handles: vec!["H:x:1".to_owned(), "H:x:2".to_owned()] };
        let want = "cancel would change 3 jobs\nH:x:1\nH:x:2\nand 1 more\n";
        assert_eq!(sentences(QueueAction::Cancel, &done, true), want);
        assert_eq!(sentences(QueueAction::Retry, &done, false), "3 jobs put back\n");
    }
}
