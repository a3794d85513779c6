//! `[function."PATTERN"]`: rules for functions by pattern.

use std::collections::BTreeMap;
use std::time::Duration;

use wildmatch::WildMatch;

use super::settings::StoreKind;
use super::table::Table;
use super::value::Value;
use super::values;
use super::wrong::{Parsed, Wrong};
use crate::model::FunctionName;

/// What holds for one function; `None` where no pattern says anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionRule {
    /// Where its background jobs are kept; `None`: where all are.
    pub store: Option<StoreKind>,
    /// How long a job may wait before it is dropped.
    pub expire_after: Option<Duration>,
    /// Most jobs of it that wait or run.
    pub queued_max: Option<u64>,
    /// Largest payload of a job, in bytes.
    pub payload_len_max: Option<u64>,
    /// Deaths of workers with one job in hand at which the job is given up.
    pub attempts_max: Option<u32>,
}

/// Every `[function."PATTERN"]`, the most exact pattern first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionRules {
    rules: Vec<(WildMatch, FunctionRule)>,
}

impl FunctionRules {
    /// What holds for this function: of each key what the most exact pattern with it says.
    #[must_use]
    pub fn of(&self, function: &FunctionName) -> FunctionRule {
        let name = function.to_string();
        let mut found = FunctionRule::default();
        for (_, rule) in self.rules.iter().filter(|(pattern, _)| pattern.matches(&name)) {
            found.store = found.store.or(rule.store);
            found.expire_after = found.expire_after.or(rule.expire_after);
            found.queued_max = found.queued_max.or(rule.queued_max);
            found.payload_len_max = found.payload_len_max.or(rule.payload_len_max);
            found.attempts_max = found.attempts_max.or(rule.attempts_max);
        }
        found
    }

    /// Rules by pattern, in any order.
    #[must_use]
    pub fn new(mut rules: Vec<(String, FunctionRule)>) -> Self {
        rules.sort_by_key(|(pattern, _)| std::cmp::Reverse(exactness(pattern)));
        let compiled = |(pattern, rule): (String, _)| (WildMatch::new(&pattern), rule);
        Self { rules: rules.into_iter().map(compiled).collect() }
    }
}

/// A plain name is more exact than any pattern, and of two patterns the one that says more.
fn exactness(pattern: &str) -> (bool, usize) {
    let said = pattern.chars().filter(|c| !matches!(c, '*' | '?')).count();
    (said == pattern.chars().count(), said)
}

/// Reads each `[function]` of all files; `store` is where background jobs are kept otherwise.
pub(super) fn functions<'a>(
    tables: impl Iterator<Item = Table<'a>>,
    store: StoreKind,
) -> FunctionRules {
    let (mut rules, mut places) = (Vec::new(), BTreeMap::new());
    for table in tables {
        let source = table.scope().source;
        for (pattern, span, value) in table.entries() {
            if let Some(wrong) = wrong_pattern(places.get(pattern), pattern) {
                table.wrong_entry(pattern, span, wrong);
                continue;
            }
            let line = source.place(span.start).line;
            places.insert(pattern, format!("{}:{line}", source.name.display()));
            if let Some(table) = value.read(Value::table) {
                rules.push((pattern.to_owned(), rule(&table, store)));
                table.finish();
            }
        }
    }
    FunctionRules::new(rules)
}

fn wrong_pattern(first: Option<&String>, pattern: &str) -> Option<Wrong> {
    if pattern.is_empty() {
        let wrong = Wrong::new("no function has an empty name");
        return Some(wrong.hint("write a name or a pattern, as in \"*\""));
    }
    let wrong = Wrong::new(format!("this pattern stands in {} too", first?));
    Some(wrong.hint("write all its rules in one of the two"))
}

fn rule(table: &Table<'_>, global: StoreKind) -> FunctionRule {
    let store = table.read("store", store);
    if store == Some(StoreKind::Disk) && global == StoreKind::Memory {
        let wrong = Wrong::new("[broker] store = \"memory\" has no disk to keep it on");
        table.wrong_at("store", wrong.hint("set [broker] store = \"disk\", or remove the key"));
    }
    FunctionRule {
        store,
        expire_after: table.read("expire", duration),
        queued_max: table.read("max_queued", at_least_one).map(u64::from),
        payload_len_max: table.read("max_payload", Value::size),
        attempts_max: table.read("max_attempts", at_least_one),
    }
}

/// Where background jobs are kept.
pub(super) fn store(value: &Value<'_>) -> Parsed<StoreKind> {
    let choices = [("disk", StoreKind::Disk), ("memory", StoreKind::Memory)];
    value.parse(|text| values::one_of(text, &choices))
}

/// A number that is not zero.
pub(super) fn at_least_one(value: &Value<'_>) -> Parsed<u32> {
    match value.number()? {
        0 => Err(Wrong::new("no job could ever run").hint("write 1 or more, or remove the key")),
        number => Ok(number),
    }
}

fn duration(value: &Value<'_>) -> Parsed<Duration> {
    let duration = value.duration()?;
    if duration.is_zero() {
        return Err(Wrong::new("every job would be dropped at once").hint("write more than 0s"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_pattern_decides_key_by_key() {
        let rule = |attempts_max, queued_max| FunctionRule {
            queued_max,
            attempts_max,
            ..FunctionRule::default()
        };
        let rules = FunctionRules::new(vec![
            ("*".to_owned(), rule(Some(1), Some(100))),
            ("check_*".to_owned(), rule(Some(2), None)),
            ("check_host".to_owned(), rule(None, Some(7))),
            ("*_host_and_more".to_owned(), rule(Some(9), None)),
        ]);
        for (name, attempts_max, queued_max) in [
            ("mail", 1, 100),
            ("check_disk", 2, 100),
            ("check_host", 2, 7),
            ("check_host_and_more", 9, 100),
        ] {
            let found = rules.of(&name.into());
            assert_eq!(found, rule(Some(attempts_max), Some(queued_max)), "{name}");
        }
        assert_eq!(FunctionRules::default().of(&"f".into()), FunctionRule::default());
    }
}
