//! When to look at the files: pure.
//!
//! After the last event it is quiet for a moment, so that a save of several steps is one; many
//! events in a row cannot put a look off for ever; a writer that is at work can, for a while.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Without an event for so long, a save is taken as done.
const QUIET: Duration = Duration::from_millis(50);
/// A look is put off by further events for so long at most.
const QUIET_MAX: Duration = Duration::from_millis(300);
/// Between the two looks that must be equal.
const AGAIN: Duration = Duration::from_millis(100);
/// A writer that neither writes nor closes for so long has forgotten its file.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// Something that happened to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// Somebody made it or wrote into it, and has it open still.
    Written(PathBuf),
    /// It was closed after writing, or it is another file than before.
    Closed(PathBuf),
    /// A folder or the whole is not what it was.
    Unclear,
}

/// When the next look is due.
#[derive(Debug)]
pub(super) struct Pace {
    quiet_min: Duration,
    quiet_max: Duration,
    /// The first and the last event since the latest look.
    pending: Option<(Instant, Instant)>,
    /// How long it must be quiet after the last.
    quiet: Duration,
    /// Files that are being written.
    writing: BTreeSet<PathBuf>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(QUIET, QUIET_MAX)
    }
}

impl Pace {
    /// Looks after so long without an event, and with events after so long at the latest.
    pub(super) fn new(quiet_min: Duration, quiet_max: Duration) -> Self {
        let (pending, quiet, writing) = (None, quiet_min, BTreeSet::new());
        Self { quiet_min, quiet_max, pending, quiet, writing }
    }

    /// Takes an event in.
    pub(super) fn note(&mut self, happening: Happening, now: Instant) {
        match happening {
            Happening::Written(file) => {
                self.writing.insert(file);
            }
            Happening::Closed(file) => {
                self.writing.remove(&file);
            }
            Happening::Unclear => self.writing.clear(),
        }
        self.happened(now);
    }

    /// Asks for a look soon.
    pub(super) fn happened(&mut self, now: Instant) {
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, now));
        self.quiet = self.quiet_min;
    }

    /// Asks for a second look.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.pending = Some((now, now));
        self.quiet = AGAIN;
    }

    /// The look is being taken; a writer that was waited for in vain is forgotten.
    pub(super) fn looked(&mut self) {
        self.pending = None;
        self.writing.clear();
    }

    /// When to look; `None`: when something happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.pending?;
        if self.writing.is_empty() {
            Some((last + self.quiet).min(first + self.quiet_max))
        } else {
            Some(last + WRITER_PATIENCE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn file(name: &str) -> PathBuf {
        name.into()
    }

    #[test]
    fn a_look_waits_for_quiet_but_not_for_ever() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.due(), None);
        pace.happened(start);
        assert_eq!(pace.due(), Some(start + ms(50)));
        for step in 1..20 {
            pace.happened(start + ms(40 * step));
        }
        assert_eq!(pace.due(), Some(start + ms(300)));
        pace.looked();
        assert_eq!(pace.due(), None);
        pace.look_again(start);
        assert_eq!(pace.due(), Some(start + ms(100)));
    }

    #[test]
    fn a_writer_is_waited_for_until_it_closes_or_forgets_its_file() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.note(Happening::Written(file("a")), start);
        pace.note(Happening::Written(file("b")), start);
        assert_eq!(pace.due(), Some(start + ms(5_000)));
        pace.note(Happening::Closed(file("a")), start + ms(10));
        assert_eq!(pace.due(), Some(start + ms(5_010)));
        pace.note(Happening::Closed(file("b")), start + ms(20));
        assert_eq!(pace.due(), Some(start + ms(70)));

        pace.note(Happening::Written(file("a")), start + ms(30));
        pace.looked();
        pace.happened(start + ms(6_000));
        assert_eq!(pace.due(), Some(start + ms(6_050)));
    }
}
