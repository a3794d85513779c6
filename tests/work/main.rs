//! `gear-supervisor work` against Debian's gearmand: real processes, real sockets.

mod exec;
mod lines;
mod scene;
mod stop;
