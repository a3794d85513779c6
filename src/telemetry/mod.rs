//! The daemon's own log: where it goes, what it shows.
//!
//! Lines go to stderr: a terminal shows them in colour, systemd puts them into the journal. `-v`
//! shows connections and registrations, `-vv` every packet.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

use crate::config::LogFormat;

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log_level is not a log filter; write error, warn, info, debug or trace")]
    Filter(#[from] ParseError),
    /// Somebody set one up before.
    #[error("the log was set up twice")]
    Twice(#[from] TryInitError),
}

/// Begins to log.
///
/// # Errors
/// When the filter is none.
pub fn start(level: &str, format: LogFormat, verbosity: u8) -> Result<(), TelemetryError> {
    let filter = match verbosity {
        0 => level.to_owned(),
        1 => format!("{level},gear_supervisor=debug"),
        _ => format!("{level},gear_supervisor=debug,gear_supervisor::broker=trace"),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let set = match format {
        LogFormat::Json => {
            tracing_subscriber::util::SubscriberInitExt::try_init(builder.json().finish())
        }
        LogFormat::Text | LogFormat::Raw => {
            tracing_subscriber::util::SubscriberInitExt::try_init(builder.finish())
        }
    };
    Ok(set?)
}
