//! Several hosts on the same servers, each with a scaler of its own that knows of the others only
//! what they publish, or nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crew::CrewView;
use super::policy::{Policy, Shrink, pool_sample};
use super::world::World;
use crate::model::{FunctionName, PoolName};
use crate::scaler::{Fleet, FunctionSample, Look, Peer, PeerPool, ScalerState, Strangers, decide};

/// Seconds between two looks of a host.
const LOOK_EVERY: f64 = 1.0;
/// How old what a host knows of another is at least, in seconds.
const STALE: f64 = 1.0;

/// What hosts know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// What each publishes.
    Published,
    /// That there are connections of others.
    Connections,
    /// Nothing: each does as if it were alone.
    Nothing,
}

/// One scaler for each pool of the stage; all of them serve the first function.
#[derive(Debug)]
pub struct Hosts {
    start: Instant,
    name: PoolName,
    function: FunctionName,
    knows: Knows,
    each: Vec<Host>,
    turn: usize,
}

#[derive(Debug, Default)]
struct Host {
    state: ScalerState,
    capacity: u32,
    /// What it published when, the oldest first.
    published: VecDeque<(f64, PeerPool)>,
}

impl Hosts {
    /// A host for each pool, with these processors.
    #[must_use]
    pub fn new(start: Instant, name: PoolName, knows: Knows, capacities: &[u32]) -> Self {
        let host = |capacity: &u32| Host { capacity: *capacity, ..Host::default() };
        let each = capacities.iter().map(host).collect();
        let function = FunctionName::from("work");
        Self { start, name, function, knows, each, turn: 0 }
    }

    fn fleet(&self, own: usize, now: f64) -> Option<Fleet> {
        let mut fleet = Fleet { host: host_name(own), ..Fleet::default() };
        let mut strangers = Strangers::default();
        for (place, host) in self.each.iter().enumerate() {
            if place == own {
                fleet.capacity = host.capacity;
                continue;
            }
            let seen = host.published.iter().rev().find(|(at, _)| *at <= now - STALE);
            let pool = seen.map(|(_, pool)| *pool).unwrap_or_default();
            let pools = BTreeMap::from([(self.name.clone(), pool)]);
            fleet.peers.insert(host_name(place), Peer { capacity: host.capacity, beat: 0, pools });
            strangers.hosts += 1;
            strangers.performers += pool.idle + pool.running;
        }
        match self.knows {
            Knows::Published => Some(fleet),
            Knows::Connections => Some(Fleet {
                peers: BTreeMap::new(),
                strangers: BTreeMap::from([(self.function.clone(), strangers)]),
                ..fleet
            }),
            Knows::Nothing => None,
        }
    }

    fn see(&self, world: &mut World, own: usize, crew: CrewView) -> Option<Look> {
        let queue = world.queue(0);
        let pool = world.stage().pools.get(own)?.clone();
        let everywhere = Duration::from_secs_f64(queue.busy_seconds);
        let ratio = crew.busy_seconds / queue.busy_seconds.max(1e-9);
        let function = FunctionSample {
            queued: queue.queued,
            oldest: Duration::from_secs_f64(queue.oldest),
            running: crew.running,
            elsewhere: match self.knows {
                Knows::Published | Knows::Connections => queue.running - crew.running,
                Knows::Nothing => 0,
            },
            // As many as its part of the work; a host counts the ends that it sees.
            ended: part(queue.ended, ratio),
            busy: everywhere.mul_f64(ratio),
        };
        let served: Arc<[FunctionName]> = Arc::new([self.function.clone()]);
        let sample = pool_sample(crew, (pool.count, pool.scaling, served));
        Some(Look {
            functions: BTreeMap::from([(self.function.clone(), function)]),
            pools: BTreeMap::from([(self.name.clone(), sample)]),
            host: world.host_sample(),
            fleet: self.fleet(own, world.now()),
        })
    }
}

impl Policy for Hosts {
    fn name(&self) -> String {
        format!("{} hosts", self.each.len())
    }

    /// They look one after the other.
    fn period(&self) -> f64 {
        f64::from(u32::try_from(self.each.len()).unwrap_or(u32::MAX)).recip() * LOOK_EVERY
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        let own = self.turn % self.each.len().max(1);
        self.turn += 1;
        let scaling = world.stage().pools.get(own)?.scaling;
        let crew = world.crew(own, scaling.idle_ttl.as_secs_f64(), LOOK_EVERY);
        let look = self.see(world, own, crew.clone())?;
        let now = self.start + Duration::from_secs_f64(world.now());
        let settings = world.stage().host;
        let name = self.name.clone();
        let host = self.each.get_mut(own)?;
        let plan = decide(&mut host.state, now, &look, &settings);
        let decision = plan.decisions.get(&name)?;
        let busy = decision.take.takes_busy();
        let shrink = if busy { Shrink::AfterJob } else { Shrink::Idle };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (idle, running) = (count(crew.idle), count(crew.running));
        host.published.push_back((
            world.now(),
            PeerPool {
                starting: decision.target.saturating_sub(idle + running),
                idle,
                running,
                leaving: count(crew.leaving),
                limited: decision.target < decision.wanted,
            },
        ));
        if host.published.len() > 8 {
            host.published.pop_front();
        }
        world.set_target(own, decision.target, shrink);
        None
    }
}

fn host_name(place: usize) -> String {
    format!("host{place}")
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "simulations are far shorter than what a number holds"
)]
fn part(whole: u64, ratio: f64) -> u64 {
    (whole as f64 * ratio).round().max(0.0) as u64
}
