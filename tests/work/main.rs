//! `gear-supervisor work` against Debian's gearmand: real processes, real sockets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod examples;
mod exec;
mod lines;
mod scene;
mod stop;
