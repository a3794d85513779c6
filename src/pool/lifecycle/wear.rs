//! Processes that are well and are replaced all the same: for their age, or for what they have used.

use std::time::Instant;

use super::slot::{Process, Slot};
use super::why::short;

impl Slot {
    /// Its process is to be replaced when the roll comes to it.
    pub(super) fn wear_out(&mut self, reason: String) {
        if !self.roll_wanted {
            self.roll_wanted = true;
            self.wear = Some(reason);
        }
    }

    pub(super) fn grow_old(&mut self, process: Process, now: Instant) {
        if process.expires_at().is_some_and(|at| at <= now) {
            let age = now.saturating_duration_since(process.started);
            self.wear_out(format!("has lived for {}", short(age)));
        }
    }
}
