//! The sockets we listen on: public ones that the file names, and one per worker process.

use std::collections::HashMap;
use std::net::TcpListener as StdTcpListener;
use std::rc::Rc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::accept;
use super::listen::{ListenError, Listener, SocketOptions};
use super::shell::Shell;
use super::show::TARGET;
use crate::config::ListenAddress;
use crate::model::{Network, WorkerId};

/// The accepting tasks.
#[derive(Debug)]
pub(super) struct Listeners {
    shell: Rc<Shell>,
    options: SocketOptions,
    public: Vec<Public>,
    private: HashMap<WorkerId, Accepting>,
}

/// A task that accepts from one socket, and owns it.
#[derive(Debug)]
struct Accepting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Public {
    /// As in the file; port 0 stays 0.
    asked: ListenAddress,
    accepting: Accepting,
}

impl Accepting {
    fn start(shell: &Rc<Shell>, listener: Listener, worker: Option<WorkerId>) -> Self {
        let stop = CancellationToken::new();
        let task = accept::run(Rc::clone(shell), listener, worker, stop.clone());
        Self { stop, task: shell.tasks.spawn_local(task) }
    }

    /// Ends the task and waits until its socket is closed.
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            error!(target: TARGET, %error, "accepting connections ended badly");
        }
    }
}

impl Listeners {
    pub(super) fn new(shell: Rc<Shell>, options: SocketOptions) -> Self {
        Self { shell, options, public: Vec::new(), private: HashMap::new() }
    }

    /// Accepts from a public socket.
    pub(super) fn serve(&mut self, asked: ListenAddress, listener: Listener) {
        if let Ok(bound) = listener.address() {
            info!(target: TARGET, "listening on {bound}");
            warn_if_open(&bound, &self.shell.core.borrow().allow);
        }
        let accepting = Accepting::start(&self.shell, listener, None);
        self.public.push(Public { asked, accepting });
    }

    /// Accepts from the private socket of a worker process.
    pub(super) fn admit(&mut self, worker: WorkerId, listener: StdTcpListener) {
        let listener = match Listener::adopt(listener, self.options) {
            Ok(listener) => listener,
            Err(error) => {
                error!(target: TARGET, %worker, %error, "a worker's socket cannot be served");
                return;
            }
        };
        self.private.insert(worker, Accepting::start(&self.shell, listener, Some(worker)));
    }

    /// Closes the private socket of a worker process that ended.
    pub(super) async fn gone(&mut self, worker: WorkerId) {
        if let Some(accepting) = self.private.remove(&worker) {
            accepting.end().await;
        }
    }

    /// Changes the public sockets to `wanted`, keeping those that stay.
    ///
    /// # Errors
    /// With the first that cannot be bound; all is as it was then.
    pub(super) async fn change(&mut self, wanted: Vec<ListenAddress>) -> Result<(), ListenError> {
        let added: Vec<ListenAddress> = wanted
            .iter()
            .filter(|address| self.public.iter().all(|public| public.asked != **address))
            .cloned()
            .collect();
        let leaving = self.public.extract_if(.., |public| !wanted.contains(&public.asked));
        let leaving: Vec<Public> = leaving.collect();
        let bound = match bind_all(&added, self.options) {
            Ok(bound) => {
                stop_all(leaving).await;
                bound
            }
            // The new one may be in the way of the old one, as 0.0.0.0 is of 127.0.0.1.
            Err(_) if !leaving.is_empty() => {
                let old = stop_all(leaving).await;
                match bind_all(&added, self.options) {
                    Ok(bound) => bound,
                    Err(error) => {
                        self.restore(old);
                        return Err(error);
                    }
                }
            }
            Err(error) => return Err(error),
        };
        for (asked, listener) in added.into_iter().zip(bound) {
            self.serve(asked, listener);
        }
        Ok(())
    }

    /// Stops accepting.
    pub(super) async fn close(&mut self) {
        for (_, accepting) in self.private.drain() {
            accepting.end().await;
        }
        stop_all(std::mem::take(&mut self.public)).await;
    }

    fn restore(&mut self, old: Vec<ListenAddress>) {
        for asked in old {
            match Listener::bind(&asked, self.options) {
                Ok(listener) => self.serve(asked, listener),
                Err(error) => error!(target: TARGET, "{error}"),
            }
        }
    }
}

fn bind_all(
    addresses: &[ListenAddress],
    options: SocketOptions,
) -> Result<Vec<Listener>, ListenError> {
    addresses.iter().map(|address| Listener::bind(address, options)).collect()
}

/// Stops the tasks and waits until their sockets are closed.
async fn stop_all(public: Vec<Public>) -> Vec<ListenAddress> {
    let mut stopped = Vec::new();
    for Public { asked, accepting } in public {
        accepting.end().await;
        info!(target: TARGET, "no longer listening on {asked}");
        stopped.push(asked);
    }
    stopped
}

/// Nobody is kept out where other hosts reach the socket and every network may come.
fn warn_if_open(address: &ListenAddress, allow: &[Network]) {
    if let ListenAddress::Tcp(ip) = address
        && !ip.ip().is_loopback()
        && Network::everywhere().iter().any(|all| allow.contains(all))
    {
        warn!(
            target: TARGET,
            "{ip} can be reached from other hosts, and whoever reaches it can submit and take \
             jobs; a firewall, or [broker] allow in a workers.toml, says who may come"
        );
    }
}
