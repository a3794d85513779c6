//! What a worker and all below it hold in memory.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use super::strays::children;

/// Generations that are looked at.
const DEPTH_MAX: usize = 8;

/// Resident bytes of a process and its descendants; pages that they share count for each.
#[must_use]
pub fn resident(pid: i32) -> u64 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|page| u64::try_from(page).ok()).unwrap_or(4096);
    let mut layer = vec![pid];
    let mut pages = 0;
    for _ in 0..DEPTH_MAX {
        pages += layer.iter().filter_map(|pid| resident_pages(*pid)).sum::<u64>();
        layer = layer.into_iter().flat_map(children).collect();
    }
    pages * page
}

/// Field 2 of proc_pid_statm(5).
fn resident_pages(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}
