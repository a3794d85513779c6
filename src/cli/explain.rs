//! `explain`: why a pool has the count it has.

use super::args::ExplainArgs;
use super::exit::{CliError, Exit};
use super::format;
use super::output::Screen;
use super::record;
use super::status::today;
use crate::control::api::{Explanation, ScalingNumbers};
use crate::control::client::ControlClient;

/// Tells it, or records the load that such answers are found from.
pub(super) async fn run(
    client: &ControlClient,
    screen: &mut Screen,
    args: &ExplainArgs,
) -> Result<Exit, CliError> {
    if let Some(path) = &args.record {
        return record::run(client, path, args.limit).await;
    }
    let told = client.explain(args.name.as_deref().unwrap_or_default()).await?;
    if args.json {
        screen.json(&told)?;
    } else {
        screen.text(&history(&told, &today()))?;
    }
    Ok(Exit::Done)
}

fn history(told: &Explanation, today: &str) -> String {
    let decisions = told.history.iter();
    let decisions =
        decisions.map(|(at, sentence)| format!("{}  {sentence}", format::clock(at, today)));
    let mut lines = vec![format!("{}: {}", told.pool, told.now)];
    lines.extend(told.numbers.as_ref().map(numbers));
    lines.extend(decisions);
    for exit in &told.exits {
        lines.push(format!("{}: {}", exit.worker, exit.exit));
        lines.extend(exit.lines.iter().map(|line| format!("  | {line}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// `wants 14, is to have 9, has 8 · …`
fn numbers(told: &ScalingNumbers) -> String {
    let ScalingNumbers { wanted, target, have, arrivals, running, busy, .. } = told;
    let limit = told.limit.iter().map(|limit| format!(", limited by {limit}"));
    let (service, startup) = (format::duration(told.service), format::duration(told.startup));
    let window = format::duration(told.window);
    format!(
        "  wants {wanted}, is to have {target}, has {have}{} · {arrivals:.1} jobs a second of \
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
        let told = Explanation {
            pool: "slow".to_owned(),
            now: "3 jobs wait".to_owned(),
            numbers: None,
            history: vec![("2026-11-24T14:02:11.250+01:00".to_owned(), "1→2".to_owned())],
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
        let told = Explanation { numbers: Some(numbers), ..told };
        let text = history(&told, "2026-11-24");
        let line = "  wants 14, is to have 9, has 8, limited by memory · 12.3 jobs a second of ";
        assert!(text.contains(line) && text.contains("7 busy, 6.5 on average"), "{text}");
    }
}
