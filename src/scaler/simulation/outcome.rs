//! What came of a simulation.

/// Counts, waits, and a look every second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One for each pool.
    pub pools: Vec<PoolOutcome>,
    /// Workers that were killed with a job in hand.
    pub kills: u64,
    /// Workers that the kernel killed for memory.
    pub oom_kills: u64,
    /// Workers that died of their job or at their start.
    pub crashes: u64,
    /// Most workers above `[host] max_workers`.
    pub over_commit: u32,
    /// Most resident bytes.
    pub memory_peak: u64,
    /// Jobs that failed and came back.
    pub failures: u64,
    /// Jobs that were given up.
    pub given_up: u64,
    /// One look every second.
    pub moments: Vec<Moment>,
}

/// One pool's share of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolOutcome {
    /// Its name.
    pub name: String,
    /// Its objective in seconds.
    pub max_wait: f64,
    /// Seconds that its jobs waited until their first start: of those that never started until the
    /// end; poisoned ones are left out. Ascending.
    pub waits: Vec<f64>,
    /// Seconds that its workers lived.
    pub worker_seconds: f64,
    /// Seconds that they had a job.
    pub busy_seconds: f64,
    /// Processes started.
    pub starts: u64,
    /// Times that its target changed its direction.
    pub reversals: u64,
    /// The longest time in seconds that jobs waited and none was started.
    pub starved: f64,
    /// Fewest and most workers.
    pub workers_min: u32,
    /// See `workers_min`.
    pub workers_max: u32,
}

/// The world at one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// For each pool: jobs that wait, workers, busy ones, and the wait of the oldest in seconds.
    pub pools: Vec<(usize, u32, u32, f64)>,
}

impl Outcome {
    /// Seconds that workers lived for each second of work.
    #[must_use]
    pub fn cost(&self) -> f64 {
        let all = |read: fn(&PoolOutcome) -> f64| self.pools.iter().map(read).sum::<f64>();
        all(|pool| pool.worker_seconds) / all(|pool| pool.busy_seconds).max(1e-9)
    }

    /// Processes started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.pools.iter().map(|pool| pool.starts).sum()
    }

    /// Times that a pool's target changed its direction.
    #[must_use]
    pub fn reversals(&self) -> u64 {
        self.pools.iter().map(|pool| pool.reversals).sum()
    }
}

impl PoolOutcome {
    /// Seconds that its workers lived for each second of work.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.worker_seconds / self.busy_seconds.max(1e-9)
    }

    /// The wait that this share of the jobs did not exceed.
    #[must_use]
    pub fn wait(&self, share: f64) -> f64 {
        let len = u32::try_from(self.waits.len()).unwrap_or(u32::MAX);
        let rank = (f64::from(len) * share).ceil().max(1.0);
        let before = |(index, _): &(u32, &f64)| f64::from(*index) + 1.0 >= rank;
        (0..len).zip(&self.waits).find(before).map_or(0.0, |(_, wait)| *wait)
    }

    /// Percent of the jobs that waited longer than the objective.
    #[must_use]
    pub fn misses(&self) -> f64 {
        let late = self.waits.iter().filter(|wait| **wait > self.max_wait).count();
        let share = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        100.0 * share(late) / share(self.waits.len()).max(1.0)
    }
}
