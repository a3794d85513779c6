//! Chance with a seed (SplitMix64; Steele, Lea and Flood, 2014).

use std::f64::consts::TAU;

/// A source of numbers that look random and are the same for the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A source.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to 1, never 1.
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let [_, high @ ..] = (mixed >> 11).to_be_bytes();
        high.iter().fold(0.0, |value, byte| value * 256.0 + f64::from(*byte)) / 2.0_f64.powi(53)
    }

    /// A number from a range.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Lognormally distributed with this mean; `sigma` is the deviation of the logarithm.
    pub fn lognormal(&mut self, mean: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (TAU * self.unit()).cos();
        mean * (sigma * normal - sigma * sigma / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_what_was_asked_for_and_seeds_repeat() {
        let mut chance = Chance::new(7);
        let mean = |mut draw: Box<dyn FnMut() -> f64>| (0..100_000).map(|_| draw()).sum::<f64>();
        let mut other = chance;
        let exponential = mean(Box::new(move || chance.exponential(2.0))) / 1e5;
        let lognormal = mean(Box::new(move || other.lognormal(2.0, 0.5))) / 1e5;
        assert!((1.95..2.05).contains(&exponential), "{exponential}");
        assert!((1.95..2.05).contains(&lognormal), "{lognormal}");
        let (mut one, mut two) = (Chance::new(3), Chance::new(3));
        assert!((one.unit() - two.unit()).abs() < 1e-15);
    }
}
