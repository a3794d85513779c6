//! The pools and the host of a simulation.

use std::ops::Range;

use super::Happening;
use crate::config::{Count, HostSettings, ScalingSettings};

/// Pools and host.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The pools.
    pub pools: Vec<StagePool>,
    /// What the file says of the host.
    pub host: HostSettings,
    /// Processors.
    pub cores: usize,
    /// All memory in bytes; `None`: more than enough.
    pub memory: Option<u64>,
    /// Deaths of workers at which a job is given up.
    pub attempts_max: u32,
    /// Seconds after which a worker is killed for its job, which costs the job a death.
    pub job_timeout: Option<f64>,
    /// While jobs fail, and come back at once.
    pub failing: Range<f64>,
    /// What happens when, in seconds.
    pub happenings: Vec<(f64, Happening)>,
}

/// One pool.
#[derive(Clone, Debug)]
pub struct StagePool {
    /// Its name.
    pub name: String,
    /// Places of its functions in the trace.
    pub functions: Vec<usize>,
    /// Its bounds.
    pub count: Count,
    /// How its count is found.
    pub scaling: ScalingSettings,
    /// Seconds from a start until the worker takes jobs, and by how much they vary (0.2: ±20 %).
    pub startup: f64,
    /// See `startup`.
    pub startup_spread: f64,
    /// Resident bytes of a worker that has worked.
    pub size: u64,
    /// By how many bytes a worker grows with every job.
    pub leak_per_job: u64,
    /// Jobs after which a worker is replaced.
    pub jobs_max: Option<u32>,
    /// While its program is broken: workers die when they would become ready.
    pub broken: Range<f64>,
    /// How many starts of a hundred fail.
    pub failing_percent: u32,
}

impl Stage {
    /// One pool on a large host.
    #[must_use]
    pub fn of(pools: Vec<StagePool>) -> Self {
        Self {
            pools,
            host: HostSettings::default(),
            cores: 16,
            memory: None,
            attempts_max: 3,
            job_timeout: None,
            failing: 0.0..0.0,
            happenings: Vec::new(),
        }
    }
}

impl StagePool {
    /// A pool that starts within a second and serves the trace's first function.
    #[must_use]
    pub fn new(name: &str, min: u32, max: u32) -> Self {
        Self {
            name: name.to_owned(),
            functions: vec![0],
            count: Count { min, max },
            scaling: ScalingSettings::default(),
            startup: 1.0,
            startup_spread: 0.2,
            size: 64 << 20,
            leak_per_job: 0,
            jobs_max: None,
            broken: 0.0..0.0,
            failing_percent: 0,
        }
    }
}
