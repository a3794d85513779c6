//! Other hosts at the servers outside: what we publish to them, and what they publish to us.
//!
//! Each server has a task that keeps a connection to it, under a client id that tells what we have,
//! and lists the others' every second. A server that does not answer is tried again; what it told
//! last counts for a few seconds more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// Between two notes of what our own workers have in hand, and how many are kept.
const NOTE_EVERY: Duration = Duration::from_millis(50);
const NOTES_MAX: usize = 120;

/// Jobs in hand, by function.
type Running = BTreeMap<FunctionName, usize>;
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
    notes: Notes,
}

/// What our own workers have had in hand of late, the oldest first.
#[derive(Debug, Default)]
struct Notes(VecDeque<(Instant, Running)>);

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
        Self { host, capacity, servers, ids, stop, notes: Notes::default() }
    }

    /// The other hosts as far as they are known.
    pub(super) fn fleet(&self, now: Instant) -> Fleet {
        let mut fleet =
            Fleet { host: self.host.clone(), capacity: self.capacity, ..Fleet::default() };
        for (_, listed) in self.heard(now) {
            gather(&mut fleet, &listed.connections);
        }
        fleet
    }

    /// Tells how many jobs of each function others have in hand.
    ///
    /// A listing may be a second old, so what we had in hand when it was made is ours of it: what
    /// our workers have begun or ended since says nothing about the others. Where nobody else
    /// performs a function no job of it is others'.
    pub(super) fn elsewhere(
        &mut self,
        now: Instant,
        functions: &mut BTreeMap<FunctionName, FunctionSample>,
        fleet: &Fleet,
    ) {
        let own = functions.iter().map(|(name, sample)| (name.clone(), sample.running));
        self.notes.add(now, || own.collect());
        let heard = self.heard(now);
        let Some(at) = heard.iter().map(|(at, _)| *at).max() else { return };
        let mut all = Running::new();
        for function in heard.iter().flat_map(|(_, listed)| &listed.functions) {
            *all.entry(FunctionName::from(function.name.as_str())).or_default() += function.running;
        }
        let ours = self.notes.at(at);
        for (name, sample) in functions {
            let is_shared = !fleet.peers.is_empty() || fleet.strangers.contains_key(name);
            let all = all.get(name).copied().filter(|_| is_shared).unwrap_or_default();
            let ours = ours.and_then(|ours| ours.get(name)).copied().unwrap_or(sample.running);
            sample.elsewhere = all.saturating_sub(ours);
        }
    }

    fn heard(&self, now: Instant) -> Vec<(Instant, Arc<Listed>)> {
        let heard = self.servers.iter().filter_map(|server| server.borrow().clone());
        heard.filter(|(at, _)| now.saturating_duration_since(*at) < COUNTS_FOR).collect()
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

impl Notes {
    fn add(&mut self, now: Instant, running: impl FnOnce() -> Running) {
        let is_due = |(at, _): &(Instant, Running)| now.duration_since(*at) >= NOTE_EVERY;
        if self.0.back().is_none_or(is_due) {
            self.0.push_back((now, running()));
            self.0.drain(..self.0.len().saturating_sub(NOTES_MAX));
        }
    }

    /// The last note before a moment, or the first one after it.
    fn at(&self, moment: Instant) -> Option<&Running> {
        let before = self.0.iter().rev().find(|(at, _)| *at <= moment);
        before.or_else(|| self.0.front()).map(|(_, running)| running)
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
            let at = Instant::now();
            let connections = first.connections().await?;
            let listed = Arc::new(Listed { functions, connections });
            self.heard.send_replace(Some((at, listed)));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch of one server that listed so many jobs of `f` at a moment.
    fn heard(at: Instant, running: usize) -> FleetWatch {
        let function = ListedFunction { name: "f".to_owned(), running };
        let listed = Listed { functions: vec![function], ..Listed::default() };
        FleetWatch {
            host: "a/w".to_owned(),
            capacity: 2,
            servers: vec![watch::channel(Some((at, Arc::new(listed)))).1],
            ids: watch::channel(Arc::from([])).0,
            stop: CancellationToken::new(),
            notes: Notes::default(),
        }
    }

    /// What it takes for others' while our workers have so many in hand.
    fn elsewhere(watch: &mut FleetWatch, now: Instant, ours: usize, fleet: &Fleet) -> usize {
        let sample = FunctionSample { running: ours, ..FunctionSample::default() };
        let mut functions = BTreeMap::from([(FunctionName::from("f"), sample)]);
        watch.elsewhere(now, &mut functions, fleet);
        functions[&FunctionName::from("f")].elsewhere
    }

    #[test]
    fn what_our_workers_began_or_ended_since_a_listing_is_not_taken_for_others() {
        let start = Instant::now();
        let later = |tenths| start + Duration::from_millis(100) * tenths;
        let peers = BTreeMap::from([("b/w".to_owned(), Peer::default())]);
        let fleet = Fleet { peers, ..Fleet::default() };
        let mut watch = heard(later(2), 7);
        elsewhere(&mut watch, start, 1, &fleet);
        // Three of the seven were ours when they were listed.
        for (tenth, ours) in [(1, 3), (5, 0), (9, 5)] {
            assert_eq!(elsewhere(&mut watch, later(tenth), ours, &fleet), 4);
        }
    }

    #[test]
    fn jobs_that_a_late_listing_still_has_are_others_only_where_there_are_others() {
        let now = Instant::now();
        let shared = |fleet: &Fleet| elsewhere(&mut heard(now, 4), now, 1, fleet);
        let mut fleet = Fleet::default();
        assert_eq!(shared(&fleet), 0);
        fleet.strangers.insert("g".into(), Strangers { hosts: 1, performers: 1 });
        assert_eq!(shared(&fleet), 0, "they do something else");
        fleet.strangers.insert("f".into(), Strangers { hosts: 1, performers: 1 });
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
