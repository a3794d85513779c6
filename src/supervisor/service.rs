//! What the service manager is told: ready, reloading, stopping, alive.
//!
//! Outside systemd nothing is told. A manager that cannot be reached is warned about once and never
//! stops the daemon.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// What the end takes beyond the jobs in hand.
const MARGIN: Duration = Duration::from_secs(10);

/// Tells the service manager how the daemon does.
#[derive(Debug, Default)]
pub(super) struct Service {
    failed: bool,
}

impl Service {
    pub(super) fn ready(&mut self, status: &str) {
        self.notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// `Type=notify-reload` wants the moment of the reload on the monotonic clock.
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(moment) => self.notify(&[NotifyState::Reloading, moment]),
            Err(error) => self.failed(&error),
        }
    }

    /// A grace above the manager's own stop timeout is asked for, so that it does not kill first.
    pub(super) fn stopping(&mut self, status: &str, grace: Duration) {
        let longest = grace.saturating_add(MARGIN).as_micros();
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        self.notify(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(longest),
            NotifyState::Status(status),
        ]);
    }

    pub(super) fn alive(&mut self) {
        self.notify(&[NotifyState::Watchdog]);
    }

    /// How often [`Service::alive`] is expected: half of what the manager waits.
    pub(super) fn period() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
    }

    fn notify(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        if !self.failed {
            warn!(%error, "the service manager cannot be told how the daemon does");
        }
        self.failed = true;
    }
}
