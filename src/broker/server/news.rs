//! Events for the supervisor, which never hold the broker up.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::warn;

use super::seldom::Seldom;
use super::show::TARGET;
use crate::broker::BrokerEvent;

const WARN_EVERY: Duration = Duration::from_secs(10);

/// Sends events while there is room, and drops and counts them when there is none: whoever listens
/// treats them as hints.
#[derive(Debug)]
pub(super) struct News {
    sender: mpsc::Sender<BrokerEvent>,
    dropped: u64,
    warned: Seldom,
}

impl News {
    pub(super) fn new(sender: mpsc::Sender<BrokerEvent>) -> Self {
        Self { sender, dropped: 0, warned: Seldom::new(WARN_EVERY) }
    }

    pub(super) fn tell(&mut self, event: BrokerEvent, now: Instant) {
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
