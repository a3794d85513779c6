//! The Gearman protocol: bytes ↔ typed packets, the text (admin) protocol, and size limits.
//!
//! A connection's bytes go through [`Decoder`], which cuts them into binary frames and text lines.
//! A frame becomes a [`Request`] (what a server receives) or a [`Response`] (what a client or a
//! worker receives); a line becomes an [`AdminCommand`]. Sockets, jobs and time live elsewhere.
//!
//! Source: gearmand's PROTOCOL file, and its code where the two disagree.

mod admin;
mod args;
mod error_code;
mod frame;
mod kind;
mod reader;
mod request;
mod response;

pub use admin::{
    AdminCommand, AdminError, AdminReply, ClientRow, ConnectionRow, FunctionRow, JobListing,
    JobRow, OutstandingRow, PriorityRow,
};
pub use args::MalformedPacket;
pub use error_code::ErrorCode;
pub use frame::{Decoder, Frame, FrameError, HEADER_LEN, Incoming, LINE_LEN_MAX, Magic};
pub use kind::Kind;
pub use reader::{READ_LEN_MAX, Reader};
pub use request::{GrabStyle, Request, Schedule, Submission, SubmitMode, WorkReport};
pub use response::{JobStatus, Response};

/// Longest unique that gearmand keeps whole, in bytes.
pub const UNIQUE_LEN_MAX: usize = 63;
/// Longest job handle that libgearman has room for, in bytes.
pub const HANDLE_LEN_MAX: usize = 63;
/// Longest reducer that gearmand takes, in bytes.
pub const REDUCER_LEN_MAX: usize = 512;
/// Longest client id that is kept, in bytes; the rest is cut off.
pub const CLIENT_ID_LEN_MAX: usize = 127;
