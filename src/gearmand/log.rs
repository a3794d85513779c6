//! Where the log goes: stderr, a file that can be opened anew, syslog, or nowhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The local system logger.
const SYSLOG: &str = "/dev/log";
/// Facility daemon, severity notice: the line itself names its level.
const SYSLOG_PRIORITY: &str = "<29>";

/// A place for lines of the log; clones write to the same.
#[derive(Clone, Debug)]
pub(super) enum LogPlace {
    Stderr,
    Nowhere,
    File { path: PathBuf, file: Arc<Mutex<File>> },
    Syslog(Arc<UnixDatagram>),
}

impl LogPlace {
    /// Opens a log file; `stderr` and `none` are names of their own.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match path.to_str() {
            Some("stderr") => Ok(Self::Stderr),
            Some("none") => Ok(Self::Nowhere),
            Some(_) | None => {
                let file = Arc::new(Mutex::new(append_to(path)?));
                Ok(Self::File { path: path.to_owned(), file })
            }
        }
    }

    /// Connects to the system's logger.
    pub(super) fn syslog() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SYSLOG)?;
        Ok(Self::Syslog(Arc::new(socket)))
    }

    /// Opens the file anew, after somebody moved it away.
    pub(super) fn reopen(&self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            let fresh = append_to(path)?;
            *file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    /// Begins to log there.
    pub(super) fn begin(&self, filter: &str) -> Result<(), TryInitError> {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_target(false)
            .with_ansi(self.is_terminal())
            .with_writer(self.clone());
        SubscriberInitExt::try_init(builder.finish())
    }

    /// Whether colours can be seen there.
    fn is_terminal(&self) -> bool {
        matches!(self, Self::Stderr) && io::IsTerminal::is_terminal(&io::stderr())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogPlace {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().write_all(line)?,
            Self::Nowhere => {}
            Self::File { file, .. } => {
                file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line)?;
            }
            Self::Syslog(socket) => {
                let head = format!("{SYSLOG_PRIORITY}gearmand[{}]: ", std::process::id());
                socket.send(&[head.as_bytes(), line.trim_ascii_end()].concat())?;
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogPlace {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
