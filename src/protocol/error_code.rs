//! Codes of ERROR packets.

/// The code of an ERROR packet: gearmand's names, which libgearman looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The job could not be queued.
    QueueError,
    /// An argument is longer than the protocol allows.
    ArgumentTooLarge,
    /// OPTION_REQ named an option that does not exist.
    UnknownOption,
    /// A result for a job that this connection does not hold.
    JobNotFound,
    /// A packet type that a server does not take.
    InvalidCommand,
    /// A `\0RES` packet sent to a server.
    InvalidMagic,
    /// A packet with too few arguments, or a size above the limit.
    InvalidPacket,
    /// The server is going away.
    Shutdown,
}

impl ErrorCode {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueError => "QUEUE_ERROR",
            Self::ArgumentTooLarge => "ARGUMENT_TOO_LARGE",
            Self::UnknownOption => "UNKNOWN_OPTION",
            Self::JobNotFound => "JOB_NOT_FOUND",
            Self::InvalidCommand => "INVALID_COMMAND",
            Self::InvalidMagic => "INVALID_MAGIC",
            Self::InvalidPacket => "INVALID_PACKET",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}
