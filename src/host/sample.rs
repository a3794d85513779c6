//! Readings.

/// The host at one moment. What the kernel does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostSample {
    /// Processors that this process may use.
    pub cores: usize,
    /// One-minute load average.
    pub load1: f64,
    /// Tasks that run or could run now, this one not counted.
    pub runnable: usize,
    /// Memory that programs could take without swapping, in bytes.
    pub mem_available: u64,
    /// All memory, in bytes.
    pub mem_total: u64,
    /// Share of the last 10 s in which some task waited for a processor, in percent.
    pub cpu_pressure: Option<f64>,
    /// Share of the last 10 s in which some task waited for memory, in percent.
    pub mem_pressure: Option<f64>,
    /// Share of the last 10 s in which every task waited for memory, in percent.
    pub mem_stall: Option<f64>,
}

/// What one process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// Processor time over the last interval, in percent of one core.
    pub cpu_percent: f32,
    /// Resident memory, in bytes.
    pub rss: u64,
}
