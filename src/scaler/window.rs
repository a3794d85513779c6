//! How far a pool may fall: what its busiest moment within a window needed.
//!
//! The window is a minute. A load that ebbs and comes back again and again lengthens it, so that
//! workers are kept through the pause instead of being started for every wave; a wave that stays
//! away shortens it again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window where nothing was learned.
const WINDOW: Duration = Duration::from_mins(1);
/// A wave's pause is kept through with so much to spare.
const MARGIN: f64 = 1.5;
/// A fall below this share of the peak, by at least so many workers, ends a wave.
const EBB: f64 = 0.5;
const EBB_MIN: u32 = 3;

/// One pool's needs of late.
#[derive(Clone, Debug)]
pub(super) struct DownWindow {
    /// Needs that no later one exceeds, the oldest and largest first.
    needs: VecDeque<(Instant, u32)>,
    length: Duration,
    peak: u32,
    /// When the need was last near the peak.
    high: Option<Instant>,
    ebbed: bool,
}

impl Default for DownWindow {
    fn default() -> Self {
        Self { needs: VecDeque::new(), length: WINDOW, peak: 0, high: None, ebbed: false }
    }
}

impl DownWindow {
    /// Takes in what is needed at `now`; pauses of up to `pause_max` are learned.
    pub(super) fn observe(&mut self, now: Instant, need: u32, pause_max: Duration) {
        self.learn(now, need, pause_max);
        while self.needs.back().is_some_and(|(_, earlier)| *earlier <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, need));
        let old = |(at, _): &(Instant, u32)| now.saturating_duration_since(*at) > self.length;
        while self.needs.len() > 1 && self.needs.front().is_some_and(old) {
            self.needs.pop_front();
        }
    }

    /// The most that was needed within the window.
    pub(super) fn most(&self) -> u32 {
        self.needs.front().map_or(0, |(_, need)| *need)
    }

    /// How far back it looks.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    fn learn(&mut self, now: Instant, need: u32, pause_max: Duration) {
        let near = f64::from(need) >= EBB * f64::from(self.peak);
        if near || self.high.is_none() {
            let pause = self.high.map(|high| now.saturating_duration_since(high));
            if let Some(pause) = pause.filter(|pause| self.ebbed && *pause > WINDOW / 4) {
                let wanted = pause.mul_f64(MARGIN).max(WINDOW);
                self.length = if pause <= pause_max { self.length.max(wanted) } else { WINDOW };
            }
            self.peak = if self.ebbed { need } else { self.peak.max(need) };
            self.ebbed = false;
            self.high = Some(now);
            return;
        }
        self.ebbed |= self.peak - need >= EBB_MIN;
        // Two windows without a wave: it does not come back as it used to.
        let away = self.high.map_or(Duration::ZERO, |high| now.saturating_duration_since(high));
        if away > self.length * 2 && away > pause_max {
            self.length = WINDOW;
            self.peak = need;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE_MAX: Duration = Duration::from_mins(3);

    fn after(seconds: u64, need: impl Fn(u64) -> u32) -> DownWindow {
        let start = Instant::now();
        let mut window = DownWindow::default();
        for second in 0..seconds {
            window.observe(start + Duration::from_secs(second), need(second), PAUSE_MAX);
        }
        window
    }

    #[test]
    fn the_busiest_moment_of_the_last_minute_counts() {
        let burst = |second| if second < 10 { 20 } else { 4 };
        assert_eq!(after(60, burst).most(), 20);
        assert_eq!(after(75, burst).most(), 4);
    }

    #[test]
    fn a_wave_that_comes_back_is_waited_for_and_one_that_stays_away_is_not() {
        let waves = |second: u64| if second % 120 < 30 { 20 } else { 0 };
        let learned = after(270, waves);
        assert_eq!(learned.length(), Duration::from_secs_f64(91.0 * MARGIN));
        assert_eq!(after(239, waves).most(), 20, "kept through the pause");
        let ended = after(1000, |second| if second < 270 { waves(second) } else { 0 });
        assert_eq!((ended.length(), ended.most()), (WINDOW, 0));
    }

    #[test]
    fn a_rare_wave_is_not_waited_for() {
        let rare = |second: u64| if second % 600 < 30 { 20 } else { 0 };
        assert_eq!(after(1300, rare).length(), WINDOW);
    }

    #[test]
    fn small_swings_teach_nothing() {
        let swings = |second: u64| if second % 100 < 50 { 3 } else { 1 };
        assert_eq!(after(1000, swings).length(), WINDOW);
    }
}
