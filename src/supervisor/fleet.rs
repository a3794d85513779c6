//! Other hosts at the servers outside: what we publish to them, and what they publish to us.
//!
//! Each server has a task that keeps a connection to it, under a client id that tells what we have,
//! and lists the others' every second. A server that does not answer is tried again; what it told
//! last counts for a few seconds more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::task::Supervisor;
use crate::gearman::{ListedConnection, ListedFunction, Listing, ServerAddress};
use crate::model::{FunctionName, PoolName};
use crate::protocol::CLIENT_ID_LEN_MAX;
use crate::scaler::{
    Fleet, FunctionSample, Peer, PeerPool, Plan, PoolSample, Strangers, publish, published,
};

/// Between two listings of a server.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// How long a listing counts.
const COUNTS_FOR: Duration = Duration::from_secs(5);

/// What a server listed when.
type Heard = Option<(Instant, Arc<Listed>)>;

/// What is heard of the other hosts.
#[derive(Debug)]
pub(super) struct FleetWatch {
    host: String,
    capacity: u32,
    servers: Vec<watch::Receiver<Heard>>,
    ids: watch::Sender<Arc<[String]>>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Listed {
    functions: Vec<ListedFunction>,
    connections: Vec<ListedConnection>,
}

impl FleetWatch {
    /// Begins to listen at the servers, under this name.
    pub(super) fn start(
        servers: &[ServerAddress],
        (host, capacity): (String, u32),
        tasks: &TaskTracker,
    ) -> Self {
        let nothing = publish(&host, &Peer { capacity, ..Peer::default() }, CLIENT_ID_LEN_MAX);
        let (ids, published) = watch::channel(Arc::from(nothing));
        let stop = CancellationToken::new();
        let start = |server: &ServerAddress| {
            let (heard, view) = watch::channel(None);
            let task = Ear { server: server.clone(), ids: published.clone(), heard };
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(task.run()).await });
            view
        };
        let servers = servers.iter().map(start).collect();
        Self { host, capacity, servers, ids, stop }
    }

    /// The other hosts as far as they are known.
    pub(super) fn fleet(&self, now: Instant) -> Fleet {
        let mut fleet =
            Fleet { host: self.host.clone(), capacity: self.capacity, ..Fleet::default() };
        for listed in self.heard(now) {
            gather(&mut fleet, &listed.connections);
        }
        fleet
    }

    /// Jobs of each function in anybody's hands.
    pub(super) fn running(&self, now: Instant) -> BTreeMap<FunctionName, usize> {
        let mut running = BTreeMap::new();
        for listed in self.heard(now) {
            for function in &listed.functions {
                let name = FunctionName::from(function.name.as_str());
                *running.entry(name).or_default() += function.running;
            }
        }
        running
    }

    fn heard(&self, now: Instant) -> Vec<Arc<Listed>> {
        let heard = self.servers.iter().filter_map(|server| server.borrow().clone());
        let counts = |at: Instant| now.saturating_duration_since(at) < COUNTS_FOR;
        heard.filter(|(at, _)| counts(*at)).map(|(_, listed)| listed).collect()
    }

    /// Tells the others what we have, and where we fall short.
    pub(super) fn publish<'a>(
        &self,
        plan: &Plan,
        pools: impl Iterator<Item = (&'a PoolName, &'a PoolSample)>,
    ) {
        let pools = pools.filter_map(|(name, sample)| {
            let decision = plan.decisions.get(name)?;
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (idle, running) = (count(sample.idle), count(sample.running));
            let starting = decision.target.saturating_sub(idle.saturating_add(running));
            let limited = decision.target < decision.wanted && decision.limit.is_some();
            let leaving = count(sample.leaving);
            Some((name.clone(), PeerPool { starting, idle, running, leaving, limited }))
        });
        let own = Peer { capacity: self.capacity, pools: pools.collect() };
        let ids: Arc<[String]> = publish(&self.host, &own, CLIENT_ID_LEN_MAX).into();
        self.ids.send_if_modified(|before| {
            let changes = *before != ids;
            *before = ids;
            changes
        });
    }
}

impl Drop for FleetWatch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Adds what one server lists. A worker of a stranger is at each of the servers, so theirs count
/// where there are most.
fn gather(fleet: &mut Fleet, connections: &[ListedConnection]) {
    let mut known = BTreeSet::new();
    for connection in connections {
        let Some((host, part)) = published(&connection.client_id) else { continue };
        known.insert(connection.address.as_str());
        if host != fleet.host {
            let peer = fleet.peers.entry(host).or_default();
            peer.capacity = part.capacity;
            peer.pools.extend(part.pools);
        }
    }
    let mut strangers: BTreeMap<FunctionName, (BTreeSet<&str>, u32)> = BTreeMap::new();
    for connection in connections.iter().filter(|one| !known.contains(one.address.as_str())) {
        for function in &connection.functions {
            let name = FunctionName::from(function.as_str());
            let (hosts, performers) = strangers.entry(name).or_default();
            hosts.insert(&connection.address);
            *performers += 1;
        }
    }
    for (name, (hosts, performers)) in strangers {
        let most = fleet.strangers.entry(name).or_default();
        let hosts = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        *most =
            Strangers { hosts: most.hosts.max(hosts), performers: most.performers.max(performers) };
    }
}

/// The connection to one server.
#[derive(Debug)]
struct Ear {
    server: ServerAddress,
    ids: watch::Receiver<Arc<[String]>>,
    heard: watch::Sender<Heard>,
}

impl Ear {
    async fn run(mut self) {
        loop {
            if let Err(error) = self.listen().await {
                debug!(server = %self.server, %error, "other hosts are not heard of");
            }
            tokio::time::sleep(LIST_EVERY).await;
        }
    }

    async fn listen(&mut self) -> io::Result<()> {
        let mut first = Listing::open(&self.server).await?;
        // What does not fit an id stands in those of further connections.
        let mut others: Vec<Listing> = Vec::new();
        self.ids.mark_changed();
        loop {
            if self.ids.has_changed().unwrap_or(false) {
                let ids = Arc::clone(&self.ids.borrow_and_update());
                others.truncate(ids.len().saturating_sub(1));
                for (nth, id) in ids.iter().enumerate() {
                    match nth.checked_sub(1) {
                        None => first.set_client_id(id).await?,
                        Some(nth) if nth < others.len() => {
                            if let Some(other) = others.get_mut(nth) {
                                other.set_client_id(id).await?;
                            }
                        }
                        Some(_) => {
                            let mut other = Listing::open(&self.server).await?;
                            other.set_client_id(id).await?;
                            others.push(other);
                        }
                    }
                }
            }
            let functions = first.functions().await?;
            let connections = first.connections().await?;
            let listed = Arc::new(Listed { functions, connections });
            self.heard.send_replace(Some((Instant::now(), listed)));
            tokio::time::sleep(LIST_EVERY).await;
        }
    }
}

impl Supervisor {
    /// Listens to other hosts, if the jobs are at servers that others may use.
    pub(super) fn watch_fleet(&mut self) {
        let servers = self.settings.broker.servers.iter();
        let servers: Vec<ServerAddress> =
            servers.filter_map(|server| server.parse().ok()).collect();
        if !servers.is_empty() {
            let name = host_name(&self.settings.supervisor.name);
            let cores = u32::try_from(self.host.sample().cores).unwrap_or(u32::MAX);
            let watch = FleetWatch::start(&servers, (name, cores), &self.rooms.tasks);
            self.fleet = Some(watch);
        }
    }
}

/// The name of this host among the others; daemons of one host differ by their own.
fn host_name(daemon: &str) -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let name = format!("{}/{daemon}", host.to_string_lossy());
    // These have a meaning where it is published.
    name.replace([' ', ';', '=', ','], "_")
}

/// Tells how many jobs of each function others have in hand.
///
/// A listing is a second old: jobs of ours that have ended since stand in it still. Where nobody
/// else performs the function they are not taken for others', which would need workers.
pub(super) fn elsewhere(
    functions: &mut BTreeMap<FunctionName, FunctionSample>,
    running: &BTreeMap<FunctionName, usize>,
    fleet: &Fleet,
) {
    for (name, sample) in functions {
        let is_shared = !fleet.peers.is_empty() || fleet.strangers.contains_key(name);
        let all = running.get(name).copied().filter(|_| is_shared).unwrap_or_default();
        sample.elsewhere = all.saturating_sub(sample.running);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_a_late_listing_still_has_are_others_only_where_there_are_others() {
        let name = FunctionName::from("f");
        let running = BTreeMap::from([(name.clone(), 4)]);
        let shared = |fleet: &Fleet| {
            let sample = FunctionSample { running: 1, ..FunctionSample::default() };
            let mut functions = BTreeMap::from([(name.clone(), sample)]);
            elsewhere(&mut functions, &running, fleet);
            functions[&name].elsewhere
        };
        let mut fleet = Fleet::default();
        assert_eq!(shared(&fleet), 0);
        fleet.strangers.insert("g".into(), Strangers { hosts: 1, performers: 1 });
        assert_eq!(shared(&fleet), 0, "they do something else");
        fleet.strangers.insert(name.clone(), Strangers { hosts: 1, performers: 1 });
        assert_eq!(shared(&fleet), 3);
        let peers = BTreeMap::from([("b/w".to_owned(), Peer::default())]);
        assert_eq!(shared(&Fleet { peers, ..Fleet::default() }), 3);
    }

    #[test]
    fn peers_strangers_and_ourselves_are_told_apart() {
        let row = |address: &str, client_id: &str, functions: &[&str]| ListedConnection {
            address: address.to_owned(),
            client_id: client_id.to_owned(),
            functions: functions.iter().map(|name| (*name).to_owned()).collect(),
        };
        let rows = [
            row("10.0.0.1", "gs1;host=a/w;cap=2;pool=f:0/1/2/0", &[]),
            row("10.0.0.1", "f:1", &["f"]),
            row("10.0.0.2", "gs1;host=b/w;cap=4;pool=f:1/0/3/0!", &[]),
            row("10.0.0.2", "gs1;host=b/w;cap=4;pool=g:0/0/1/0", &[]),
            row("10.0.0.3", "-", &["f", "g"]),
            row("10.0.0.3", "-", &["f"]),
            row("10.0.0.4", "-", &["f"]),
            row("10.0.0.5", "-", &[]),
        ];
        let mut fleet = Fleet { host: "a/w".to_owned(), capacity: 2, ..Fleet::default() };
        gather(&mut fleet, &rows);
        gather(&mut fleet, &rows[4..]);
        assert_eq!(fleet.peers.keys().collect::<Vec<_>>(), ["b/w"]);
        let peer = &fleet.peers["b/w"];
        assert_eq!((peer.capacity, peer.pools.len()), (4, 2));
        let of = |name: &str| fleet.strangers[&FunctionName::from(name)];
        assert_eq!(of("f"), Strangers { hosts: 2, performers: 3 });
        assert_eq!(of("g"), Strangers { hosts: 1, performers: 1 });
    }
}
