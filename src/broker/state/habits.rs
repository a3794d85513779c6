//! What can be set to gearmand's way where ours differs.

/// Choices that gearmand's command line has; the default is our own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// What counts as an attempt.
    pub charges: Charges,
    /// Who is sent WORK_EXCEPTION.
    pub exceptions: Exceptions,
    /// Sleepers that each new job wakes, at least 1.
    pub wakeups: usize,
}

/// Which ends of a worker cost a job an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charges {
    /// Deaths of worker processes of ours; whoever merely leaves gives the job back.
    Deaths,
    /// Every connection that ends with the job in hand, `--job-retries`.
    EveryLoss,
}

/// Which clients are sent WORK_EXCEPTION; the others are sent WORK_FAIL for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceptions {
    /// Those that ask with OPTION_REQ.
    Asked,
    /// All, `--exceptions`.
    Always,
}

impl Default for Habits {
    fn default() -> Self {
        Self { charges: Charges::Deaths, exceptions: Exceptions::Asked, wakeups: 1 }
    }
}
