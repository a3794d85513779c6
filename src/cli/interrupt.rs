//! Ctrl-C, for verbs that have something to say before they leave.

use futures_util::StreamExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use super::exit::CliError;

/// Listens for SIGINT and SIGTERM from its making on.
pub(super) struct Interrupt {
    signals: Signals,
}

impl Interrupt {
    pub(super) fn listen() -> Result<Self, CliError> {
        let signals = Signals::new([SIGINT, SIGTERM])
            .map_err(|error| CliError::failed(format!("cannot listen for signals: {error}")))?;
        Ok(Self { signals })
    }

    /// Waits until one has come.
    pub(super) async fn wait(&mut self) {
        if self.signals.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
