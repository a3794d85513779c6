//! Jobs that end, for those who record them; a recorder that is slow misses the oldest.

use tokio::sync::broadcast;

use super::core::Core;
use crate::broker::JobEnding;

/// Endings that a recorder may be behind.
const BEHIND_MAX: usize = 16 * 1024;

/// Where endings go.
#[derive(Debug)]
pub(super) struct Tape(broadcast::Sender<JobEnding>);

impl Core {
    /// Every job that ends from now on.
    pub(super) fn record(&mut self) -> broadcast::Receiver<JobEnding> {
        self.state.record(true);
        let tape = self.tape.get_or_insert_with(|| Tape(broadcast::Sender::new(BEHIND_MAX)));
        tape.0.subscribe()
    }

    /// Tells the recorders; when none is left, nothing is told any more.
    pub(super) fn pass_on_endings(&mut self) {
        let mut endings = self.fx.endings.drain(..);
        let heard = self.tape.as_ref().is_some_and(|Tape(tape)| tape.receiver_count() > 0);
        if let Some(Tape(tape)) = self.tape.as_ref().filter(|_| heard) {
            for ending in endings {
                // A recorder that leaves just now misses nothing.
                tape.send(ending).ok();
            }
        } else if endings.next().is_some() {
            drop(endings);
            self.tape = None;
            self.state.record(false);
        }
    }
}
