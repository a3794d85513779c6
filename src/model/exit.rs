//! How a process ended, and whether it may.

use std::fmt;

use nix::sys::signal::Signal;

/// What the kernel said about a process that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal.
        signal: Signal,
        /// Whether a core file was written.
        core: bool,
    },
    /// The kernel killed it for want of memory.
    OutOfMemory,
}

/// The answer to "may this worker go now?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It holds no job and will get none.
    Drained,
    /// It holds this job; nothing was changed.
    Busy(String),
}

impl Exit {
    /// True for exit code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// `exit 3`, `killed by KILL`, `killed by SEGV (core dumped)`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal { signal, core } => {
                let name = signal.as_str().trim_start_matches("SIG");
                write!(f, "killed by {name}")?;
                if *core { f.write_str(" (core dumped)") } else { Ok(()) }
            }
            Self::OutOfMemory => f.write_str("killed by the kernel: out of memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_an_operator_would_say_it() {
        let segv = Exit::Signal { signal: Signal::SIGSEGV, core: true };
        assert_eq!(Exit::Code(3).to_string(), "exit 3");
        assert_eq!(segv.to_string(), "killed by SEGV (core dumped)");
    }
}
