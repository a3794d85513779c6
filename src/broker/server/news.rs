//! Events for the supervisor, which never hold the broker up.
//!
//! Each wakes the supervisor's thread. Jobs that nobody is idle for may come by the hundred thousand
//! a second, so news of them is told at once when it is rare, and gathered otherwise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::warn;

use super::seldom::Seldom;
use super::show::TARGET;
use crate::broker::BrokerEvent;
use crate::model::FunctionName;

const WARN_EVERY: Duration = Duration::from_secs(10);
/// Least time between two pieces of news of starved functions: short beside the 20 ms within which
/// the scaler looks.
const STARVED_EVERY: Duration = Duration::from_millis(5);

/// Sends events while there is room, and drops and counts them when there is none: whoever listens
/// treats them as hints.
#[derive(Debug)]
pub(super) struct News {
    sender: mpsc::Sender<BrokerEvent>,
    dropped: u64,
    warned: Seldom,
    /// Functions that starved since this was told last.
    starved: BTreeSet<FunctionName>,
    /// When it may be told again.
    starved_due: Option<Instant>,
}

impl News {
    pub(super) fn new(sender: mpsc::Sender<BrokerEvent>) -> Self {
        Self {
            sender,
            dropped: 0,
            warned: Seldom::new(WARN_EVERY),
            starved: BTreeSet::new(),
            starved_due: None,
        }
    }

    /// Takes an event; it goes out now or with a later [`News::flush`].
    pub(super) fn tell(&mut self, event: BrokerEvent, now: Instant) {
        match event {
            BrokerEvent::Starved(function) if self.starved.contains(&function) => {}
            BrokerEvent::Starved(function) => {
                self.starved.insert(function);
                self.flush(now);
            }
            event => self.send(event, now),
        }
    }

    /// When there is something to be flushed.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.starved_due?;
        if self.starved.is_empty() { None } else { Some(due) }
    }

    /// Sends what was gathered, if it is time.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.starved_due.is_none_or(|due| due <= now) && !self.starved.is_empty() {
            self.starved_due = Some(now + STARVED_EVERY);
            while let Some(function) = self.starved.pop_first() {
                self.send(BrokerEvent::Starved(function), now);
            }
        }
    }

    fn send(&mut self, event: BrokerEvent, now: Instant) {
        match self.sender.try_send(event) {
            // Without a listener there is nobody to miss anything.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                if self.warned.permit(now).is_some() {
                    let dropped = self.dropped;
                    warn!(target: TARGET, dropped, "the supervisor falls behind with events");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_starved_functions_is_told_at_once_and_then_gathered() {
        let (sender, mut receiver) = mpsc::channel(16);
        let (mut news, start) = (News::new(sender), Instant::now());
        let starved = |function: &str| BrokerEvent::Starved(function.into());
        let mut told = || std::iter::from_fn(|| receiver.try_recv().ok()).collect::<Vec<_>>();
        assert_eq!(news.next(), None);
        news.tell(starved("f"), start);
        assert_eq!((told(), news.next()), (vec![starved("f")], None));
        for function in ["f", "g", "f"] {
            news.tell(starved(function), start);
        }
        news.flush(start + STARVED_EVERY / 2);
        assert_eq!((told(), news.next()), (vec![], Some(start + STARVED_EVERY)));
        news.flush(start + STARVED_EVERY);
        assert_eq!((told(), news.next()), (vec![starved("f"), starved("g")], None));
        news.tell(starved("f"), start + STARVED_EVERY * 2);
        assert_eq!(told(), [starved("f")], "it was quiet");
    }
}
