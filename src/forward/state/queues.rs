//! How much waits at the servers, from the listings that they give when asked.
//!
//! A listing tells how many jobs wait and not since when. But jobs are taken in the order of their
//! coming, more or less, so the oldest that waits came when as many had come as have been taken
//! since: the age is read from the history of that sum, exact to the pause between two listings.
//!
//! What our own workers have taken since a listing is known, and taken off it. What they held when it
//! was made is too, so that the rest of what it says to run is in other hosts' hands.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::FunctionName;

/// Listings of one function that are remembered; a queue of longer standing has its first kept.
const HISTORY_MAX: usize = 600;

/// A function's line of one server's listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Jobs that wait.
    pub queued: usize,
    /// Jobs in workers' hands.
    pub running: usize,
    /// Connections that perform it.
    pub performers: usize,
}

/// One function in the hands of our workers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ours {
    /// Jobs of the listing server that they hold.
    pub(super) running: usize,
    /// Jobs that they have been given since the start, by any server.
    pub(super) taken: u64,
}

/// All functions.
#[derive(Debug, Default)]
pub(super) struct Queues {
    functions: BTreeMap<FunctionName, Depth>,
}

/// One function at all servers.
#[derive(Debug, Default)]
pub(super) struct Depth {
    by_server: BTreeMap<usize, (Listed, Ours)>,
    /// How many jobs had come at the time of a listing, while some wait.
    came: VecDeque<(Instant, u64)>,
}

impl Queues {
    /// Takes in what a server listed; an empty listing is that of a lost server. `ours` tells what
    /// our workers have of a function.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        server: usize,
        listing: &BTreeMap<FunctionName, Listed>,
        ours: impl Fn(&FunctionName) -> Ours,
    ) {
        for (name, listed) in listing {
            let depth = self.functions.entry(name.clone()).or_default();
            depth.by_server.insert(server, (*listed, ours(name)));
        }
        for (name, depth) in &mut self.functions {
            if !listing.contains_key(name) {
                depth.by_server.remove(&server);
            }
            depth.note(now, ours(name).taken);
        }
        self.functions.retain(|_, depth| !depth.by_server.is_empty());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&FunctionName, &Depth)> {
        self.functions.iter()
    }

    /// Whether anything waits.
    pub(super) fn any(&self) -> bool {
        self.functions.values().any(|depth| depth.all().queued > 0)
    }
}

impl Depth {
    /// The sum over all servers.
    pub(super) fn all(&self) -> Listed {
        self.by_server.values().fold(Listed::default(), |sum, (one, _)| Listed {
            queued: sum.queued + one.queued,
            running: sum.running + one.running,
            performers: sum.performers + one.performers,
        })
    }

    /// Jobs that wait, when our workers have been given so many.
    pub(super) fn queued(&self, taken: u64) -> usize {
        let last = self.by_server.values().map(|(_, ours)| ours.taken).max().unwrap_or(taken);
        let since = usize::try_from(taken.saturating_sub(last)).unwrap_or(usize::MAX);
        self.all().queued.saturating_sub(since)
    }

    /// Jobs in other hosts' hands, when they were listed.
    pub(super) fn elsewhere(&self) -> usize {
        let others = |(listed, ours): &(Listed, Ours)| listed.running.saturating_sub(ours.running);
        self.by_server.values().map(others).sum()
    }

    /// How long the oldest job has waited, when so many have been taken.
    pub(super) fn oldest(&self, now: Instant, taken: u64) -> Duration {
        let waits = self.came.iter().find(|(_, came)| *came > taken);
        waits.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at))
    }

    fn note(&mut self, now: Instant, taken: u64) {
        let queued = self.all().queued;
        if queued == 0 {
            return self.came.clear();
        }
        self.came.push_back((now, taken + u64::try_from(queued).unwrap_or(u64::MAX)));
        while self.came.front().is_some_and(|(_, came)| *came <= taken) {
            self.came.pop_front();
        }
        if self.came.len() > HISTORY_MAX {
            self.came.remove(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_as_old_as_the_listing_it_first_stood_in() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut queues = Queues::default();
        let name = FunctionName::from("f");
        // Second, waiting, taken so far, and the age that follows.
        for (at, queued, taken, oldest) in [
            (0, 0, 0, 0),
            (1, 3, 0, 0),
            (2, 3, 0, 1),
            (3, 4, 1, 2),
            // The first three are gone: the two that came at 3 wait.
            (4, 2, 3, 1),
            (5, 0, 5, 0),
            (6, 1, 5, 0),
        ] {
            let listed = Listed { queued, ..Listed::default() };
            let listing = BTreeMap::from([(name.clone(), listed)]);
            queues.observe(second(at), 0, &listing, |_| Ours { taken, running: 0 });
            let (_, depth) = queues.iter().next().unwrap();
            assert_eq!(depth.oldest(second(at), taken).as_secs(), oldest, "at {at}");
        }
    }

    #[test]
    fn servers_are_added_up_and_a_lost_one_leaves() {
        let now = Instant::now();
        let mut queues = Queues::default();
        let listing = |queued| {
            let listed = Listed { queued, running: 1, performers: 2 };
            BTreeMap::from([(FunctionName::from("f"), listed)])
        };
        queues.observe(now, 0, &listing(1), |_| Ours::default());
        queues.observe(now, 1, &listing(2), |_| Ours::default());
        let all = |queues: &Queues| queues.iter().next().map(|(_, depth)| depth.all());
        assert_eq!(all(&queues), Some(Listed { queued: 3, running: 2, performers: 4 }));
        assert!(queues.any());
        queues.observe(now, 1, &BTreeMap::new(), |_| Ours::default());
        assert_eq!(all(&queues), Some(Listed { queued: 1, running: 1, performers: 2 }));
        queues.observe(now, 0, &BTreeMap::new(), |_| Ours::default());
        assert_eq!(all(&queues), None);
    }

    #[test]
    fn what_our_workers_took_or_ended_since_a_listing_is_not_taken_for_others() {
        let mut queues = Queues::default();
        let listed = Listed { queued: 3, running: 7, performers: 9 };
        let listing = BTreeMap::from([(FunctionName::from("f"), listed)]);
        queues.observe(Instant::now(), 0, &listing, |_| Ours { running: 3, taken: 100 });
        let (_, depth) = queues.iter().next().unwrap();
        for (taken, queued) in [(100, 3), (102, 1), (110, 0)] {
            assert_eq!((depth.queued(taken), depth.elsewhere()), (queued, 4), "{taken}");
        }
    }
}
