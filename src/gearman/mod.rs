//! A Gearman client and worker over `protocol`, for any server: what `submit` and `work` use.
//!
//! Blocking, one connection each: a command-line tool and an adapter do one thing at a time. The
//! broker's inside is not known here.

mod address;
mod client;
mod connection;
mod worker;

pub use address::{InvalidAddress, ServerAddress};
pub use client::Client;
pub use connection::{Closer, Connection, ConnectionError};
pub use worker::{Assignment, Worker};
