//! Who decides the counts of a simulated world.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crew::CrewView;
use super::world::World;
use crate::config::{Count, HostSettings, ScalingSettings};
use crate::model::{FunctionName, PoolName};
use crate::scaler::{Decision, FRESH, FunctionSample, Look, PoolSample, ScalerState, decide};

/// Sets the counts of a world's pools.
pub trait Policy {
    /// Its name in a table.
    fn name(&self) -> String;

    /// Seconds between two looks.
    fn period(&self) -> f64;

    /// Whether it looks too when a job finds nobody idle and when workers come and go.
    fn follows_events(&self) -> bool {
        false
    }

    /// Looks at the world and sets counts with [`World::set_target`]; may name the seconds after
    /// which it wants to look again although nothing happens.
    fn look(&mut self, world: &mut World) -> Option<f64>;
}

/// Which workers a lowered count takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shrink {
    /// Idle ones, the longest idle first.
    Idle,
    /// Idle ones, then busy ones after their job.
    AfterJob,
    /// The oldest, busy or not; a job in hand is killed after so many seconds.
    Oldest(f64),
}

/// Told when what was decided for which pool.
type OnChange = Box<dyn FnMut(f64, &PoolName, &Decision)>;

/// The scaler of this program.
pub struct Autoscaler {
    state: ScalerState,
    start: Instant,
    names: Vec<(PoolName, Arc<[FunctionName]>)>,
    functions: Vec<FunctionName>,
    host: HostSettings,
    /// Told every decision that changes a count.
    on_change: Option<OnChange>,
}

impl std::fmt::Debug for Autoscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Autoscaler").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Autoscaler {
    /// The scaler for a world; pools whose names are none are called by their places.
    #[must_use]
    pub fn new(world: &World, start: Instant) -> Self {
        let functions: Vec<FunctionName> =
            (world.functions().iter()).map(|name| FunctionName::from(name.as_str())).collect();
        let names = world.stage().pools.iter().filter_map(|pool| {
            let served = pool.functions.iter().filter_map(|at| functions.get(*at).cloned());
            Some((pool.name.parse().ok()?, served.collect()))
        });
        Self {
            state: ScalerState::default(),
            start,
            names: names.collect(),
            functions: functions.clone(),
            host: world.stage().host,
            on_change: None,
        }
    }

    /// The same, telling every decision that changes a count.
    #[must_use]
    pub fn on_change(mut self, tell: impl FnMut(f64, &PoolName, &Decision) + 'static) -> Self {
        self.on_change = Some(Box::new(tell));
        self
    }

    fn see(&self, world: &mut World) -> Look {
        let functions = self.functions.iter().enumerate().map(|(index, name)| {
            let queue = world.queue(index);
            let sample = FunctionSample {
                queued: queue.queued,
                oldest: Duration::from_secs_f64(queue.oldest),
                running: queue.running,
                elsewhere: 0,
                ended: queue.ended,
                busy: Duration::from_secs_f64(queue.busy_seconds),
            };
            (name.clone(), sample)
        });
        let functions: BTreeMap<_, _> = functions.collect();
        let mut pools = BTreeMap::new();
        for (index, (name, served)) in self.names.iter().enumerate() {
            let Some(pool) = world.stage().pools.get(index) else { continue };
            let (count, scaling) = (pool.count, pool.scaling);
            let crew = world.crew(index, scaling.idle_ttl.as_secs_f64(), FRESH.as_secs_f64());
            let bounds = (count, scaling, Arc::clone(served));
            pools.insert(name.clone(), pool_sample(crew, bounds));
        }
        Look { functions, pools, host: world.host_sample(), fleet: None }
    }
}

impl Policy for Autoscaler {
    fn name(&self) -> String {
        "gear-supervisor".to_owned()
    }

    fn period(&self) -> f64 {
        1.0
    }

    fn follows_events(&self) -> bool {
        true
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        if world.take_restart() {
            self.state = ScalerState::default();
        }
        let look = self.see(world);
        let now = self.start + Duration::from_secs_f64(world.clock());
        let plan = decide(&mut self.state, now, &look, &self.host);
        let places: HashMap<&PoolName, usize> =
            self.names.iter().enumerate().map(|(index, (name, _))| (name, index)).collect();
        for (name, decision) in &plan.decisions {
            let Some(index) = places.get(name) else { continue };
            if decision.changes()
                && let Some(tell) = &mut self.on_change
            {
                tell(world.now(), name, decision);
            }
            let busy = decision.take.takes_busy();
            let shrink = if busy { Shrink::AfterJob } else { Shrink::Idle };
            world.set_target(*index, decision.target, shrink);
        }
        plan.again_after.map(|after| after.as_secs_f64())
    }
}

/// A crew as the scaler sees a pool.
pub(super) fn pool_sample(
    crew: CrewView,
    (count, scaling, served): (Count, ScalingSettings, Arc<[FunctionName]>),
) -> PoolSample {
    PoolSample {
        running: crew.running,
        busy: Duration::from_secs_f64(crew.busy_seconds),
        idle: crew.idle,
        idle_long: crew.idle_long,
        starting: crew.starting,
        fresh: crew.fresh,
        leaving: crew.leaving,
        failing: crew.failing,
        startups: crew.startups.iter().map(|s| Duration::from_secs_f64(*s)).collect(),
        sizes: crew.sizes,
        young: crew.young,
        young_bytes: crew.young_bytes,
        ..PoolSample::new(count, scaling, served)
    }
}
