//! The keys that relate a pool to others: `after` and `labels`.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Table, meant};
use super::value::Value;
use super::wrong::{Parsed, Wrong};
use crate::model::PoolName;

/// Longest label; it is typed.
const LABEL_LEN_MAX: usize = 64;

/// How a pool relates to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Pools that have to be ready before it starts, and that stop after it.
    pub after: Vec<PoolName>,
    /// Names that it shares with others: `@LABEL` on the command line.
    pub labels: Vec<String>,
}

impl Order {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>) -> Self {
        Self {
            after: table.read("after", after).unwrap_or_default(),
            labels: table.read("labels", labels).unwrap_or_default(),
        }
    }

    /// The keys that differ.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let keys = [("after", self.after != other.after), ("labels", self.labels != other.labels)];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

/// What is wrong with pools' `after` taken together: the pool, and why. `known` are the names of all
/// pools, also of those that have other mistakes.
pub(super) fn wrongs(
    pools: &BTreeMap<&PoolName, &[PoolName]>,
    known: &BTreeSet<PoolName>,
    is_on_call: impl Fn(&PoolName) -> bool,
) -> Vec<(PoolName, Wrong)> {
    let mut wrongs = Vec::new();
    for (pool, after) in pools {
        for name in after.iter().filter(|name| !known.contains(name)) {
            let wrong = Wrong::new(format!("no pool is called '{name}'"));
            let hint = meant(name.as_str(), known.iter().map(PoolName::as_str));
            wrongs.push(((*pool).clone(), wrong.hint(hint)));
        }
        for name in after.iter().filter(|name| is_on_call(name)) {
            let wrong = Wrong::new(format!("{name} has cron and so is never ready"));
            wrongs.push(((*pool).clone(), wrong.hint("name another pool")));
        }
    }
    let mut seen = BTreeSet::new();
    for pool in pools.keys() {
        let Some(circle) = circle(pool, pools).filter(|_| !seen.contains(*pool)) else { continue };
        let told: Vec<_> = circle.iter().map(PoolName::as_str).collect();
        let wrong = Wrong::new(format!("waits for itself: {} → {pool}", told.join(" → ")));
        wrongs.push(((*pool).clone(), wrong.hint("remove one of these from its after")));
        seen.extend(circle);
    }
    wrongs
}

/// The shortest way from a pool back to itself.
fn circle(pool: &PoolName, pools: &BTreeMap<&PoolName, &[PoolName]>) -> Option<Vec<PoolName>> {
    let mut ways = vec![vec![pool.clone()]];
    let mut reached = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let after = way.last().and_then(|last| pools.get(last));
            for next in after.into_iter().flat_map(|after| after.iter()) {
                if next == pool {
                    return Some(way);
                }
                if reached.insert(next) {
                    longer.push(way.iter().chain([next]).cloned().collect());
                }
            }
        }
        ways = longer;
    }
    None
}

fn after(value: &Value<'_>) -> Parsed<Vec<PoolName>> {
    let mut seen: Vec<PoolName> = Vec::new();
    value.each(|name| {
        let name: PoolName = name.parse().map_err(|error| Wrong::new(format!("{error}")))?;
        if seen.contains(&name) {
            return Err(Wrong::new(format!("{name} is listed twice")).hint("remove one"));
        }
        seen.push(name.clone());
        Ok(name)
    })
}

fn labels(value: &Value<'_>) -> Parsed<Vec<String>> {
    let mut seen: Vec<String> = Vec::new();
    value.each(|label| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if label.is_empty() || label.len() > LABEL_LEN_MAX || !label.chars().all(plain) {
            let wrong = Wrong::new(format!("'{label}' cannot be a label"));
            return Err(wrong.hint("use letters, digits, '_', '-' and '.', at most 64"));
        }
        if seen.iter().any(|other| other == label) {
            return Err(Wrong::new(format!("{label} is listed twice")).hint("remove one"));
        }
        seen.push(label.to_owned());
        Ok(label.to_owned())
    })
}
