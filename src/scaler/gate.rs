//! Whether the host can bear more workers.
//!
//! Load average lags by a minute, so it is not asked: the runnable count and pressure-stall
//! information say what is so now. Limits release at 85 % of what set them, lest growth flutters.

use std::fmt;

use crate::host::HostSample;

/// Runnable tasks per core above which no worker is added.
const RUNNABLE_PER_CORE_MAX: f64 = 2.0;
/// Percent of time in which something waits for a processor.
const CPU_PRESSURE_MAX: f64 = 50.0;
/// Percent of time in which something waits for memory.
const MEM_PRESSURE_MAX: f64 = 10.0;
/// Memory that is left to the rest of the host: the larger of this and a twentieth of all.
const MEM_RESERVE_MIN: u64 = 256 << 20;
/// A limit that holds goes only below this share of its threshold.
const RELEASE: f64 = 0.85;

/// Why the host takes no further worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostLimit {
    /// Little memory is left.
    Memory,
    /// Programs wait for memory.
    MemoryPressure,
    /// Programs wait for a processor.
    CpuPressure,
    /// More programs could run than there are processors.
    Load,
}

/// Remembers which limit holds, for its release.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostGate {
    holding: Option<HostLimit>,
}

impl HostGate {
    /// The limit that holds after this sample; `None` when workers may be added.
    pub fn judge(&mut self, sample: &HostSample) -> Option<HostLimit> {
        use HostLimit::{CpuPressure, Load, Memory, MemoryPressure};
        let order = [Memory, MemoryPressure, CpuPressure, Load];
        self.holding = order.into_iter().find(|limit| {
            let threshold = if self.holding == Some(*limit) { RELEASE } else { 1.0 };
            strain(*limit, sample) > threshold
        });
        self.holding
    }
}

/// How near a limit the host is: 1.0 is at it. What the kernel does not tell strains nothing.
fn strain(limit: HostLimit, sample: &HostSample) -> f64 {
    match limit {
        HostLimit::Memory => {
            let reserve = MEM_RESERVE_MIN.max(sample.mem_total / 20);
            bytes(reserve) / bytes(sample.mem_available.max(1))
        }
        HostLimit::MemoryPressure => sample.mem_pressure.unwrap_or(0.0) / MEM_PRESSURE_MAX,
        HostLimit::CpuPressure => sample.cpu_pressure.unwrap_or(0.0) / CPU_PRESSURE_MAX,
        HostLimit::Load => {
            let cores = super::estimate::count(sample.cores.max(1));
            super::estimate::count(sample.runnable) / (RUNNABLE_PER_CORE_MAX * cores)
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of sizes needs no exact bytes")]
fn bytes(n: u64) -> f64 {
    n as f64
}

impl fmt::Display for HostLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::MemoryPressure => "memory pressure",
            Self::CpuPressure => "cpu pressure",
            Self::Load => "load",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> HostSample {
        HostSample {
            cores: 4,
            load1: 90.0,
            runnable: 3,
            mem_available: 8 << 30,
            mem_total: 16 << 30,
            cpu_pressure: Some(5.0),
            mem_pressure: Some(0.0),
        }
    }

    #[test]
    fn each_strain_holds_growth_and_a_high_load_average_alone_does_not() {
        let judge = |sample| HostGate::default().judge(&sample);
        assert_eq!(judge(calm()), None);
        assert_eq!(judge(HostSample { runnable: 9, ..calm() }), Some(HostLimit::Load));
        let hot = HostSample { cpu_pressure: Some(60.0), ..calm() };
        assert_eq!(judge(hot), Some(HostLimit::CpuPressure));
        let short = HostSample { mem_available: 700 << 20, ..calm() };
        assert_eq!(judge(short), Some(HostLimit::Memory));
        let paging = HostSample { mem_pressure: Some(11.0), ..calm() };
        assert_eq!(judge(paging), Some(HostLimit::MemoryPressure));
        let silent = HostSample { cpu_pressure: None, mem_pressure: None, ..calm() };
        assert_eq!(judge(silent), None);
    }

    #[test]
    fn a_limit_is_released_only_well_below_its_threshold() {
        let mut gate = HostGate::default();
        let at = |pressure| HostSample { cpu_pressure: Some(pressure), ..calm() };
        assert_eq!(gate.judge(&at(51.0)), Some(HostLimit::CpuPressure));
        assert_eq!(gate.judge(&at(45.0)), Some(HostLimit::CpuPressure));
        assert_eq!(gate.judge(&at(42.0)), None);
        assert_eq!(gate.judge(&at(45.0)), None);
    }
}
