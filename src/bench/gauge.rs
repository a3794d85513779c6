//! What all connections of a run count in together.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::{Amount, Latency};

/// Latencies above are counted as this.
const LATENCY_MAX: Duration = Duration::from_mins(10);
/// Digits that a latency is known to.
const DIGITS: u8 = 3;

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Submit,
    Grab,
    Roundtrip,
}

/// The counters of one run; all of it is on one thread.
#[derive(Debug)]
pub(super) struct Gauge {
    left: Cell<u64>,
    until: Option<Instant>,
    submitted: Cell<u64>,
    performed: Cell<u64>,
    /// How many are waited for.
    wanted: Cell<u64>,
    enough: Notify,
    latencies: RefCell<[Histogram<u64>; 3]>,
}

impl Gauge {
    pub(super) fn new(amount: Amount, now: Instant) -> Self {
        let (left, until) = match amount {
            Amount::Count(count) => (count, None),
            Amount::Time(time) => (u64::MAX, Some(now + time)),
        };
        Self {
            left: Cell::new(left),
            until,
            submitted: Cell::new(0),
            performed: Cell::new(0),
            wanted: Cell::new(u64::MAX),
            enough: Notify::new(),
            latencies: RefCell::new([histogram(), histogram(), histogram()]),
        }
    }

    /// Whether one more job is to be submitted.
    pub(super) fn take(&self) -> bool {
        let over = self.until.is_some_and(|until| Instant::now() >= until);
        if over || self.left.get() == 0 {
            return false;
        }
        self.left.set(self.left.get() - 1);
        true
    }

    /// The number of the job that was taken last; each has another one.
    pub(super) fn number(&self) -> u64 {
        self.left.get()
    }

    pub(super) fn submitted(&self) -> u64 {
        self.submitted.get()
    }

    pub(super) fn count_submitted(&self) {
        self.submitted.set(self.submitted.get() + 1);
    }

    pub(super) fn count_performed(&self) {
        self.performed.set(self.performed.get() + 1);
        if self.performed.get() >= self.wanted.get() {
            self.enough.notify_one();
        }
    }

    pub(super) fn time(&self, kind: Kind, took: Duration) {
        let nanoseconds = took.min(LATENCY_MAX).as_nanos();
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        if let Some(histogram) = self.latencies.borrow_mut().get_mut(kind as usize) {
            histogram.saturating_record(nanoseconds);
        }
    }

    /// Waits until so many jobs have been done.
    pub(super) async fn until_performed(&self, count: u64) {
        self.wanted.set(count);
        while self.performed.get() < count {
            self.enough.notified().await;
        }
    }

    pub(super) fn latency(&self, kind: Kind) -> Option<Latency> {
        let latencies = self.latencies.borrow();
        let histogram = latencies.get(kind as usize).filter(|histogram| !histogram.is_empty())?;
        let at = |quantile| microseconds(histogram.value_at_quantile(quantile));
        Some(Latency {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: microseconds(histogram.max()),
        })
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants, and a test makes one")]
fn histogram() -> Histogram<u64> {
    let max = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(1, max, DIGITS).expect("good bounds")
}

#[expect(clippy::cast_precision_loss, reason = "microseconds with three digits")]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}
