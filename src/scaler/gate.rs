//! What the host can bear.
//!
//! Load average lags by a minute, so it is not asked: the runnable count and pressure-stall
//! information say what is so now. While a limit holds nothing grows above its minimum; a processor
//! that stays overloaded lowers a cap on all workers, quickly down and slowly up again (AIMD).
//! Limits release at 85 % of what set them, lest growth flutters.

use std::fmt;
use std::time::{Duration, Instant};

use super::sample::{real, real64, workers};
use crate::config::{HostSettings, MemoryReserve};
use crate::host::HostSample;

/// Percent of time in which everything waits for memory: above these idle workers go, and then
/// busy ones of the least important pool after their job.
const STALL_REAP: f64 = 5.0;
const STALL_DRAIN: f64 = 20.0;
/// Memory that is left to the rest of the host: the larger of this and a twentieth of all.
const RESERVE_MIN: u64 = 256 << 20;
/// A limit that holds goes only below this share of its threshold.
const RELEASE: f64 = 0.85;
/// The cap falls to this share of what runs, at most this often.
const CUT: f64 = 0.9;
const CUT_EVERY: Duration = Duration::from_secs(10);
/// The cap rises each second by one worker, or by this share of the processors.
const RISE: f64 = 0.25;

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

/// Remembers which limit holds, and the cap.
#[derive(Clone, Debug, Default)]
pub(super) struct HostGate {
    holding: Option<HostLimit>,
    cap: Option<f64>,
    cut: Option<Instant>,
    last: Option<Instant>,
}

/// What the host bears now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bearing {
    /// Why nothing may grow.
    pub(super) limit: Option<HostLimit>,
    /// The most workers of all pools that an overloaded processor is given.
    pub(super) cap: Option<u32>,
    /// Bytes that new workers may take; `None`: unknown.
    pub(super) memory: Option<u64>,
    /// Bytes of the reserve, a part of which a pool's first worker may take.
    pub(super) reserve: u64,
    /// What memory asks of those that run.
    pub(super) relief: Relief,
}

/// What a host without memory asks of the workers that run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Relief {
    /// Nothing.
    #[default]
    None,
    /// Idle workers above their minimum are to go.
    Idle,
    /// Busy ones of the least important pool too, after their job.
    Busy,
}

impl HostGate {
    /// Takes in the host at `now`; `total` workers run, and all minimums are `least`.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        host: &HostSample,
        settings: &HostSettings,
        (total, least): (u32, u32),
    ) -> Bearing {
        use HostLimit::{CpuPressure, Load, Memory, MemoryPressure};
        let reserve = reserve(settings, host.mem_total);
        let order = [Memory, MemoryPressure, CpuPressure, Load];
        self.holding = order.into_iter().find(|limit| {
            let threshold = if self.holding == Some(*limit) { RELEASE } else { 1.0 };
            strain(*limit, host, settings, reserve) > threshold
        });
        self.move_cap(now, host.cores, total, least);
        Bearing {
            limit: self.holding,
            cap: self.cap.map(workers),
            memory: (host.mem_total > 0).then(|| host.mem_available.saturating_sub(reserve)),
            reserve,
            relief: relief(host, reserve),
        }
    }

    fn move_cap(&mut self, now: Instant, cores: usize, total: u32, least: u32) {
        let passed = self.last.replace(now).map(|last| now.saturating_duration_since(last));
        let hot = match self.holding {
            Some(HostLimit::CpuPressure | HostLimit::Load) => true,
            Some(HostLimit::Memory | HostLimit::MemoryPressure) | None => false,
        };
        let cut_before = self.cut.is_some_and(|at| now.saturating_duration_since(at) < CUT_EVERY);
        if hot && !cut_before {
            self.cap = Some((f64::from(total) * CUT).floor().max(f64::from(least)));
            self.cut = Some(now);
        } else if let Some(cap) = self.cap.filter(|_| self.holding.is_none()) {
            let seconds = passed.map_or(0.0, |passed| passed.as_secs_f64());
            let risen = cap + seconds * (real(cores) * RISE).max(1.0);
            // Far above what runs it bounds nothing any more.
            let bounds = risen < 2.0 * f64::from(total) + real(cores);
            self.cap = bounds.then_some(risen);
        }
    }
}

/// What is taken from the reserve is given back: idle workers first, and where only half of it is
/// left, or everything waits for memory, busy ones too.
fn relief(host: &HostSample, reserve: u64) -> Relief {
    let left = if host.mem_total == 0 { u64::MAX } else { host.mem_available };
    match host.mem_stall.unwrap_or(0.0) {
        stall if stall > STALL_DRAIN || left < reserve / 2 => Relief::Busy,
        stall if stall > STALL_REAP || left < reserve => Relief::Idle,
        _ => Relief::None,
    }
}

/// Bytes that workers leave to others.
fn reserve(settings: &HostSettings, total: u64) -> u64 {
    match settings.memory_reserve {
        None => RESERVE_MIN.min(total / 4).max(total / 20),
        Some(MemoryReserve::Bytes(bytes)) => bytes,
        Some(MemoryReserve::Percent(percent)) => share(total, percent / 100.0),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a size of memory fits, and none is negative"
)]
fn share(total: u64, part: f64) -> u64 {
    (real64(total) * part).max(0.0) as u64
}

/// How near a limit the host is: 1.0 is at it. What the kernel does not tell strains nothing.
fn strain(limit: HostLimit, host: &HostSample, settings: &HostSettings, reserve: u64) -> f64 {
    match limit {
        HostLimit::Memory if host.mem_total == 0 => 0.0,
        HostLimit::Memory => real64(reserve) / real64(host.mem_available.max(1)),
        HostLimit::MemoryPressure => {
            host.mem_pressure.unwrap_or(0.0) / settings.memory_pressure_max.max(1e-9)
        }
        HostLimit::CpuPressure => {
            host.cpu_pressure.unwrap_or(0.0) / settings.cpu_pressure_max.max(1e-9)
        }
        HostLimit::Load => {
            real(host.runnable) / (settings.load_max.max(1e-9) * real(host.cores.max(1)))
        }
    }
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
            mem_stall: Some(0.0),
        }
    }

    fn judge(gate: &mut HostGate, now: Instant, host: &HostSample) -> Bearing {
        gate.judge(now, host, &HostSettings::default(), (40, 4))
    }

    #[test]
    fn each_strain_holds_growth_and_a_high_load_average_alone_does_not() {
        let limit = |host: HostSample| judge(&mut HostGate::default(), Instant::now(), &host).limit;
        assert_eq!(limit(calm()), None);
        assert_eq!(limit(HostSample { runnable: 9, ..calm() }), Some(HostLimit::Load));
        let hot = HostSample { cpu_pressure: Some(60.0), ..calm() };
        assert_eq!(limit(hot), Some(HostLimit::CpuPressure));
        let short = HostSample { mem_available: 700 << 20, ..calm() };
        assert_eq!(limit(short), Some(HostLimit::Memory));
        let paging = HostSample { mem_pressure: Some(11.0), ..calm() };
        assert_eq!(limit(paging), Some(HostLimit::MemoryPressure));
        let silent = HostSample { cpu_pressure: None, mem_pressure: None, ..calm() };
        assert_eq!(limit(silent), None);
    }

    #[test]
    fn a_limit_is_released_only_well_below_its_threshold() {
        let mut gate = HostGate::default();
        let now = Instant::now();
        let mut at = |pressure| {
            judge(&mut gate, now, &HostSample { cpu_pressure: Some(pressure), ..calm() }).limit
        };
        assert_eq!(at(51.0), Some(HostLimit::CpuPressure));
        assert_eq!(at(45.0), Some(HostLimit::CpuPressure));
        assert_eq!(at(42.0), None);
        assert_eq!(at(45.0), None);
    }

    #[test]
    fn the_cap_falls_quickly_and_rises_slowly_until_it_bounds_nothing() {
        let mut gate = HostGate::default();
        let start = Instant::now();
        let hot = HostSample { cpu_pressure: Some(90.0), ..calm() };
        let mut at = |second, host: &HostSample| {
            judge(&mut gate, start + Duration::from_secs(second), host).cap
        };
        assert_eq!(at(0, &hot), Some(36));
        assert_eq!(at(5, &hot), Some(36), "at most every 10 s");
        assert_eq!(at(15, &calm()), Some(46));
        assert_eq!(at(60, &calm()), None);
    }

    #[test]
    fn the_reserve_is_what_the_file_says() {
        let memory = |memory_reserve| {
            let settings = HostSettings { memory_reserve, ..HostSettings::default() };
            let mut gate = HostGate::default();
            gate.judge(Instant::now(), &calm(), &settings, (0, 0)).memory.unwrap() >> 20
        };
        assert_eq!(memory(None), 8192 - 820);
        assert_eq!(memory(Some(MemoryReserve::Bytes(1 << 30))), 7168);
        assert_eq!(memory(Some(MemoryReserve::Percent(25.0))), 4096);
    }
}
