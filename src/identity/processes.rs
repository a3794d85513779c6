//! Which worker a process belongs to: by itself, its group, its session, or its parents'.

use std::collections::HashMap;
use std::fs;

/// Parents that are followed at most.
const PARENTS_MAX: usize = 64;

/// What /proc/PID/stat says of a process's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its parent.
    parent: i32,
    /// Its process group.
    group: i32,
    /// Its session.
    session: i32,
}

/// Reads a process's place; `None` when it is gone.
pub(super) fn place(pid: i32) -> Option<Place> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The places of all processes.
pub(super) fn places() -> HashMap<i32, Place> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, place(pid)?))).collect()
}

/// The children that a process's first thread has started; empty when the kernel does not tell.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.as_deref().unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The leader that the process belongs to, itself perhaps.
pub(super) fn leader_of(
    pid: i32,
    is_leader: impl Fn(i32) -> bool,
    place_of: impl Fn(i32) -> Option<Place>,
) -> Option<i32> {
    let mut pid = pid;
    for _ in 0..PARENTS_MAX {
        if is_leader(pid) {
            return Some(pid);
        }
        let place = place_of(pid)?;
        if let Some(leader) = [place.group, place.session].into_iter().find(|id| is_leader(*id)) {
            return Some(leader);
        }
        pid = place.parent;
    }
    None
}

/// `PID (NAME) STATE PARENT GROUP SESSION …`; a name may hold spaces and parentheses.
fn parse_stat(stat: &[u8]) -> Option<Place> {
    let after_name = stat.get(memchr::memrchr(b')', stat)? + 1..)?;
    let mut fields = std::str::from_utf8(after_name).ok()?.split_ascii_whitespace().skip(1);
    let mut next = || fields.next()?.parse().ok();
    Some(Place { parent: next()?, group: next()?, session: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_mislead() {
        let expected = Place { parent: 1, group: 42, session: 7 };
        for stat in ["42 (php) S 1 42 7 0 -1", "42 (a) R 9 9) S 1 42 7 34816 -1"] {
            assert_eq!(parse_stat(stat.as_bytes()), Some(expected), "{stat}");
        }
        assert_eq!(parse_stat(b"42 (php"), None);
        assert_eq!(parse_stat(b"42 (php) S 1"), None);
    }

    #[test]
    fn a_process_belongs_to_its_leader_by_group_session_or_parents() {
        let places = HashMap::from([
            (10, Place { parent: 1, group: 10, session: 2 }),
            (11, Place { parent: 1, group: 10, session: 2 }),
            (12, Place { parent: 1, group: 12, session: 10 }),
            (13, Place { parent: 11, group: 13, session: 13 }),
            (14, Place { parent: 13, group: 14, session: 14 }),
            (20, Place { parent: 2, group: 20, session: 2 }),
            (30, Place { parent: 31, group: 30, session: 30 }),
            (31, Place { parent: 30, group: 30, session: 30 }),
        ]);
        let leader = |pid| leader_of(pid, |id| id == 10, |id| places.get(&id).copied());
        for inside in 10..=14 {
            assert_eq!(leader(inside), Some(10), "{inside}");
        }
        for outside in [20, 30, 99] {
            assert_eq!(leader(outside), None, "{outside}");
        }
    }
}
