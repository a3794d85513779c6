//! `explain`: why a pool has the count it has.

use super::args::ExplainArgs;
use super::exit::{CliError, Exit};
use super::format;
use super::interrupt::Interrupt;
use super::output::{self, Screen};
use super::record;
use super::status::today;
use crate::control::api::{CountRecord, EventRecord, Explanation, ScalingNumbers};
use crate::control::client::{ControlClient, RecordReader};

/// Tells it, or records the load that such answers are found from.
pub(super) async fn run(
    client: &ControlClient,
    screen: &mut Screen,
    args: &ExplainArgs,
) -> Result<Exit, CliError> {
    if let Some(path) = &args.record {
        return record::run(client, path, args.limit).await;
    }
    let name = args.name.as_deref().unwrap_or_default();
    if args.follow {
        return follow(client, screen, (name, args.json)).await;
    }
    let told = client.explain(name).await?;
    if args.json {
        screen.json(&told)?;
    } else {
        screen.text(&history(&told, &today()))?;
    }
    Ok(Exit::Done)
}

/// What is so now, and every change of the pool's count until Ctrl-C.
async fn follow(
    client: &ControlClient,
    screen: &mut Screen,
    (name, json): (&str, bool),
) -> Result<Exit, CliError> {
    let mut interrupt = Interrupt::listen()?;
    // First, so that no change is lost between the two.
    let mut events = client.events().await?;
    let told = client.explain(name).await?;
    if !json {
        screen.text(&history(&told, &today()))?;
    }
    tokio::select! {
        ended = show(&mut events, screen, (&told.pool, json)) => ended?,
        () = interrupt.wait() => return Ok(Exit::Done),
    }
    output::remark("-- the daemon has ended --");
    Ok(Exit::Done)
}

async fn show(
    events: &mut RecordReader<EventRecord>,
    screen: &mut Screen,
    (pool, json): (&str, bool),
) -> Result<(), CliError> {
    while let Some(batch) = events.next_batch().await? {
        for event in &batch {
            match event {
                EventRecord::Count(change) if change.pool == pool && json => {
                    let line = serde_json::to_string(change).map_err(std::io::Error::from)?;
                    screen.line(&line)?;
                }
                EventRecord::Count(change) if change.pool == pool => {
                    screen.line(&sentence(change, &today()))?;
                }
                EventRecord::Missed { missed } => {
                    output::remark(&format!("-- {missed} changes were missed --"));
                }
                EventRecord::Count(_)
                | EventRecord::Moved { .. }
                | EventRecord::Deployed { .. }
                | EventRecord::Edited { .. } => {}
            }
        }
    }
    Ok(())
}

fn history(told: &Explanation, today: &str) -> String {
    let mut lines = vec![format!("{}: {}", told.pool, told.now)];
    lines.extend(told.numbers.as_ref().map(numbers));
    lines.extend(told.history.iter().map(|change| sentence(change, today)));
    for exit in &told.exits {
        lines.push(format!("{}: {}", exit.worker, exit.exit));
        lines.extend(exit.lines.iter().map(|line| format!("  | {line}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn sentence(change: &CountRecord, today: &str) -> String {
    format!("{}  {}", format::clock(&change.time, today), change.reason)
}

/// `wants 14, is to have 9, has 8 · …`
fn numbers(told: &ScalingNumbers) -> String {
    let ScalingNumbers { wanted, target, have, arrivals, running, busy, .. } = told;
    let limit = told.limit.iter().map(|limit| format!(", limited by {limit}"));
    let (service, startup) = (format::duration(told.service), format::duration(told.startup));
    let window = format::duration(told.window);
    let others = match told.hosts {
        0 | 1 => String::new(),
        2 => format!(" · {} needed here and on another host", told.needed),
        hosts => format!(" · {} needed here and on {} other hosts", told.needed, hosts - 1),
    };
    format!(
        "  wants {wanted}, is to have {target}, has {have}{}{others} · {arrivals:.1} jobs a second of \
         {service} · {running} busy, {busy:.1} on average · ready after {startup} · falls to the \
         need of the last {window}",
        limit.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_has_its_history() {
        let change = CountRecord {
            time: "2026-11-24T14:02:11.250+01:00".to_owned(),
            pool: "slow".to_owned(),
            reason: "1→2".to_owned(),
            numbers: None,
        };
        let told = Explanation {
            pool: "slow".to_owned(),
            now: "3 jobs wait".to_owned(),
            numbers: None,
            history: vec![change],
            exits: Vec::new(),
        };
        assert_eq!(history(&told, "2026-11-24"), "slow: 3 jobs wait\n14:02:11  1→2\n");
        let numbers = ScalingNumbers {
            wanted: 14,
            target: 9,
            have: 8,
            limit: Some("memory".to_owned()),
            arrivals: 12.34,
            service: 0.5,
            running: 7,
            busy: 6.52,
            startup: 1.0,
            window: 60.0,
            ..ScalingNumbers::default()
        };
        let shared = ScalingNumbers { hosts: 3, needed: 40, ..numbers.clone() };
        let shared = history(&Explanation { numbers: Some(shared), ..told.clone() }, "2026-11-24");
        assert!(shared.contains(" · 40 needed here and on 2 other hosts · "), "{shared}");
        let told = Explanation { numbers: Some(numbers), ..told };
        let text = history(&told, "2026-11-24");
        let line = "  wants 14, is to have 9, has 8, limited by memory · 12.3 jobs a second of ";
        assert!(text.contains(line) && text.contains("7 busy, 6.5 on average"), "{text}");
        assert!(!text.contains("host"), "{text}");
    }
}
