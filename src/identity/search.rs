//! From connections to workers: the sockets' inodes first, then who holds them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::handle::{Candidate, Connection, Question};
use super::links::{Depth, socket_inodes};
use super::processes::{children, leader_of, place, places};
use super::sockets::Sockets;
use crate::model::WorkerId;

/// Processes of one worker that are looked at before all others.
const FAMILY_MAX: usize = 256;

/// Looks connections up. Nothing is remembered between look-ups: process ids and inodes are used
/// again, and a stale tie would give a worker's job to another.
#[derive(Debug)]
pub(super) struct Search {
    sockets: Sockets,
}

/// The sockets that are looked for, and who was found to hold them.
#[derive(Debug, Default)]
struct Hunt {
    wanted: HashSet<u64>,
    found: HashMap<u64, i32>,
}

impl Search {
    pub(super) fn new() -> Self {
        Self { sockets: Sockets::open() }
    }

    /// The answers to questions that were asked at the same time, by one look at the processes.
    pub(super) fn answer(&self, questions: &[Question]) -> Vec<Option<WorkerId>> {
        let inodes: Vec<_> = questions.iter().map(|question| self.inode(question)).collect();
        let wanted = inodes.iter().copied().flatten().collect();
        let mut hunt = Hunt { wanted, found: HashMap::new() };
        hunt.run(questions);
        let answer = |(question, inode): (&Question, &Option<u64>)| match question.connection {
            Connection::Tcp { .. } => worker(question, *hunt.found.get(inode.as_ref()?)?),
            Connection::Unix { pid } => {
                let is_leader = |pid| worker(question, pid).is_some();
                worker(question, leader_of(pid, is_leader, place)?)
            }
        };
        questions.iter().zip(&inodes).map(answer).collect()
    }

    fn inode(&self, question: &Question) -> Option<u64> {
        match question.connection {
            Connection::Tcp { peer, local } => self.sockets.inode(peer, local),
            Connection::Unix { .. } => None,
        }
    }
}

impl Hunt {
    fn run(&mut self, questions: &[Question]) {
        if self.wanted.is_empty() {
            return;
        }
        let mut candidates: Vec<&Candidate> =
            questions.iter().flat_map(|question| &question.candidates).collect();
        // The youngest first: who has just connected has most often just started.
        candidates.sort_unstable_by_key(|candidate| Reverse(candidate.worker));
        candidates.dedup_by_key(|candidate| candidate.worker);
        for candidate in &candidates {
            if self.look_at_family(candidate.pid) {
                return;
            }
        }
        self.look_everywhere(&candidates);
    }

    /// Looks at a leader and its descendants; true when nothing is left to be found.
    fn look_at_family(&mut self, leader: i32) -> bool {
        let mut family = vec![(leader, Depth::Opened)];
        for _ in 0..FAMILY_MAX {
            let Some((pid, depth)) = family.pop() else { break };
            if self.look(pid, leader, depth) {
                return true;
            }
            family.extend(children(pid).into_iter().map(|child| (child, Depth::All)));
        }
        false
    }

    /// Looks at every process of the host that belongs to a candidate: some have lost their
    /// parent, and some kernels do not tell a process's children.
    fn look_everywhere(&mut self, candidates: &[&Candidate]) {
        let leaders: HashSet<_> = candidates.iter().map(|candidate| candidate.pid).collect();
        let places = places();
        let leader =
            |pid| leader_of(pid, |id| leaders.contains(&id), |id| places.get(&id).copied());
        // The youngest first again, and the leaders' standard streams last of all.
        let mut pids: Vec<_> = places.keys().copied().collect();
        pids.sort_unstable_by_key(|pid| (leaders.contains(pid), Reverse(*pid)));
        for pid in pids {
            if leader(pid).is_some_and(|leader| self.look(pid, leader, Depth::All)) {
                return;
            }
        }
    }

    /// Looks at one process; true when nothing is left to be found.
    fn look(&mut self, pid: i32, leader: i32, depth: Depth) -> bool {
        for inode in socket_inodes(pid, depth) {
            if self.wanted.remove(&inode) {
                self.found.insert(inode, leader);
            }
        }
        self.wanted.is_empty()
    }
}

fn worker(question: &Question, pid: i32) -> Option<WorkerId> {
    let mut candidates = question.candidates.iter();
    candidates.find(|candidate| candidate.pid == pid).map(|candidate| candidate.worker)
}
