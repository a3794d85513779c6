//! What happens to a simulated daemon besides jobs: edits, pauses, lost servers, restarts.

use super::crew::WorkerState;
use super::world::{What, World};
use crate::config::Count;

/// Something that is done to the daemon, or befalls it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Happening {
    /// A pool's bounds are edited.
    Bounds(usize, Count),
    /// A function is paused: nobody is given its jobs, and they are no demand.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// The servers are lost: nobody is given jobs, and nobody sees the queues.
    Lost,
    /// They are back.
    Found,
    /// The daemon is started anew and takes its workers over.
    Restart,
    /// The clock moves by so many seconds at once: the machine was asleep.
    Jump(f64),
    /// A pool's program is deployed: each worker gets a successor, one after the other.
    Deploy(usize),
}

/// What is out of order.
#[derive(Debug, Default)]
pub(super) struct Condition {
    paused: Vec<usize>,
    is_lost: bool,
    restarts: bool,
    /// By how much the clock has jumped.
    pub(super) jumped: f64,
}

impl Condition {
    /// True while jobs of the function are handed out and its queue is seen.
    pub(super) fn is_open(&self, function: usize) -> bool {
        !self.is_lost && !self.paused.contains(&function)
    }
}

impl World {
    /// True once after the daemon was started anew: what a policy remembers is lost.
    pub fn take_restart(&mut self) -> bool {
        std::mem::take(&mut self.condition.restarts)
    }

    /// Seconds that the clock shows since the start; it may have jumped.
    #[must_use]
    pub fn clock(&self) -> f64 {
        self.now + self.condition.jumped
    }

    pub(super) fn happen(&mut self, what: Happening) {
        self.stirred = true;
        match what {
            Happening::Bounds(pool, count) => {
                if let Some(stage) = self.stage.pools.get_mut(pool) {
                    stage.count = count;
                }
                let Some(target) = self.crews.get(pool).map(|crew| crew.target) else { return };
                // An order: busy ones go too, after their job.
                self.set_target(pool, target.clamp(count.min, count.max), super::Shrink::AfterJob);
            }
            Happening::Pause(function) => self.condition.paused.push(function),
            Happening::Resume(function) => {
                self.condition.paused.retain(|paused| *paused != function);
                self.call();
            }
            Happening::Lost => self.condition.is_lost = true,
            Happening::Found => {
                self.condition.is_lost = false;
                self.call();
            }
            Happening::Restart => self.condition.restarts = true,
            Happening::Jump(seconds) => {
                self.condition.jumped += seconds;
                let crews = self.crews.iter_mut().map(|crew| &mut crew.clock);
                let queues = self.queues.iter_mut().map(|queue| &mut queue.clock);
                crews.chain(queues).for_each(|clock| clock.sleep(seconds));
            }
            Happening::Deploy(pool) => {
                let all = self.crews.get(pool).map(|crew| crew.alive().collect());
                self.succeed(pool, all.unwrap_or_default());
            }
        }
    }

    /// Idle workers look for jobs.
    fn call(&mut self) {
        let idle: Vec<usize> = self.crews.iter().flat_map(|crew| crew.idle.clone()).collect();
        for worker in idle {
            self.grab(worker);
        }
    }

    /// The next successor is started, if one of the old workers is still there.
    fn succeed(&mut self, pool: usize, mut old: Vec<usize>) {
        let stays = |id: &usize| {
            let worker = self.workers.get(*id);
            worker.is_some_and(|worker| !worker.draining && worker.state != WorkerState::Gone)
        };
        old.retain(stays);
        let Some(first) = old.first().copied() else { return };
        let successor = self.start(pool);
        if let Some(worker) = self.workers.get_mut(successor) {
            worker.predecessor = Some(first);
        }
        if let Some(crew) = self.crews.get_mut(pool) {
            crew.old = old;
        }
    }

    /// A successor is ready: its predecessor goes after its job, and the next one is started.
    pub(super) fn replace(&mut self, successor: usize) {
        let Some(worker) = self.workers.get_mut(successor) else { return };
        let Some((predecessor, pool)) = worker.predecessor.take().map(|old| (old, worker.pool))
        else {
            return;
        };
        self.stop(predecessor, super::Shrink::AfterJob);
        let old = self.crews.get_mut(pool).map(|crew| std::mem::take(&mut crew.old));
        self.succeed(pool, old.unwrap_or_default());
    }

    /// A job that fails comes back at once; true when it does.
    pub(super) fn fails(&mut self, worker: usize, job: usize) -> bool {
        let fails = self.stage.failing.contains(&self.now);
        if fails {
            self.let_go(job, true);
            self.outcome.failures += 1;
            self.come_back(job);
            self.grab(worker);
        }
        fails
    }

    pub(super) fn plan_happenings(&mut self) {
        for (at, what) in self.stage.happenings.clone() {
            self.later(at, What::Happening(what));
        }
    }
}
