//! A Gearman client and a Gearman worker, over `protocol` and tokio, for any Gearman server.
//!
//! [`Client`] submits jobs and hears of them, [`Worker`] takes jobs from several servers and
//! reports. Both stand on [`Connection`], which sends requests and receives responses. What is done
//! with a job is the caller's business; the broker's inside is not known here.

mod address;
mod backoff;
mod client;
mod connection;
mod listing;
mod worker;

pub use address::{InvalidAddress, ServerAddress};
pub use backoff::Backoff;
pub use client::{Client, ClientError, JobEvent, JobStream};
pub use connection::{CONNECT_TIMEOUT, ConnectError, Connection, ConnectionError, Socket, dial};
pub use listing::{ListedConnection, Listing};
pub use worker::{Assignment, Undelivered, Worker, WorkerEvent};
