//! What a run found, as text and as JSON.

use std::fmt;

use serde::Serialize;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The mode's name.
    pub mode: String,
    /// Jobs, or workers of `idle`.
    pub jobs: u64,
    /// How long it took.
    pub seconds: f64,
    /// Jobs a second.
    pub rate: f64,
    /// From a background job to JOB_CREATED.
    pub submit: Option<Latency>,
    /// From GRAB_JOB to its answer.
    pub grab: Option<Latency>,
    /// From a job to its result.
    pub roundtrip: Option<Latency>,
    /// What the server's process used.
    pub server: Option<ServerUse>,
}

/// How long something took, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// How often it was timed.
    pub count: u64,
    /// The median.
    pub p50_us: f64,
    /// 90 % were faster.
    pub p90_us: f64,
    /// 99 % were faster.
    pub p99_us: f64,
    /// 99.9 % were faster.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// What the server's process used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerUse {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Processor time for each job, in microseconds.
    pub cpu_us_per_job: f64,
    /// Resident bytes before.
    pub rss_before: u64,
    /// Resident bytes after.
    pub rss_after: u64,
    /// What one job, or one idle worker, added to them, in bytes.
    pub rss_per_job: f64,
    /// With `idle`: the share of a processor while nothing happened, in percent.
    pub idle_cpu_percent: Option<f64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.mode == "idle" { "workers" } else { "jobs" };
        let Self { mode, jobs, seconds, rate, .. } = self;
        writeln!(f, "{mode}: {jobs} {noun} in {seconds:.2} s, {rate:.0}/s")?;
        let kinds = [("submit", self.submit), ("grab", self.grab), ("roundtrip", self.roundtrip)];
        if kinds.iter().any(|(_, latency)| latency.is_some()) {
            let heads = ["p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs"];
            write!(f, "{:<10}", "")?;
            heads.iter().try_for_each(|head| write!(f, "{head:>11}"))?;
            writeln!(f)?;
        }
        for (name, latency) in kinds {
            let Some(latency) = latency else { continue };
            let Latency { p50_us, p90_us, p99_us, p999_us, max_us, count: _ } = latency;
            write!(f, "{name:<10}{p50_us:>11.0}{p90_us:>11.0}{p99_us:>11.0}")?;
            writeln!(f, "{p999_us:>11.0}{max_us:>11.0}")?;
        }
        if let Some(used) = &self.server {
            write!(
                f,
                "server     {:.2} s CPU, {:.1} µs a job",
                used.cpu_seconds, used.cpu_us_per_job
            )?;
            let kib = |bytes: u64| bytes / 1024;
            let (before, after) = (kib(used.rss_before), kib(used.rss_after));
            writeln!(f, "; RSS {before} KiB → {after} KiB, {:.0} B each", used.rss_per_job)?;
            if let Some(percent) = used.idle_cpu_percent {
                writeln!(f, "then idle  {percent:.2} % CPU")?;
            }
        }
        Ok(())
    }
}
